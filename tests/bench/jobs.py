"""P7: from submit to the first line of the user's code, over a bare start of the same python."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ltai_hub.catalog.images import image_python
from ltai_hub.client import Client
from ltai_hub.paths import DataFolder
from tests.bench.crowd import client_of
from tests.bench.figures import Figure, median
from tests.bench.product import Product, product

RUNS = 10
FIRST_LINE = "import time; print(repr(time.time()), flush=True)"


def first_line(folder: Path) -> list[Figure]:
    with product(folder / "data") as ours:
        client = client_of(ours, "student1")
        submitted(client)  # the first one makes the workspace and fills caches
        mine = [submitted(client) for _ in range(RUNS)]
        bare = [started(ours) for _ in range(RUNS)]
    over = round(median(mine) - median(bare), 4)
    return [Figure("P7", over, "s", "bare python start", median(bare), RUNS, "≤ 0.3 s")]


def submitted(client: Client) -> float:
    start = time.time()
    job = client.jobs.submit("first line", profile="digits", command=["python", "-c", FIRST_LINE])
    client.jobs.wait(job["id"])
    return float("".join(client.jobs.log(job["id"])).split()[0]) - start


def started(ours: Product) -> float:
    start = time.time()
    python = image_python(DataFolder(ours.data), "scikit-learn")
    return float(subprocess.run([str(python), "-c", FIRST_LINE], capture_output=True, check=True).stdout) - start
