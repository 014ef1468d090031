"""The two APIs of JupyterHub the services call: the hub's REST API and the proxy's route API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx

from ltai_hub.errors import BadInput, Conflict, NotFound, Problem, Unavailable
from ltai_hub.trust import certificates


class HubApi:
    """JupyterHub's REST API with the platform's own token."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers={"Authorization": f"token {token}"}, timeout=30, verify=certificates()
        )

    async def start_server(self, user: str, server: str, options: dict[str, Any]) -> bool:
        """True when it runs already, False while it is starting. Raises the hub's own sentence as a Problem."""
        # JupyterHub 6 takes every other key of a body with "display_name" for its own and drops what it does not know
        body = {"user_options": options, "display_name": options.get("display_name", "")}
        reply = await self._call("POST", _server_path(user, server), json=body)
        return reply.status_code == 201

    async def stop_server(self, user: str, server: str) -> None:
        """Stopping a server that does not run is fine."""
        try:
            await self._call("DELETE", _server_path(user, server))
        except NotFound:
            return

    async def delete_server(self, user: str, server: str) -> None:
        """Stop and forget a named server; the default one is only stopped."""
        try:
            await self._call("DELETE", _server_path(user, server), json={"remove": bool(server)})
        except NotFound:
            return

    async def ensure_user(self, user: str) -> None:
        """Make the account known to the hub; existing is fine."""
        try:
            await self._call("POST", f"/users/{quote(user, safe='')}")
        except Conflict:
            return

    async def delete_user(self, user: str) -> None:
        try:
            await self._call("DELETE", f"/users/{quote(user, safe='')}")
        except NotFound:
            return

    async def set_admin(self, user: str, admin: bool) -> None:
        await self._call("PATCH", f"/users/{quote(user, safe='')}", json={"admin": admin})

    async def _call(self, method: str, path: str, json: Any = None) -> httpx.Response:
        try:
            reply = await self._client.request(method, path, json=json)
        except httpx.HTTPError as error:
            raise Unavailable(f"the hub does not answer ({error.__class__.__name__}); try again in a moment") from error
        if reply.is_success:
            return reply
        raise hub_problem(reply)

    async def close(self) -> None:
        await self._client.aclose()


def hub_problem(reply: httpx.Response) -> Problem:
    """In the hub's own words, where it has any."""
    message = f"the hub answered {reply.status_code} ({reply.reason_phrase}); try again in a moment"
    with suppress(ValueError):
        message = str(reply.json().get("message") or message)
    kinds: dict[int, type[Problem]] = {400: BadInput, 404: NotFound, 409: Conflict, 429: Unavailable}
    return kinds.get(reply.status_code, Unavailable)(message)


def _server_path(user: str, server: str) -> str:
    base = f"/users/{quote(user, safe='')}"
    return f"{base}/servers/{quote(server, safe='')}" if server else f"{base}/server"


class ProxyApi:
    """configurable-http-proxy's route API. The hub leaves routes alone whose data has no "jupyterhub" key."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers={"Authorization": f"token {token}"}, timeout=10, verify=certificates()
        )

    async def set_route(self, path: str, target: str) -> None:
        await self._call("POST", path, {"target": target, "ltai": True})

    async def delete_route(self, path: str) -> None:
        await self._call("DELETE", path, None)

    async def routes(self) -> dict[str, str]:
        """Our own routes: path → target."""
        reply = await self._call("GET", "", None)
        return {path: str(route["target"]) for path, route in reply.json().items() if route.get("ltai")}

    async def leads_to(self, path: str) -> bool:
        """Is there a route for just this path, whoever made it?"""
        reply = await self._call("GET", "", None)
        return path.rstrip("/") in {known.rstrip("/") for known in reply.json()}

    async def _call(self, method: str, path: str, json: Any) -> httpx.Response:
        try:
            reply = await self._client.request(method, "/api/routes" + path, json=json)
        except httpx.HTTPError as error:
            raise Unavailable(f"the proxy does not answer ({error.__class__.__name__})") from error
        if reply.is_success or (method == "DELETE" and reply.status_code == 404):
            return reply
        raise Unavailable(f"the proxy answered {reply.status_code}")

    async def close(self) -> None:
        await self._client.aclose()
