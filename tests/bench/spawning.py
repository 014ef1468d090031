"""P1 click to JupyterLab, P2 thirty at once; peer: stock JupyterHub with LocalProcessSpawner."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ltai_hub.local.plan import find_node
from tests.bench.crowd import make_crowd
from tests.bench.figures import Figure, median
from tests.bench.peers import stock_hub
from tests.bench.product import product
from tests.bench.visitor import Visitor

PEER = "JupyterHub 6.1, LocalProcessSpawner"
RUNS, CROWD = 10, 30


def click(folder: Path) -> list[Figure]:
    """Median of ten warm starts; the first of each, which is cold, is not counted."""
    with product(folder / "data") as ours:
        account = ours.accounts["student1"]
        mine = repeated(Visitor(ours.url, account["name"], account["password"], {"profile": "digits"}))
    with stock_hub(folder, find_node()) as url:
        theirs = repeated(Visitor(url, "student1", "stock"))
    return [Figure("P1", median(mine), "s", PEER, median(theirs), RUNS, "≤ 0.7 s and ≤ 1/10 of the peer")]


def repeated(visitor: Visitor) -> list[float]:
    times = []
    for _ in range(RUNS + 1):
        times.append(visitor.click())
        visitor.stop()
    return times[1:]


def many_at_once(folder: Path) -> list[Figure]:
    """Starts a second: thirty people click at once, until the last one's page answers. Both hubs are warm: one has started before."""
    with product(folder / "data") as ours:
        people = make_crowd(ours, CROWD)
        account = ours.accounts["student1"]
        Visitor(ours.url, account["name"], account["password"], {"profile": "digits"}).click()
        mine = rate([partial(Visitor, ours.url, a.name, a.password, {"profile": "digits"}) for a in people])
    with stock_hub(folder, find_node()) as url:
        Visitor(url, "student1", "stock").click()
        theirs = rate([partial(Visitor, url, f"crowd{n}", "stock") for n in range(CROWD)])
    return [Figure("P2", round(mine, 3), "starts/s", PEER, round(theirs, 3), 1, "≥ 3/s and ≥ 5 × the peer")]


def rate(makers: list[Callable[[], Visitor]]) -> float:
    with ThreadPoolExecutor(len(makers)) as pool:
        visitors = list(pool.map(lambda make: make(), makers))
        start = time.perf_counter()
        list(pool.map(lambda visitor: visitor.click(), visitors))
        return len(visitors) / (time.perf_counter() - start)
