"""Errors become ``application/problem+json`` (RFC 9457) here and nowhere else."""

from __future__ import annotations

import logging
import uuid
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltai_hub.errors import Problem, TryLater

log = logging.getLogger("ltai.web")
REQUEST_ID = "X-Request-ID"


class RequestIds:
    """Gives every request an id, sends it back in ``X-Request-ID``, and keeps it for problems and logs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex[:12]
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (REQUEST_ID.lower().encode(), request_id.encode())]
            await send(message)

        await self.app(scope, receive, send_with_id)


def reply(request: Request, status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    request_id = request.scope.get("state", {}).get("request_id", "")
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return JSONResponse({**body, "request_id": request_id, **more}, status, media_type="application/problem+json")


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: no such path, or not with this method."""
    if not isinstance(error, HTTPException):
        raise TypeError("registered for HTTPException only") from error
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
    return reply(request, error.status_code, code, str(error.detail))


def install(app: FastAPI) -> None:
    """Register the handlers on an app."""
    app.add_middleware(RequestIds)

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> JSONResponse:
        answer = reply(request, error.status, error.code, error.message, **error.details)
        if isinstance(error, TryLater):
            answer.headers["Retry-After"] = str(max(1, round(error.after)))
        return answer

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [
            {"field": ".".join(str(p) for p in e["loc"] if p not in ("body", "query", "path")), "message": e["msg"]} for e in error.errors()
        ]
        first = found[0] if found else {"field": "", "message": "the request is not valid"}
        detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        return reply(request, 400, "bad-input", detail, errors=found)

    app.add_exception_handler(HTTPException, on_http)

    @app.exception_handler(UnicodeEncodeError)
    async def on_half_pair(request: Request, error: UnicodeEncodeError) -> JSONResponse:
        """JSON can spell half a surrogate pair ("\\ud800"), which no text has and nothing can keep."""
        return reply(request, 400, "bad-input", "the request has half a surrogate pair in a text; remove it")

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s %s failed", request.method, request.url.path, exc_info=error)
        return reply(request, 500, "internal", "something went wrong here and was logged; tell an administrator the request id")
