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
        with product(folder / "data", port, by_make=True) as ours:
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
    main = psutil.Process(pid)
    found: dict[str, float] = {}
    for process in [main, *main.children(recursive=True)]:
        label = name_of(process.cmdline())
        found[label] = found.get(label, 0) + process.memory_full_info().pss / 1e6
    return found


def name_of(words: list[str]) -> str:
    """ "hub", "services", "mlflow", "forkserver", "proxy", "supervisor"."""
    line = " ".join(words)
    if "ltai_hub.local.child" in line:
        return words[-1]
    return next(
        (name for part, name in (("forkserver", "forkserver"), ("chp.mjs", "proxy"), ("ltai start", "supervisor")) if part in line), line
    )
