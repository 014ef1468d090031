"""The platform's proxy as it is bundled, between real sockets: the shorter way to endpoints."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from ltai_hub.local.plan import ProxyPlaces, find_node, make_proxy_command, proxy_bundle
from tests.fixtures import free_port

TOKEN = "of-a-test"
PREFIX = "/endpoints/school/digits"
BIG = 64 << 20


@dataclass
class Proxy:
    url: str
    api: str
    port: int

    def lead(self, path: str, target: str) -> None:
        self._ask("POST", path, {"target": target}, 201)

    def forget(self, path: str) -> None:
        self._ask("DELETE", path, None, 204)

    def routes(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.api}/api/routes", headers={"Authorization": f"token {TOKEN}"}).json()
        return found

    def _ask(self, method: str, path: str, body: dict[str, str] | None, status: int) -> None:
        headers = {"Authorization": f"token {TOKEN}"}
        reply = httpx.request(method, f"{self.api}/api/routes{path}", json=body, headers=headers)
        assert reply.status_code == status, reply.text


class Hub(BaseHTTPRequestHandler):
    """Gets what leads nowhere else, and is asked for the pages of errors."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"the hub")

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxy(hub: str) -> Iterator[Proxy]:
    port, api = free_port(), free_port()
    command = make_proxy_command(find_node(), str(proxy_bundle()), ProxyPlaces("127.0.0.1", port, "127.0.0.1", api, hub))
    process = subprocess.Popen(command, env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": TOKEN}, stdout=sys.stderr)
    found = Proxy(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{api}", port)
    until = time.monotonic() + 20
    while True:
        try:
            found.routes()
            break
        except httpx.HTTPError:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    yield found
    process.terminate()
    process.wait(10)


# ---- a model server that answers as a test says


@dataclass
class Asked:
    method: str
    path: str
    headers: list[tuple[str, str]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    async def body(self) -> bytes:
        if length := self.header("content-length"):
            return await self.reader.readexactly(int(length[0]))
        found = bytearray()
        while self.header("transfer-encoding") and (size := int(await self.reader.readline(), 16)):
            found += (await self.reader.readexactly(size + 2))[:-2]
        return bytes(found)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Behaviour = Callable[[Asked], Awaitable[None]]


@asynccontextmanager
async def a_server(behave: Behaviour) -> AsyncIterator[str]:
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        try:
            while line := (await reader.readline()).decode():
                method, path, _ = line.split()
                headers = []
                while (row := (await reader.readline()).decode().strip()) != "":
                    name, _, value = row.partition(":")
                    headers.append((name, value.strip()))
                await behave(Asked(method, path, headers, reader, writer))
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for writer in open_ones:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def answer(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def mirror(asked: Asked) -> None:
    """Says what it was asked."""
    await asked.body()
    words = json.dumps({"method": asked.method, "path": asked.path, "headers": asked.headers}).encode()
    await asked.say(answer(b"" if asked.method == "HEAD" else words, "Content-Type: application/json"))


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=30) as client:
        yield client


def named(reply: httpx.Response, name: str) -> list[str]:
    return [value for key, value in reply.json()["headers"] if key.lower() == name]


# ---- what is asked arrives


async def test_a_request_arrives_as_it_was_sent_and_tells_where_it_came_from(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async with a_server(mirror) as target:
        proxy.lead(PREFIX, target)
        headers = {"Authorization": "Bearer t", "X-Forwarded-For": "192.0.2.7", "X-Two": "a, b"}
        reply = await client.post(f"{PREFIX}/v2/models/digits/infer?a=1&b=2", json={"x": 1}, headers=headers)
        said = reply.json()
        assert (said["method"], said["path"]) == ("POST", f"{PREFIX}/v2/models/digits/infer?a=1&b=2")
        assert named(reply, "host") == [f"127.0.0.1:{proxy.port}"]
        assert named(reply, "authorization") == ["Bearer t"]
        assert named(reply, "x-two") == ["a, b"]
        assert named(reply, "x-forwarded-for") == ["192.0.2.7,127.0.0.1"]
        assert named(reply, "x-forwarded-proto") == ["http"]
        assert named(reply, "x-forwarded-port") == [str(proxy.port)]
        assert named(reply, "x-forwarded-host") == [f"127.0.0.1:{proxy.port}"]


async def test_both_ways_tell_the_target_the_same(proxy: Proxy, client: httpx.AsyncClient) -> None:
    """A dot in the path goes the usual way."""
    async with a_server(mirror) as target:
        proxy.lead(PREFIX, target)
        headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "lab.example", "Accept-Encoding": "br"}
        short, usual = [await client.get(f"{PREFIX}/{path}", headers=headers) for path in ("v2", "v2.0")]
        said = [sorted((k.lower(), v) for k, v in reply.json()["headers"]) for reply in (short, usual)]
        assert said[0] == said[1]


async def test_headers_between_neighbours_stay_between_them(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async with a_server(mirror) as target:
        proxy.lead(PREFIX, target)
        reply = await client.get(PREFIX, headers={"Connection": "X-Mine", "X-Mine": "1", "TE": "trailers", "Keep-Alive": "300"})
        assert [named(reply, name) for name in ("x-mine", "te")] == [[], []]
        assert "300" not in named(reply, "keep-alive")


@pytest.mark.parametrize("chunked", [False, True])
async def test_big_bodies_go_through_whole_both_ways(proxy: Proxy, client: httpx.AsyncClient, chunked: bool) -> None:
    async def echo(asked: Asked) -> None:
        await asked.say(answer(await asked.body()))

    async with a_server(echo) as target:
        proxy.lead(PREFIX, target)
        sent = os.urandom(BIG)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, BIG, 1 << 20):
                yield sent[start : start + (1 << 20)]

        reply = await client.post(PREFIX, content=pieces() if chunked else sent)
        assert reply.content == sent


async def test_head_and_answers_without_a_body(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async def empty(asked: Asked) -> None:
        if asked.path.endswith("204"):
            await asked.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif asked.path.endswith("304"):
            await asked.say(b'HTTP/1.1 304 Not Modified\r\nETag: "7"\r\n\r\n')
        else:
            await asked.say(b"HTTP/1.1 200 Fine\r\nContent-Length: 1234\r\n\r\n")

    async with a_server(empty) as target:
        proxy.lead(PREFIX, target)
        head = await client.head(PREFIX)
        assert (head.status_code, head.reason_phrase, head.headers["content-length"]) == (200, "Fine", "1234")
        assert (await client.get(f"{PREFIX}/204")).status_code == 204
        unchanged = await client.get(f"{PREFIX}/304")
        assert (unchanged.status_code, unchanged.headers["etag"]) == (304, '"7"')


async def test_a_reply_keeps_its_status_words_and_double_headers(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async def refuse(asked: Asked) -> None:
        await asked.say(answer(b"{}", "Set-Cookie: a=1", "Set-Cookie: b=2", "Connection: X-Hop", "X-Hop: 1", status="422 Not A Digit"))

    async with a_server(refuse) as target:
        proxy.lead(PREFIX, target)
        reply = await client.get(PREFIX)
        assert (reply.status_code, reply.reason_phrase) == (422, "Not A Digit")
        assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_a_stream_comes_piece_by_piece(proxy: Proxy, client: httpx.AsyncClient) -> None:
    go_on = asyncio.Event()

    async def stream(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asked.say(b"7\r\nfirst\n\n\r\n")
        await go_on.wait()
        await asked.say(b"8\r\nsecond\n\n\r\n0\r\n\r\n")

    async with a_server(stream) as target:
        proxy.lead(PREFIX, target)
        async with client.stream("GET", PREFIX) as reply:
            pieces = reply.aiter_bytes()
            assert await anext(pieces) == b"first\n\n"
            go_on.set()
            assert b"".join([piece async for piece in pieces]) == b"second\n\n"


# ---- whom it goes to


async def test_a_neighbours_name_that_begins_alike_is_another_endpoint(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async with a_server(mirror) as target:
        proxy.lead(PREFIX, target)
        assert (await client.get(f"{PREFIX}/x")).status_code == 200
        others = (f"{PREFIX}2/x", "/endpoints/school", "/endpoints//school/digits", "/endpoints/school/../digits", "/endpoints/__proto__/x")
        for path in others:
            assert b"the hub" in await raw(proxy, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), path


async def test_paths_that_must_be_read_first_still_arrive(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async with a_server(mirror) as target:
        proxy.lead(PREFIX, target)
        for path in (f"{PREFIX}/a%20b", f"{PREFIX}//x", "/endpoints/school/%64igits/x", f"{PREFIX}/v1.5/x?q=%C3%A4"):
            said = await raw(proxy, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200"), path
            assert json.loads(said.partition(b"\r\n\r\n")[2])["path"] == path


async def test_a_new_target_is_asked_at_once_and_a_removed_one_no_more(proxy: Proxy, client: httpx.AsyncClient) -> None:
    def named_server(name: bytes) -> Behaviour:
        async def tell(asked: Asked) -> None:
            await asked.say(answer(name))

        return tell

    async with a_server(named_server(b"old")) as old, a_server(named_server(b"new")) as new:
        proxy.lead(PREFIX, old)
        assert (await client.get(PREFIX)).content == b"old"
        proxy.lead(PREFIX, new)
        assert (await client.get(PREFIX)).content == b"new"
        proxy.forget(PREFIX)
        assert (await client.get(PREFIX)).content == b"the hub"


async def test_requests_count_as_activity_of_the_route(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async with a_server(mirror) as target:
        proxy.lead(PREFIX, target)
        before = proxy.routes()[PREFIX]["last_activity"]
        await asyncio.sleep(1.1)
        await client.get(PREFIX)
        assert proxy.routes()[PREFIX]["last_activity"] > before


# ---- when something breaks


async def test_nobody_listens(proxy: Proxy, client: httpx.AsyncClient) -> None:
    proxy.lead(PREFIX, f"http://127.0.0.1:{free_port()}")
    reply = await client.post(PREFIX, json={})
    assert (reply.status_code, reply.content) == (503, b"the hub")


async def test_a_target_that_breaks_off_before_and_in_its_answer(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async def break_off(asked: Asked) -> None:
        if asked.path.endswith("late"):
            await asked.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        asked.writer.close()

    async with a_server(break_off) as target:
        proxy.lead(PREFIX, target)
        assert (await client.get(PREFIX)).status_code == 503
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{PREFIX}/late")


async def test_a_client_that_goes_away_is_not_answered_further(proxy: Proxy, client: httpx.AsyncClient) -> None:
    gone = asyncio.Event()

    async def without_end(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await asked.say(b"1\r\nx\r\n")
                await asyncio.sleep(0.02)
        except ConnectionError:
            gone.set()
            raise

    async with a_server(without_end) as target:
        proxy.lead(PREFIX, target)
        async with client.stream("GET", PREFIX) as reply:
            await anext(reply.aiter_bytes())
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_slow_reader_holds_the_target_back(proxy: Proxy) -> None:
    """The proxy keeps little of what nobody takes."""
    sent = 0

    async def flood(asked: Asked) -> None:
        nonlocal sent
        await asked.say(f"HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n".encode())
        for _ in range(BIG >> 16):
            await asked.say(bytes(1 << 16))
            sent += 1 << 16

    async with a_server(flood) as target:
        proxy.lead(PREFIX, target)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1 << 16)
        writer.write(f"GET {PREFIX} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        await asyncio.sleep(1)
        assert 0 < sent < BIG // 2
        whole = 0
        while data := await reader.read(1 << 20):
            whole += len(data)
        assert whole > BIG
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hub HTTP/1.1\r\nHost: x\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "X: a\nContent-Length : 3\r\n\r\nabc",
        "Host: y\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_request_of_two_meanings_is_refused(proxy: Proxy, head: str) -> None:
    asked = []

    async def note(it: Asked) -> None:
        asked.append(it.path)
        await it.say(answer(b""))

    async with a_server(note) as target:
        proxy.lead(PREFIX, target)
        said = await raw(proxy, f"POST {PREFIX} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}")
        assert said.startswith(b"HTTP/1.1 400")
        assert asked == []


async def raw(proxy: Proxy, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(request.encode())
    said = await reader.read()
    writer.close()
    return said


async def test_an_idle_connection_that_the_target_closed_is_not_used_again(proxy: Proxy, client: httpx.AsyncClient) -> None:
    async def once(asked: Asked) -> None:
        await asked.body()
        await asked.say(answer(b"ok"))
        asked.writer.close()

    async with a_server(once) as target:
        proxy.lead(PREFIX, target)
        for _ in range(20):
            assert (await client.post(PREFIX, json={})).content == b"ok"
            await asyncio.sleep(0.01)


def test_the_socket_is_closed_after_the_last_answer_when_the_client_asks(proxy: Proxy) -> None:
    proxy.lead(PREFIX, f"http://127.0.0.1:{free_port()}")
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        client.sendall(f"GET {PREFIX} HTTP/1.0\r\n\r\n".encode())
        said = b""
        while data := client.recv(65536):
            said += data
    assert said.startswith(b"HTTP/1.1 503")
