"""The loop every controller runs in."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("ltai.controllers")
LOG_SECONDS = 60.0
# a pass that takes longer looks at hundreds of things
LONG_SECONDS, LONGEST_REST = 0.1, 2.0


class Controller(ABC):
    """Level-triggered: ``pass_once`` looks at everything, compares with the wish and takes one step for each.

    ``interval`` is the longest wait between passes in seconds; ``poke`` makes the next pass begin at once.
    """

    name = "controller"
    interval = 2.0

    def __init__(self) -> None:
        self._hint = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._silent_until: dict[str, float] = {}

    @abstractmethod
    async def pass_once(self) -> None:
        """One look and one step for everything; running it twice changes nothing more."""

    @contextmanager
    def apart(self, what: str) -> Iterator[None]:
        """One thing that fails is logged, once a minute, and holds up no other."""
        try:
            yield
        except Exception:
            if time.monotonic() >= self._silent_until.get(what, 0):
                log.exception("%s failed", what)
                self._silent_until[what] = time.monotonic() + LOG_SECONDS

    def poke(self) -> None:
        """Something changed. May be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hint.set)

    async def run(self) -> None:
        """Never returns; a failing pass is logged and tried again."""
        self._loop = asyncio.get_running_loop()
        while True:
            began = time.monotonic()
            try:
                await self.pass_once()
            except Exception:  # the loop must survive whatever one pass met
                log.exception("pass of %s failed", self.name)
            await asyncio.sleep(rest_after(time.monotonic() - began))
            try:
                await asyncio.wait_for(self._hint.wait(), self.interval)
            except TimeoutError:
                continue
            finally:
                self._hint.clear()


def rest_after(took: float) -> float:
    """Half of the time is left for others, most of it when there are hundreds of things, however often a controller is poked."""
    return min(took if took < LONG_SECONDS else 3 * took, LONGEST_REST)
