"""Fork servers for the tests: one shared by a file, or one's own to break."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends.support import RunningForkServer


def make_data_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lt"))  # short: paths of unix sockets hold 108 bytes
    folder.chmod(0o711)  # as root people have accounts of their own, which without namespaces must get through to their homes
    return folder / "data"


@pytest.fixture(scope="module")
def forks() -> Iterator[RunningForkServer]:
    server = RunningForkServer(make_data_folder(), ("--simulated-gpus", "2"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def make_forks() -> Iterator[Callable[..., RunningForkServer]]:
    """Starts fork servers with the options given; all are ended after the test."""
    started: list[RunningForkServer] = []

    def make(*options: str) -> RunningForkServer:
        server = RunningForkServer(make_data_folder(), options)
        started.append(server)
        server.start()
        return server

    yield make
    for server in started:
        server.close()
