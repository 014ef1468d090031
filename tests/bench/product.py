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
def product(data: Path, port: int | None = None) -> Iterator[Product]:
    """Yields when it said Ready; stopped by SIGINT as a person would."""
    data.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    command = [str(Path(sys.executable).parent / "ltai"), "start", "--demo", "--simulated-gpus", "2"]
    command += ["--data", str(data), "--port", str(port or free_port())]
    log = data.parent / f"{data.name}.log"
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""})
    try:
        ready = wait_until_ready(process, data / "ready.json", log)
        accounts = {account["name"]: account for account in ready["accounts"]}
        yield Product(ready["url"], data, ready["pid"], accounts, time.perf_counter() - start)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> dict[str, Any]:
    while process.poll() is None:
        try:
            ready: dict[str, Any] = json.loads(path.read_text())
            if ready["pid"] == process.pid:
                return ready
        except (OSError, ValueError):
            pass
        time.sleep(0.02)
    raise RuntimeError(f"ltai start ended with {process.returncode}:\n{log.read_text()[-2000:]}")
