"""The Python SDK: one ``Client`` with a noun an attribute.

    client = Client.from_environment()
    job = client.jobs.submit("digits", ["python", "train.py"], profile="ml101")
    for text in client.jobs.log(job["id"], follow=True):
        print(text, end="")
    version = client.models.register(job["id"], "digits")

Answers are typed dicts, exactly the REST objects (``ltai_hub.client.types``). What the server refuses is raised
as a class of ``ltai_hub.errors`` with the server's sentence. Needs httpx and nothing else of the platform.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ltai_hub.client.billing import Bills, Prices, UsageReport
from ltai_hub.client.catalog import Flavors, Images, Profiles
from ltai_hub.client.endpoints import Endpoints
from ltai_hub.client.environments import Environments
from ltai_hub.client.jobs import Jobs
from ltai_hub.client.models import Models
from ltai_hub.client.settings import clean_url, find_login
from ltai_hub.client.tenants import Events, Members, Quotas, Tenants, Users
from ltai_hub.client.transport import Transport, dropped, part
from ltai_hub.client.types import Me, Metrics, Overview, Page, Permission, WorkloadKind


class Client:
    """Talks to the hub at ``url`` (its public address) with a hub ``token``; one connection pool, not for several threads."""

    def __init__(self, url: str, token: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = clean_url(url)
        self._transport = transport = Transport(self.url, token, sleep)
        self.tenants = Tenants(transport)
        self.members = Members(transport)
        self.users = Users(transport)
        self.quotas = Quotas(transport)
        self.events = Events(transport)
        self.flavors = Flavors(transport)
        self.images = Images(transport)
        self.profiles = Profiles(transport)
        self.environments = Environments(transport)
        self.jobs = Jobs(transport)
        self.models = Models(transport)
        self.endpoints = Endpoints(transport)
        self.usage = UsageReport(transport)
        self.bills = Bills(transport)
        self.prices = Prices(transport)

    @classmethod
    def from_environment(cls) -> Self:
        """LTAI_URL and LTAI_TOKEN, an environment's own token, or what ``ltai login`` saved. Raises ConfigProblem."""
        login = find_login()
        return cls(login.url, login.token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def me(self) -> Me:
        """Who the token belongs to, their tenants and what they may do there."""
        me: Me = self._transport.call("GET", "tenancy", "/me")
        return me

    def change_password(self, old: str, new: str) -> None:
        self._transport.call("POST", "tenancy", "/me/password", json={"old": old, "new": new})

    def permissions(self) -> list[Permission]:
        """The table of actions and roles."""
        actions: list[Permission] = self._transport.call("GET", "tenancy", "/permissions")["actions"]
        return actions

    def metrics(self, kind: WorkloadKind, id: str | int) -> Metrics:
        """CPU, memory, disk and accelerators of one environment, job or endpoint, now."""
        seen: Metrics = self._transport.call("GET", "monitor", f"/metrics/{kind}/{part(id)}")
        return seen

    def nodes(self) -> Page[dict[str, Any]]:
        return self._transport.page("monitor", "/nodes", {})

    def overview(self, tenant: str | None = None) -> Overview:
        seen: Overview = self._transport.call("GET", "monitor", "/overview", params=dropped({"tenant": tenant}))
        return seen
