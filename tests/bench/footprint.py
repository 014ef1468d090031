"""P10: a second start until Ready, and the memory of every process of the platform when idle (PSS)."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.bench.figures import Figure, median
from tests.bench.peers import free_port
from tests.bench.product import product

RUNS = 3
IDLE_SECONDS = 20


def start_and_memory(folder: Path) -> list[Figure]:
    port = free_port()
    with product(folder / "data", port):
        pass
    times = []
    for run in range(RUNS):
        with product(folder / "data", port) as ours:
            times.append(ours.started_in)
            if run == RUNS - 1:
                time.sleep(IDLE_SECONDS)
                megabytes = memory_of(ours.pid)
    return [
        Figure("P10 second start", median(times), "s", runs=RUNS, floor="≤ 10 s"),
        Figure("P10 idle memory", round(sum(megabytes.values()), 1), "MB", runs=1, floor="≤ 700 MB"),
        *(Figure(f"P10 … {name}", round(size, 1), "MB") for name, size in sorted(megabytes.items(), key=lambda item: -item[1])),
    ]


def memory_of(pid: int) -> dict[str, float]:
    """Name → PSS in MB (10⁶ bytes) of the process and all below it."""
    found: dict[str, float] = {}
    main = psutil.Process(pid)
    for process in [main, *main.children(recursive=True)]:
        with_pss = process.memory_full_info()
        words = process.cmdline()
        name = next((w for w in words if "ltai" in w or "jupyterhub" in w or "chp" in w), words[0] if words else process.name())
        label = f"{Path(name).name} {process.pid}"
        found[label] = with_pss.pss / 1e6
    return found
