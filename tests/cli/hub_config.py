"""A real JupyterHub without a proxy, for the sign-in test: names are the passwords."""

import os

from jupyterhub.auth import DummyAuthenticator
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):  # type: ignore[misc]  # jupyterhub has no types
    """The test talks to the hub's own port."""

    should_start = False

    async def add_route(self, routespec: str, target: str, data: object) -> None:
        pass

    async def delete_route(self, routespec: str) -> None:
        pass

    async def get_all_routes(self) -> dict[str, object]:
        return {}


class NameIsPassword(DummyAuthenticator):  # type: ignore[misc]
    async def authenticate(self, handler: object, data: dict[str, str]) -> str | None:
        return data["username"] if data["username"] == data["password"] else None


c = get_config()  # type: ignore[name-defined]  # noqa: F821
port = int(os.environ["TEST_HUB_PORT"])
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = NameIsPassword
c.Authenticator.allow_all = True
c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie_secret"
