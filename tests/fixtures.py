"""A pytest plugin with the real platform: ``platform`` is ``ltai start --demo`` on a free port and a temporary data folder.

One instance a test run; a test that stops or kills it makes its own with ``start_platform``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from ltai_hub.trust import certificates

START_SECONDS = 120
NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


class Browser(httpx.Client):
    """Sends what a browser sends: cookies, the headers of a page view or a fetch, the XSRF token of the hub's pages."""

    def __init__(self, url: str, language: str = "en") -> None:
        headers = {"User-Agent": "test", "Accept-Language": language}
        super().__init__(base_url=url, follow_redirects=True, timeout=60, headers=headers, verify=certificates())

    def __enter__(self) -> Browser:
        """Also of one that was used already: ``with platform.session("student1") as browser``."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def view(self, path: str) -> httpx.Response:
        return self.get(path, headers=NAVIGATE)

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """The form of the page at ``path``, with its hidden token."""
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.view(path).text)
        token = found[1] if found else self.xsrf
        return self.post(path, data={**fields, "_xsrf": token}, headers=NAVIGATE)

    def sign_in(self, name: str, password: str) -> httpx.Response:
        return self.submit("/hub/login?next=%2Fhub%2Fhome", username=name, password=password)

    def api(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """A fetch() of a hub page to the hub's API."""
        return self.request(method, f"/hub/api{path}", headers=FETCH | {"X-XSRFToken": self.xsrf}, **kwargs)

    @property
    def xsrf(self) -> str:
        return next((c.value or "" for c in self.cookies.jar if c.name == "_xsrf" and c.path == "/hub/"), "")

    def wait_for_server(self, user: str, server: str = "", seconds: float = 60) -> dict[str, Any]:
        """The server's model once nothing is pending."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            servers = self.api("GET", f"/users/{user}", params={"include_stopped_servers": ""}).json()["servers"]
            model: dict[str, Any] = servers.get(server, {})
            if model and not model["pending"]:
                return model
            time.sleep(0.1)
        raise AssertionError(f"{user}/{server} is still pending after {seconds} s")


@dataclass
class RunningPlatform:
    url: str
    data: Path
    process: subprocess.Popen[bytes] | None = field(repr=False)
    accounts: dict[str, dict[str, str]] = field(repr=False)
    output: Path

    def session(self, name: str, language: str = "en") -> Browser:
        """A signed-in browser."""
        browser = Browser(self.url, language)
        reply = browser.sign_in(name, self.accounts[name]["password"])
        assert reply.url.path == "/hub/home", (reply.status_code, reply.url, reply.text[:500])
        return browser

    def token(self, name: str, scopes: tuple[str, ...] = ()) -> str:
        """A new token of the person for the hub and the services."""
        with self.session(name) as browser:
            body = {"note": "test", "expires_in": 3600} | ({"scopes": list(scopes)} if scopes else {})
            return str(browser.api("POST", f"/users/{name}/tokens", json=body).json()["token"])

    def client(self, name: str) -> httpx.Client:
        """For the services' REST API as that person."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token(name)}"}, timeout=60, verify=certificates())

    def stop(self, number: int = signal.SIGINT, seconds: float = 60) -> int:
        assert self.process, "this test stops its platform; it cannot run on one that was attached"
        self.process.send_signal(number)
        return self.process.wait(seconds)


def start_platform(data: Path, *options: str, port: int = 0) -> RunningPlatform:
    """Returns when it is ready. Raises AssertionError with its output when it does not get there."""
    port = port or free_port()
    output = data.parent / f"{data.name}.out"
    process = launch(data, output, "--port", str(port), *options)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        # the file may be an older start's that was killed
        if (ready := read_ready(data)) and ready["pid"] == process.pid and "Ready:" in output.read_text("utf-8"):
            accounts = {account["name"]: account for account in ready["accounts"]}
            return RunningPlatform(ready["url"], data, process, accounts, output)
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"not ready:\n{output.read_text('utf-8')}")


def attach(data: Path) -> RunningPlatform:
    """A platform somebody else has started; it is left running."""
    ready = read_ready(data)
    assert ready, f"nothing runs in {data}"
    accounts = {account["name"]: account for account in ready["accounts"]}
    return RunningPlatform(ready["url"], data, None, accounts, data.parent / f"{data.name}.out")


def launch(data: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).parent / "ltai"), "start", "--data", str(data), *options]
    with output.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment())


def environment() -> dict[str, str]:
    """Without what would slow every start down: machines for tests like to forbid .pyc files."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def read_ready(data: Path) -> dict[str, Any] | None:
    try:
        ready: dict[str, Any] = json.loads((data / "ready.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return ready


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """The demo school with two simulated GPUs, for the whole run; LTAI_TEST_DATA names the data folder of one that runs already."""
    if known := os.environ.get("LTAI_TEST_DATA"):
        yield attach(Path(known))
        return
    running = start_platform(tmp_path_factory.mktemp("ltai") / "data", "--demo", "--simulated-gpus", "2")
    try:
        yield running
    finally:
        running.stop()
