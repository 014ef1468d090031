"""A fake hub for every test, and ``run``: the command as a user calls it, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ltai_hub.cli.main import app
from ltai_hub.client import Client
from tests.cli.fake import TOKEN, State, make_image, make_tenant, served


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """A printed table without its header."""
        return [line.split("\t") for line in self.out.splitlines()[1:]]


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def shared_state() -> State:
    return State()


@pytest.fixture(scope="session")
def hub_url(shared_state: State) -> Iterator[str]:
    with served(shared_state) as url:
        yield url


@pytest.fixture
def state(shared_state: State) -> State:
    """The hub's memory, fresh: one course, two images, nothing running."""
    shared_state.__init__()  # type: ignore[misc]  # the server holds on to this very object
    shared_state.tenants["ml101"] = make_tenant("ml101", "ML 101")
    shared_state.images |= {"sklearn": make_image("sklearn"), "broken": make_image("broken")}
    return shared_state


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No test sees the developer's own sign-in."""
    for name in ("LTAI_URL", "LTAI_TOKEN", "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_PUBLIC_HUB_URL", "LTAI_TENANT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def client(hub_url: str, state: State) -> Iterator[Client]:
    with Client(hub_url, TOKEN, sleep=lambda _seconds: None) as client:
        yield client


@pytest.fixture
def run(hub_url: str, state: State, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("job", "list")`` as somebody who is signed in at the fake hub."""
    monkeypatch.setenv("LTAI_URL", hub_url)
    monkeypatch.setenv("LTAI_TOKEN", TOKEN)
    return call


def call(*words: str, stdin: str = "") -> Result:
    done = CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)
    return Result(done.exit_code, done.stdout, done.stderr)
