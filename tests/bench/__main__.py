"""Runs the figures named on the command line, all when none is named."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import endpoints, footprint, jobs, pods, queueing, spawning, tenants
from tests.bench.figures import Figure, keep, table

FIGURES: dict[str, Callable[[Path], list[Figure]]] = {
    "P1": spawning.click,
    "P2": spawning.many_at_once,
    "P3": pods.overhead,
    "P3b": pods.page,
    "P4": queueing.admitted,
    "P5k": queueing.waiting,
    "P6": endpoints.requests,
    "P7": jobs.first_line,
    "P10": footprint.start_and_memory,
    "P20": tenants.reconcile,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        print(f"there is no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    found: list[Figure] = []
    for name in names or FIGURES:
        with tempfile.TemporaryDirectory(prefix=f"ltai-bench-{name.lower()}-") as folder:
            figures = FIGURES[name](Path(folder))
        keep(figures, Path(".bench/results.jsonl"))
        found += figures
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
