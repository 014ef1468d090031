"""Who waits for an answer goes before what is started in the background: both take the same processors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

# who asks so soon after another belongs to a rush, which is over when nobody has asked for so long
CLOSE_SECONDS = 0.1
LOOK_SECONDS = 0.02


class RightOfWay:
    """Of one event loop."""

    def __init__(self) -> None:
        self._waiting = 0
        self._asked = -CLOSE_SECONDS
        self._is_rush = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While somebody waits for an answer."""
        now = time.monotonic()
        self._is_rush, self._asked = now - self._asked < CLOSE_SECONDS, now
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def give(self, seconds: float) -> None:
        """Until nobody waits and no rush is on, for so long at most."""
        until = time.monotonic() + seconds
        while (self._waiting or self._in_rush()) and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)

    def _in_rush(self) -> bool:
        return self._is_rush and time.monotonic() - self._asked < CLOSE_SECONDS
