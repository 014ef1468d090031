"""A notebook server with our extension, and a service behind it that says what it was asked."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

REPOSITORY = Path(__file__).parents[2]


class EchoHandler(web.RequestHandler):
    """Says what arrived; ``/drip`` sends a piece at once and another when ``release`` is set; ``/half`` breaks off."""

    release = threading.Event()
    left = threading.Event()

    async def echo(self, path: str) -> None:
        if path.endswith("/drip"):
            return await self.drip()
        if path.endswith("/half"):
            return await self.half()
        self.set_status(418 if path.endswith("/teapot") else 200)
        self.set_header("Set-Cookie", "stolen=1")
        self.set_header("X-Request-ID", "req-1")
        told = {
            "method": self.request.method,
            "uri": self.request.uri,
            "bytes": len(self.request.body),
            "headers": dict(self.request.headers),
        }
        self.finish(told)

    get = post = put = patch = delete = echo

    async def drip(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write("first\n")
        await self.flush()
        while not self.release.is_set():
            await asyncio.sleep(0.01)
        self.finish("second\n")

    def on_connection_close(self) -> None:
        self.left.set()

    async def half(self) -> None:
        self.set_header("Content-Length", "1000")
        self.write("half")
        await self.flush()
        assert self.request.connection is not None
        self.request.connection.stream.close()  # type: ignore[attr-defined]


@contextmanager
def in_thread(make: Callable[[], int]) -> Iterator[int]:
    """Runs what ``make`` starts on an event loop of its own; gives its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def call() -> int:
        return make()

    made: Future[int] = asyncio.run_coroutine_threadsafe(call(), loop)
    yield made.result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


def serve(app: web.Application) -> int:
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(app, max_body_size=1 << 30).add_sockets(sockets)
    port: int = sockets[0].getsockname()[1]
    return port


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    with in_thread(lambda: serve(web.Application([("(.*)", EchoHandler)]))) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class NotebookServer:
    url: str

    def client(self, user: str = "anna", **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-User": user, "X-Token": "1", **headers}, timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def notebook_server(folder: Path, **environ: str) -> Iterator[NotebookServer]:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LTAI_", "JUPYTERHUB_"))}
    paths = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'labextensions' / 'ltai_lab'}"
    # As the platform's own launchers: the module takes two seconds and nothing here needs it.
    start = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_server.serverapp import main; main()"
    options = {
        "ip": "127.0.0.1",
        "base_url": "/user/anna/",
        "root_dir": folder,
        "identity_provider_class": "tests.front.identity.HeaderIdentity",
        "jpserver_extensions": "ltai_lab=True",
    }
    words = [f"--ServerApp.{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-c", start, "--no-browser", "--allow-root", f"--port={port}", *words]
    environment = {**kept, "PYTHONPATH": paths, "HOME": str(folder), **environ}
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process, folder / "server.log")
        yield NotebookServer(f"http://127.0.0.1:{port}/user/anna")
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the notebook server did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def server(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookServer]:
    """Anna's server, told by the hub where the services are."""
    environ = {
        "LTAI_SERVICES_URL": upstream,
        "JUPYTERHUB_API_TOKEN": "secret-of-anna",
        "JUPYTERHUB_USER": "anna",
        "JUPYTERHUB_SERVER_NAME": "big",
    }
    with notebook_server(tmp_path_factory.mktemp("server"), **environ) as started:
        yield started
