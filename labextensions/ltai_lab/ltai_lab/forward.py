"""Hands a tornado request on to another HTTP server, both bodies streamed, and gives up when the caller leaves.

The console uses it too. tornado's own client is not used: it cannot be cancelled, so every closed log page would
leave a connection behind.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tornado import http1connection, httputil, iostream, tcpclient, web

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
# What belongs to this origin and must not reach the other one, nor come back from it.
PRIVATE = frozenset({"cookie", "authorization", "x-xsrftoken", "host", "origin", "referer", "expect"})
KEPT_BACK = frozenset({"set-cookie", "server", "date", "content-security-policy"})
MAX_BODY = 64 << 30
CONNECT_SECONDS = 10.0


class Body:
    """A request's body while it arrives: a few pieces wait here, the rest in the caller's socket."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)

    async def feed(self, piece: bytes | None, taker: asyncio.Future[None]) -> None:
        """Waits until the piece (None: the end) is taken, or nobody takes any more."""
        put = asyncio.ensure_future(self.pieces.put(piece))
        await asyncio.wait({put, taker}, return_when=asyncio.FIRST_COMPLETED)
        put.cancel()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            yield piece


def path_behind(path: str, marker: str) -> tuple[str, str]:
    """("training", "api/v1/jobs") of ``…{marker}training/api/v1/jobs``, escaped as it was sent. Raises HTTPError for paths that climb."""
    service, _, rest = path.split(marker, 1)[1].partition("/")
    if any(unquote(part) in (".", "..") for part in rest.split("/")):
        raise web.HTTPError(400, "the path may not contain . or ..")
    return service, rest


class Unreachable(Exception):
    """The other server does not answer, or stopped in the middle of its head."""


@dataclass(frozen=True)
class Target:
    """Where a request goes. url: absolute, query included; headers: added to the caller's own."""

    method: str
    url: str
    headers: Mapping[str, str]


async def forward(handler: web.RequestHandler, target: Target, body: Body) -> None:
    """Sends the handler's request to the target and streams the answer into the handler's response.

    Raises Unreachable while nothing has been sent to the caller yet.
    """
    parts = urlsplit(target.url)
    stream = await connect(parts.scheme, parts.hostname or "127.0.0.1", parts.port)
    caller = handler.request.connection
    assert isinstance(caller, http1connection.HTTP1Connection)

    def on_caller_gone() -> None:
        stream.close()
        handler.on_connection_close()

    caller.set_close_callback(on_caller_gone)
    try:
        complete = await exchange(handler, target, body, stream)
    finally:
        caller.set_close_callback(handler.on_connection_close)
        stream.close()
    if not complete:
        # Half an answer must not look like a whole one.
        caller.close()


async def connect(scheme: str, host: str, port: int | None) -> iostream.IOStream:
    secure = ssl.create_default_context() if scheme == "https" else None
    try:
        return await tcpclient.TCPClient().connect(host, port or (443 if secure else 80), ssl_options=secure, timeout=CONNECT_SECONDS)
    except (OSError, iostream.StreamClosedError, TimeoutError) as error:
        raise Unreachable(f"{host} does not answer ({type(error).__name__})") from error


async def exchange(handler: web.RequestHandler, target: Target, body: Body, stream: iostream.IOStream) -> bool:
    """True when the answer came to its end."""
    params = http1connection.HTTP1ConnectionParameters(no_keep_alive=True, max_body_size=MAX_BODY, decompress=False)
    connection = http1connection.HTTP1Connection(stream, True, params)
    answer = Answer(handler)
    parts = urlsplit(target.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        await connection.write_headers(httputil.RequestStartLine(target.method, path, ""), request_headers(handler, target, parts.netloc))
        async for piece in body:
            await connection.write(piece)
        connection.finish()
        await connection.read_response(answer)
    except (iostream.StreamClosedError, httputil.HTTPInputError) as error:
        if not answer.begun:
            raise Unreachable("it closed the connection before it answered") from error
    if not answer.begun:
        raise Unreachable("it closed the connection before it answered")
    return answer.complete


def request_headers(handler: web.RequestHandler, target: Target, host: str) -> httputil.HTTPHeaders:
    headers = httputil.HTTPHeaders()
    for name, value in handler.request.headers.get_all():
        if name.lower() not in HOP_BY_HOP | PRIVATE:
            headers.add(name, value)
    headers["Host"] = host
    headers["Connection"] = "close"
    if "Content-Length" not in headers:
        if handler.request.headers.get("Transfer-Encoding", "").lower() == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif target.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
    for name, value in target.headers.items():
        headers[name] = value
    return headers


class Answer(httputil.HTTPMessageDelegate):
    """Writes the other server's answer into the handler's; waits for the caller to take each piece."""

    def __init__(self, handler: web.RequestHandler) -> None:
        self.handler = handler
        self.begun = False
        self.complete = False

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, httputil.ResponseStartLine)
        if start_line.code < 200:
            return None
        self.begun = True
        handler = self.handler
        handler.set_status(start_line.code, start_line.reason)
        handler.clear_header("Content-Type")
        first = set()
        for name, value in headers.get_all():
            if name.lower() in HOP_BY_HOP | KEPT_BACK:
                continue
            (handler.add_header if name in first else handler.set_header)(name, value)
            first.add(name)
        return None

    async def data_received(self, chunk: bytes) -> None:
        try:
            self.handler.write(chunk)
            await self.handler.flush()
        except iostream.StreamClosedError:
            return  # the caller left; on_caller_gone has closed the other side

    def finish(self) -> None:
        self.complete = True
