"""A platform without processes for API tests: real sqlite, fake backend, callers by name as their token."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from ltai_hub.accounts.service import Accounts
from ltai_hub.backends.fake import FakeBackend
from ltai_hub.catalog import load_catalog
from ltai_hub.db.engine import Database
from ltai_hub.domain.catalog import Catalog
from ltai_hub.errors import NotLoggedIn
from ltai_hub.hubapi import HubApi, ProxyApi
from ltai_hub.service import Platform, ServiceSpec, build_app
from ltai_hub.settings import Settings
from ltai_hub.tenancy import store
from ltai_hub.units import utc_now
from ltai_hub.web.callers import Caller, TokenResolver
from ltai_hub.web.workload_tokens import WorkloadTokens
from tests.factories import a_database, a_school


class NoTokens:
    """The hub's are the only ones."""

    def is_one(self, token: str) -> bool:
        return False

    def caller(self, token: str) -> Caller | None:
        return None


class NamesAsTokens(TokenResolver):
    """The token "sam" is sam's; "root" is a platform administrator; "limited-sam" may use no service but training."""

    def __init__(self) -> None:
        super().__init__("http://hub.invalid", NoTokens())

    async def caller(self, token: str) -> Caller:
        if token == "wrong":
            raise NotLoggedIn("the token is unknown or has expired; log in again, or make a new token on the hub's token page")
        if token.startswith("limited-"):
            return Caller(token.removeprefix("limited-"), False, frozenset({"access:services!service=training"}), token)
        return Caller(token, token == "root", frozenset({"access:services"}), token)


class QuietHub(HubApi):
    """Notes what it is asked for instead of calling a hub."""

    def __init__(self) -> None:
        super().__init__("http://hub.invalid", "")
        self.asked: list[tuple[Any, ...]] = []

    async def start_server(self, user: str, server: str, options: dict[str, Any]) -> bool:
        self.asked.append(("start", user, server, options))
        return True

    async def stop_server(self, user: str, server: str) -> None:
        self.asked.append(("stop", user, server))

    async def delete_server(self, user: str, server: str) -> None:
        self.asked.append(("delete", user, server))

    async def ensure_user(self, user: str) -> None:
        self.asked.append(("ensure", user))

    async def delete_user(self, user: str) -> None:
        self.asked.append(("delete user", user))

    async def set_admin(self, user: str, admin: bool) -> None:
        self.asked.append(("admin", user, admin))


class QuietProxy(ProxyApi):
    def __init__(self) -> None:
        super().__init__("http://proxy.invalid", "")
        self.table: dict[str, str] = {}

    async def set_route(self, path: str, target: str) -> None:
        self.table[path] = target

    async def delete_route(self, path: str) -> None:
        self.table.pop(path, None)

    async def leads_to(self, path: str) -> bool:
        return True

    async def routes(self) -> dict[str, str]:
        return dict(self.table)


@cache
def shipped_catalog() -> Catalog:
    return load_catalog(Settings().catalog)


def a_platform(folder: Path) -> Platform:
    """School, physics and ml with ada, tina, sam and sue (see ``a_school``); both demo profiles assigned to ml."""
    settings = Settings(data=folder, signing_key="5" * 64)
    database: Database = a_database(folder)
    catalog = shipped_catalog()
    accounts = Accounts(database)
    with database.transaction() as tx:
        _, _, ml = a_school(tx)
        for profile in catalog.profiles:
            store.assign_profile(tx, ml, profile)
    for name in ("root", "ada", "tina", "sam", "sue", "eve"):
        accounts.create(name, name.capitalize(), admin=name == "root")
    return Platform(
        settings=settings,
        database=database,
        backend=FakeBackend(settings),
        hub=QuietHub(),
        proxy=QuietProxy(),
        catalog=catalog,
        resolver=NamesAsTokens(),
        workload_tokens=WorkloadTokens(settings.signing_key, database),
        clock=utc_now,
    )


class Api:
    """Calls one service: ``api.get("/jobs", "sam")``."""

    def __init__(self, client: TestClient, service: str) -> None:
        self.client = client
        self.base = f"/services/{service}/api/v1"

    def call(self, method: str, path: str, who: str, **more: Any) -> Any:
        return self.client.request(method, self.base + path, headers={"Authorization": f"Bearer {who}"}, **more)

    def get(self, path: str, who: str, **more: Any) -> Any:
        return self.call("GET", path, who, **more)

    def post(self, path: str, who: str, **more: Any) -> Any:
        return self.call("POST", path, who, **more)

    def put(self, path: str, who: str, **more: Any) -> Any:
        return self.call("PUT", path, who, **more)

    def delete(self, path: str, who: str) -> Any:
        return self.call("DELETE", path, who)


def an_api(spec: ServiceSpec, platform: Platform) -> Api:
    """Without running controllers (no lifespan): tests call their passes themselves."""
    return Api(TestClient(build_app([spec], platform), raise_server_exceptions=False), spec.name)
