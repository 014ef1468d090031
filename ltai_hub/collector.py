"""Python's garbage collector in processes that live long."""

from __future__ import annotations

import gc

# objects made before the young are looked through, and how often that is before older ones are
COLLECT = (5_000, 20, 20)


def calm_collector() -> None:
    """What start-up made stays for good: looking through it again and again held a request up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
