"""The product under measurement: ``ltai start --demo`` on a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.peers import free_port


@dataclass(frozen=True)
class Product:
    url: str
    data: Path
    pid: int
    accounts: dict[str, dict[str, str]]
    started_in: float


@contextmanager
def product(data: Path, port: int | None = None, by_make: bool = False) -> Iterator[Product]:
    """Yields when it said Ready; stopped by SIGINT as a person would. ``by_make``: by `make run`, set-up check included."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "ready.json").unlink(missing_ok=True)
    start = time.perf_counter()
    log = data.parent / f"{data.name}.log"
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    with log.open("ab") as file:
        process = subprocess.Popen(command(data, port or free_port(), by_make), stdout=file, stderr=file, env=env, start_new_session=True)
    try:
        ready = wait_until_ready(process, data / "ready.json", log)
        accounts = {account["name"]: account for account in ready["accounts"]}
        yield Product(ready["url"], data, ready["pid"], accounts, time.perf_counter() - start)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def command(data: Path, port: int, by_make: bool) -> list[str]:
    if by_make:
        return ["make", "-s", "run", f"PORT={port}", f"DATA={data}"]
    ltai = str(Path(sys.executable).parent / "ltai")
    return [ltai, "start", "--demo", "--simulated-gpus", "2", "--data", str(data), "--port", str(port)]


def wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> dict[str, Any]:
    while process.poll() is None:
        try:
            ready: dict[str, Any] = json.loads(path.read_text())
            return ready
        except (OSError, ValueError):
            pass
        time.sleep(0.02)
    raise RuntimeError(f"ltai start ended with {process.returncode}:\n{log.read_text()[-2000:]}")
