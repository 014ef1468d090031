"""MLflow behind the hub's login: one workspace a tenant, everything streamed both ways.

Token → person → tenant → ``X-MLFLOW-WORKSPACE``. Mounted at ``/services/models/mlflow``, the prefix MLflow itself is started with.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltai_hub.db.engine import Database
from ltai_hub.errors import BadInput, Denied, NotFound, NotLoggedIn, Problem, Unavailable
from ltai_hub.mlflow_app import FOR_SOMEBODY
from ltai_hub.settings import Settings
from ltai_hub.tenancy.permit import default_tenant, permit, permitted_tenants
from ltai_hub.web.callers import Caller, TokenResolver, check_service
from ltai_services.models.experiments import DEFAULT_EXPERIMENT, in_body, in_query, load_object, names_default, uses_experiment
from ltai_services.models.login import CALLBACK, BrowserLogin, Sent, header_token
from ltai_services.models.owners import Owners
from ltai_services.models.ownership import changed_things, check_tags, signed
from ltai_services.models.rules import Needs, Write, classify
from ltai_services.tracking import HOST, PREFIX, WORKSPACE_HEADER, Tracking, mlflow_server

log = logging.getLogger("ltai.models")

HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
# The person's secrets stay here; MLflow sees one trusted client on loopback.
NOT_FORWARDED = HOP_BY_HOP | {
    "authorization",
    "cookie",
    "host",
    "origin",
    "referer",
    WORKSPACE_HEADER.lower(),
    "forwarded",
    "x-forwarded-host",
}
NOT_RETURNED = HOP_BY_HOP | {"set-cookie", "date", "server"}
UI_DEFAULT_WORKSPACE = "default"
LARGEST_JSON = 8 << 20
FULL = "the disk of the experiment tracker (MLflow) is full; free some space and try again"
LEAST_FREE = 1 << 20
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    503: "TEMPORARILY_UNAVAILABLE",
}


class MlflowProxy:
    """An ASGI app."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        resolver: TokenResolver,
        tracking: Tracking,
        transport: httpx.AsyncBaseTransport | None = None,
        login: BrowserLogin | None = None,
    ) -> None:
        self._database = database
        self._resolver = resolver
        self._folder = settings.folder.root
        self._tracking = tracking
        self._owners = Owners(database, tracking)
        self._login = login or BrowserLogin(settings)
        server = mlflow_server(settings)
        self._client = httpx.AsyncClient(
            transport=transport or server.transport(),
            base_url=server.url,
            timeout=httpx.Timeout(600, connect=10),
            follow_redirects=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await _close(scope, send)
        sent = make_sent(scope)
        try:
            if sent.path == CALLBACK:
                return await self._on_callback(sent, send)
            caller = await self._caller(sent)
            if caller is None:
                return await self._to_login(sent, send)
            needs = classify(sent.method, sent.path)
            workspace = await asyncio.to_thread(self._workspace, caller, needs, sent.header(WORKSPACE_HEADER.lower()))
            if needs.workspaces:
                return await self._answer_workspaces(caller, needs, send)
            await self._tracking.ensure_workspace(workspace)
            await self._forward(scope, sent, receive, send, workspace, caller, needs)
        except Problem as problem:
            await _refuse(send, Unavailable(FULL) if says_full(problem.message) else problem)

    # ---- who and where

    async def _caller(self, sent: Sent) -> Caller | None:
        """None for a browser that is to log in. Raises NotLoggedIn, Denied."""
        token = header_token(sent.header("authorization"))
        if token is None:
            token = self._login.cookie_token(sent)
        if token is None:
            if sent.is_page:
                return None
            raise NotLoggedIn("no token was sent; set MLFLOW_TRACKING_TOKEN to a hub token")
        try:
            caller = await self._resolver.caller(token)
        except NotLoggedIn:
            if sent.is_page and not sent.header("authorization"):
                return None
            raise
        check_service(caller, "models")
        return caller

    def _workspace(self, caller: Caller, needs: Needs, wished: str) -> str:
        """The tenant the request works in; the caller's own wish counts only where they may. Raises Denied, NotFound, BadInput."""
        with self._database.reading() as tx:
            tenant = default_tenant(tx, caller.name) if wished in ("", UI_DEFAULT_WORKSPACE) else wished
            if not needs.workspaces:
                permit(tx, caller, needs.action, tenant)
            return tenant

    async def _answer_workspaces(self, caller: Caller, needs: Needs, send: Send) -> None:
        with self._database.reading() as tx:
            names = sorted(permitted_tenants(tx, caller, "models:read", own=True))
        if needs.workspaces == "list":
            return await _send_json(send, 200, {"workspaces": [_workspace(name) for name in names]})
        if needs.workspaces not in names:
            raise NotFound("there is no such workspace, or you are not a member of its tenant")
        await _send_json(send, 200, {"workspace": _workspace(needs.workspaces)})

    # ---- the browser's login

    async def _to_login(self, sent: Sent, send: Send) -> None:
        location, cookie = self._login.begin(sent, time.time())
        await _redirect(send, location, [cookie])

    async def _on_callback(self, sent: Sent, send: Send) -> None:
        location, cookies = await self._login.finish(sent, dict(parse_qsl(sent.query)), time.time())
        await _redirect(send, location, cookies)

    # ---- the request itself

    async def _forward(self, scope: Scope, sent: Sent, receive: Receive, send: Send, workspace: str, caller: Caller, needs: Needs) -> None:
        query = sent.query
        body: bytes | AsyncIterator[bytes] | None = _body(receive) if has_body(scope) else None
        if needs.write and needs.write.is_json:
            content = await _read(body) if isinstance(body, AsyncIterator) else b""
            body = await self._checked(caller, workspace, sent, needs.write, content)
        elif needs.write:
            await self._owners.check(caller, workspace, changed_things(needs.write, sent.method, sent.path, parse_qsl(query), {}))
        if uses_experiment(sent.path):
            content = await _read(body) if isinstance(body, AsyncIterator) else body or b""
            query, body = await self._with_default_experiment(workspace, query, content)
        url = quote(sent.path, safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")
        headers = [(k, v) for k, v in scope["headers"] if k.decode("latin-1").lower() not in NOT_FORWARDED]
        headers += [
            (b"host", HOST.encode()),
            (WORKSPACE_HEADER.encode(), workspace.encode()),
            (FOR_SOMEBODY.encode(), caller.name.encode()),
        ]
        if isinstance(body, bytes):
            headers = [(k, v) for k, v in headers if k.lower() != b"content-length"]
        request = self._client.build_request(sent.method, url, headers=headers, content=body)
        try:
            reply = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Unavailable(f"the experiment tracker (MLflow) does not answer ({type(error).__name__}); try again in a moment") from error
        try:
            if reply.status_code < 500:
                return await _return(send, reply, reply.aiter_raw())
            said = b"".join([chunk async for chunk in reply.aiter_raw()])
            self._check_room(said, int(sent.header("content-length") or 0))
            await _return(send, reply, _once(said))
        finally:
            await reply.aclose()

    def _check_room(self, said: bytes, size: int) -> None:
        """Of a full disk MLflow says what sqlite says, or nothing. Raises Unavailable."""
        if says_full(said.decode(errors="replace")) or free_bytes(self._folder) < size + LEAST_FREE:
            raise Unavailable(FULL)

    async def _checked(self, caller: Caller, workspace: str, sent: Sent, write: Write, content: bytes) -> bytes:
        """What MLflow gets is what was read here, written anew: two readers of JSON may see different things in the same bytes.

        Raises Denied, NotFound, BadInput.
        """
        body = load_object(content)
        if not body and content.strip() not in (b"", b"{}"):
            raise BadInput("the body is no JSON object, or an empty one")
        things = changed_things(write, sent.method, sent.path, parse_qsl(sent.query), body)
        await self._owners.check(caller, workspace, things)
        made = signed(write, body, caller.name)
        if made is body:
            check_tags(sent.path, body)
        return json.dumps(made).encode() if made else b""

    async def _with_default_experiment(self, workspace: str, query: str, body: bytes) -> tuple[str, bytes]:
        """Clients that name no experiment say 0, which MLflow has in its first workspace only."""
        if not names_default(query, body):
            return query, body
        number = await self._tracking.ensure_experiment(workspace, DEFAULT_EXPERIMENT)
        return in_query(query, number), in_body(body, number)

    async def close(self) -> None:
        await self._client.aclose()


def make_sent(scope: Scope) -> Sent:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        headers[key] = f"{headers[key]}; {value.decode('latin-1')}" if key == "cookie" and key in headers else value.decode("latin-1")
    return Sent(scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1"), headers)


def has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def mounts(proxy: MlflowProxy) -> dict[str, ASGIApp]:
    return {PREFIX.rsplit("/", 1)[-1]: proxy}


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.WriteError("the client went away")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


async def _read(body: AsyncIterator[bytes]) -> bytes:
    content = b""
    async for chunk in body:
        content += chunk
        if len(content) > LARGEST_JSON:
            raise BadInput(f"the request is larger than {LARGEST_JSON >> 20} MiB")
    return content


async def _return(send: Send, reply: httpx.Response, content: AsyncIterator[bytes]) -> None:
    headers = [(k.lower(), v) for k, v in reply.headers.raw if k.decode("latin-1").lower() not in NOT_RETURNED]
    headers = [(k, _relative(v) if k == b"location" else v) for k, v in headers]
    await send({"type": "http.response.start", "status": reply.status_code, "headers": headers})
    async for chunk in content:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def says_full(text: str) -> bool:
    return "disk is full" in text or "No space left on device" in text


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def free_bytes(folder: Path) -> int:
    """Of the disk; plenty where the folder is not on this machine."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return sys.maxsize
    return disk.f_bavail * disk.f_frsize


def _relative(location: bytes) -> bytes:
    return location.removeprefix(f"http://{HOST}".encode())


def _workspace(name: str) -> dict[str, Any]:
    return {"name": name, "description": ""}


async def _redirect(send: Send, location: str, cookies: list[str]) -> None:
    headers = [(b"location", location.encode()), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    headers += [(b"set-cookie", cookie.encode()) for cookie in cookies]
    await send({"type": "http.response.start", "status": 302, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send, problem: Problem) -> None:
    """In the form MLflow's own clients read."""
    code = CODES.get(problem.status, "INTERNAL_ERROR")
    if isinstance(problem, Denied):
        log.info("refused: %s", problem.message)
    await _send_json(send, problem.status, {"error_code": code, "message": problem.message, "detail": problem.message})


async def _send_json(send: Send, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def _close(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1003})
