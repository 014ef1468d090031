"""Name and password against a real JupyterHub: its login page, its XSRF check, its tokens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ltai_hub.client.login import revoke, sign_in
from ltai_hub.errors import Denied, NotFound
from tests.cli.conftest import call

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("hub")
    command = [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).with_name("hub_config.py"))]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, "TEST_HUB_PORT": str(port)}, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/hub/health", folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str, log: Path) -> None:
    for _ in range(150):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(log.read_text()[-2000:])


def test_a_person_the_hub_has_never_seen_gets_a_token(hub: str) -> None:
    login = sign_in(hub, "ana", "ana", days=1)
    user = httpx.get(f"{hub}/hub/api/user", headers={"Authorization": f"token {login.token}"}).json()
    assert (user["name"], user["kind"]) == ("ana", "user")


def test_a_wrong_password_is_refused_with_the_hubs_reason(hub: str) -> None:
    with pytest.raises(Denied, match="Invalid username or password"):
        sign_in(hub, "ana", "guess")


def test_a_revoked_token_is_refused(hub: str) -> None:
    login = sign_in(hub, "bob", "bob")
    revoke(login)
    assert httpx.get(f"{hub}/hub/api/user", headers={"Authorization": f"token {login.token}"}).status_code == 403
    revoke(login)


def test_the_command_reads_the_password_from_stdin(hub: str) -> None:
    done = call("login", hub, "--user", "Ana", "--password-stdin", stdin="Ana\n")
    assert (done.code, done.err) == (0, f"Signed in at {hub} as ana.\n")


def test_another_web_server_is_told_from_a_hub(hub_url: str) -> None:
    with pytest.raises(NotFound, match="no login page"):
        sign_in(hub_url, "ana", "ana")
