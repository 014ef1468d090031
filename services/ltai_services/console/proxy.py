"""``/services/console/api/SERVICE/…`` → ``/services/SERVICE/…`` with the person's own token.

The browser never calls a service directly: here its cookie is turned into a token, after HubOAuth's XSRF check.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from ltai_lab.forward import Body, Target, Unreachable, forward, path_behind
from tornado import web

from ltai_services.console.login import SignedInHandler

log = logging.getLogger("ltai.console")


@web.stream_request_body
class ProxyHandler(SignedInHandler):
    """Any method, any size, both ways streamed."""

    async def prepare(self) -> None:
        self.body = Body()
        self.trouble: tuple[str, str] | None = None
        await super().prepare()
        if self.denied:
            raise web.HTTPError(403, "your account may not use the console; ask an administrator")
        if self.current_user is None:
            # Also a cookie without its XSRF header ends here.
            raise web.HTTPError(401, "you are not signed in; reload the page")
        self.sent = asyncio.ensure_future(self.send())

    async def data_received(self, chunk: bytes) -> None:
        await self.body.feed(chunk, self.sent)

    async def send(self) -> None:
        service, path = path_behind(self.request.path, f"{self.console.prefix}api/")
        query = f"?{self.request.query}" if self.request.query else ""
        target = Target(
            self.request.method or "GET",
            f"{self.console.services_url}/services/{service}/{path}{query}",
            {"Authorization": f"token {self.hub_auth.get_token(self)}", "X-Forwarded-For": self.request.remote_ip or ""},
        )
        try:
            await forward(self, target, self.body)
        except Unreachable as error:
            log.warning("service %s: %s", service, error)
            self.trouble = ("unreachable", f"The service {service} does not answer; try again in a moment or tell your administrator.")

    async def finish_body(self, *_: str) -> None:
        await self.body.feed(None, self.sent)
        await self.sent
        # Only now: an answer before the body's end would cut the caller's connection.
        if self.trouble:
            self.problem(503, *self.trouble)

    get = post = put = patch = delete = finish_body

    def problem(self, status: int, code: str, detail: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/problem+json")
        self.finish(json.dumps({"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        # Raised before the body is read: the connection cannot be used again, and the caller has to know.
        self.set_header("Connection", "close")
        said = error.log_message if isinstance(error, web.HTTPError) else None
        self.problem(
            status_code, {401: "not-logged-in", 403: "denied"}.get(status_code, "problem"), said or "The console could not do this."
        )
