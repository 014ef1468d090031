"""Processes of a cluster on this machine that a test may kill: LTAI_TEST_RIG names the file that lists them, {"name": [pid, …]}."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDS = "needs a cluster whose processes may be killed: set LTAI_TEST_RIG to the file that lists them"


def pids_file() -> Path:
    found = os.environ.get("LTAI_TEST_RIG")
    if not found:
        pytest.skip(NEEDS)
    return Path(found)


@contextmanager
def killed(name: str) -> Iterator[None]:
    """``kill -9``, and started again afterwards as it was."""
    file = pids_file()
    pid = json.loads(file.read_text())[name][0]
    process = Path(f"/proc/{pid}")
    command = [word.decode() for word in (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")]
    folder = (process / "cwd").readlink()
    network = os.open(process / "ns" / "net", os.O_RDONLY)
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < until, f"{name} does not end"
        time.sleep(0.05)
    try:
        yield
    finally:
        start(file, name, command, folder, network)
        os.close(network)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def start(file: Path, name: str, command: list[str], folder: Path, network: int) -> None:
    # the child's own descriptor: ours is closed before it has looked
    words = ["nsenter", f"--net=/proc/self/fd/{network}", *command]
    with (file.parent / "logs" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder, pass_fds=[network]
        )
    began = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: [process.pid, began]}))
