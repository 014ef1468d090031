"""MLflow behind the hub's login: one workspace a tenant, everything streamed both ways.

Token → person → tenant → ``X-MLFLOW-WORKSPACE``. Mounted at ``/services/models/mlflow``, the prefix MLflow itself is started with.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltai_hub.db.engine import Database
from ltai_hub.errors import BadInput, Denied, NotFound, NotLoggedIn, Problem, Unavailable
from ltai_hub.settings import Settings
from ltai_hub.tenancy.permit import default_tenant, permit, permitted_tenants
from ltai_hub.web.callers import Caller, TokenResolver, check_service
from ltai_services.models.experiments import DEFAULT_EXPERIMENT, in_body, in_query, load_object, names_default, uses_experiment
from ltai_services.models.login import CALLBACK, BrowserLogin, Sent, header_token
from ltai_services.models.ownership import SEVERAL, makes_model, model_written, owner_of, with_owner
from ltai_services.models.rules import Needs, classify
from ltai_services.registry import Registry
from ltai_services.tracking import HOST, PREFIX, WORKSPACE_HEADER, Tracking

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
        self._tracking = tracking
        self._login = login or BrowserLogin(settings)
        self._client = httpx.AsyncClient(
            transport=transport or _socket_transport(settings.folder.mlflow_socket),
            base_url=f"http://{HOST}",
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
            await _refuse(send, problem)

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
        if needs.action == "models:write":
            await self._check_owner(caller, workspace, model_written(sent.method, sent.path))
        query = sent.query
        body: bytes | AsyncIterator[bytes] | None = _body(receive) if has_body(scope) else None
        if needs.deletes:
            body = await _read(_body(receive)) if body else b""
            await self._check_delete(caller, workspace, {**dict(parse_qsl(query)), **load_object(body)})
        elif uses_experiment(sent.path):
            query, body = await self._with_default_experiment(workspace, query, await _read(_body(receive)) if body else b"")
            if makes_model(sent.method, sent.path):
                body = with_owner(body, caller.name)
        url = quote(sent.path, safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")
        headers = [(k, v) for k, v in scope["headers"] if k.decode("latin-1").lower() not in NOT_FORWARDED]
        headers += [(b"host", HOST.encode()), (WORKSPACE_HEADER.encode(), workspace.encode()), (b"x-ltai-user", caller.name.encode())]
        if isinstance(body, bytes):
            headers = [(k, v) for k, v in headers if k.lower() != b"content-length"]
        request = self._client.build_request(sent.method, url, headers=headers, content=body)
        try:
            reply = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Unavailable(f"the experiment tracker (MLflow) does not answer ({type(error).__name__}); try again in a moment") from error
        try:
            await _return(send, reply)
        finally:
            await reply.aclose()

    async def _check_owner(self, caller: Caller, workspace: str, model_id: str) -> None:
        """A logged model and its files are changed by who logged it, or by the role that may delete it. Raises Denied, NotFound."""
        if not model_id:
            return
        owner = ""
        if model_id != SEVERAL:
            found = await self._tracking.call(workspace, "GET", f"2.0/mlflow/logged-models/{quote(model_id, safe='')}")
            owner = owner_of(found.get("model", {}))
        if owner != caller.name:
            await asyncio.to_thread(self._permit_others_model, caller, workspace, owner)

    def _permit_others_model(self, caller: Caller, workspace: str, owner: str) -> None:
        with self._database.reading() as tx:
            try:
                permit(tx, caller, "models:delete", workspace, owner=owner or "somebody else")
            except Denied:
                raise Denied(
                    f"this was logged by {owner or 'somebody else'}; only they, a teacher or an administrator may change it"
                ) from None

    async def _check_delete(self, caller: Caller, workspace: str, asked: dict[str, Any]) -> None:
        """A model or version belongs to who registered it; others need the role that may delete it. Raises Denied, NotFound."""
        model = await Registry(self._tracking).get_model(workspace, str(asked.get("name", "")))
        wanted = str(asked.get("version", ""))
        owners = {version.owner for version in model.versions if wanted in ("", version.version)}
        await asyncio.to_thread(self._permit_all, caller, workspace, owners or {None})

    def _permit_all(self, caller: Caller, workspace: str, owners: set[str | None]) -> None:
        with self._database.reading() as tx:
            for owner in owners:
                permit(tx, caller, "models:delete", workspace, owner=owner)

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


def _socket_transport(socket: Path) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(uds=str(socket), retries=1, limits=httpx.Limits(max_connections=100, max_keepalive_connections=20))


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


async def _return(send: Send, reply: httpx.Response) -> None:
    headers = [(k.lower(), v) for k, v in reply.headers.raw if k.decode("latin-1").lower() not in NOT_RETURNED]
    headers = [(k, _relative(v) if k == b"location" else v) for k, v in headers]
    await send({"type": "http.response.start", "status": reply.status_code, "headers": headers})
    async for chunk in reply.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


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
