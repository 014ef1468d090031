"""``/ltai/api/SERVICE/…`` of a notebook server: forwards to the hub's services with the server's own token.

Only the owner of the server may call it: visitors of a shared server would act in the owner's name.
jupyter_server has already checked login and XSRF when a method of ours runs.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from ltai_lab.forward import Body, Target, Unreachable, forward, path_behind

NO_HUB = (
    "This JupyterLab is not connected to an LtAI hub. Open your environment from the hub's page, "
    "or set LTAI_URL and LTAI_TOKEN before JupyterLab starts."
)


@dataclass(frozen=True)
class Hub:
    """The hub this server belongs to, from the environment. ``url`` is empty when there is none; ``owner`` then too."""

    url: str
    token: str
    owner: str
    server: str
    console: str

    @staticmethod
    def of(environ: Mapping[str, str]) -> Hub:
        url = environ.get("LTAI_SERVICES_URL") or environ.get("LTAI_URL") or ""
        base = environ.get("JUPYTERHUB_BASE_URL", "/")
        public = (environ.get("LTAI_PUBLIC_URL") or environ.get("LTAI_URL") or "") if not environ.get("JUPYTERHUB_USER") else ""
        return Hub(
            url=url.rstrip("/"),
            token=environ.get("JUPYTERHUB_API_TOKEN") or environ.get("LTAI_TOKEN") or "",
            owner=environ.get("JUPYTERHUB_USER", ""),
            server=environ.get("JUPYTERHUB_SERVER_NAME", ""),
            # Below a hub the console has the same origin as this page.
            console=f"{public.rstrip('/')}{base}services/console/" if url else "",
        )


class OwnerHandler(APIHandler):  # type: ignore[misc]
    """Handlers of ours: JSON problems, and nobody but the owner."""

    # Panels poll while nobody looks; that must not keep an idle environment alive.
    _track_activity = False

    @property
    def hub(self) -> Hub:
        return Hub.of(os.environ)

    def refuse_visitors(self) -> None:
        owner = self.hub.owner
        user = self.current_user
        if owner and getattr(user, "username", None) != owner:
            raise web.HTTPError(403, f"only {owner} may use LtAI from this server; open your own environment")

    def problem(self, status: int, code: str, detail: str) -> None:
        self.set_status(status)
        body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
        self.finish(json.dumps(body), set_content_type="application/problem+json")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        # Raised before the body is read: the connection cannot be used again, and the caller has to know.
        self.set_header("Connection", "close")
        said = error.log_message if isinstance(error, web.HTTPError) else None
        detail = said or "The notebook server could not do this; its log has the details."
        self.problem(status_code, {401: "not-logged-in", 403: "denied"}.get(status_code, "problem"), detail)


class InfoHandler(OwnerHandler):
    """Who and where: what the page needs before it asks any service."""

    @web.authenticated
    def get(self) -> None:
        self.refuse_visitors()
        hub = self.hub
        connected = bool(hub.url and hub.token)
        self.finish({"connected": connected, "user": hub.owner, "server": hub.server or "default", "console": hub.console})


@web.stream_request_body
class ServiceHandler(OwnerHandler):
    """Any method, any size, to one service."""

    async def prepare(self) -> None:
        self.body = Body()
        self.trouble: tuple[str, str] | None = None
        await super().prepare()  # login, CORS, XSRF
        if self._finished:
            return
        if self.current_user is None:
            raise web.HTTPError(401, "log in again: reload the page")
        self.refuse_visitors()
        self.sent = asyncio.ensure_future(self.send())

    async def data_received(self, chunk: bytes) -> None:
        await self.body.feed(chunk, self.sent)

    async def send(self) -> None:
        hub = self.hub
        if not (hub.url and hub.token):
            self.trouble = ("no-hub", NO_HUB)
            return
        service, path = path_behind(self.request.path, "/ltai/api/")
        query = f"?{self.request.query}" if self.request.query else ""
        headers = {"Authorization": f"token {hub.token}"}
        target = Target(self.request.method or "GET", f"{hub.url}/services/{service}/{path}{query}", headers)
        try:
            await forward(self, target, self.body)
        except Unreachable as error:
            self.log.warning("service %s: %s", service, error)
            self.trouble = ("unreachable", f"The service {service} does not answer; try again in a moment or tell your administrator.")

    async def finish_body(self, *_: str) -> None:
        await self.body.feed(None, self.sent)
        await self.sent
        # Only now: an answer before the body's end would cut the caller's connection.
        if self.trouble:
            self.problem(503, *self.trouble)

    get = post = put = patch = delete = finish_body


def make_handlers(base_url: str) -> list[tuple[str, type[web.RequestHandler]]]:
    return [
        (url_path_join(base_url, "ltai", "info"), InfoHandler),
        (url_path_join(base_url, "ltai", "api", r"([a-z][a-z-]*)") + "/(.*)", ServiceHandler),
    ]
