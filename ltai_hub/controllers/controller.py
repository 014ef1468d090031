"""The loop every controller runs in."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

log = logging.getLogger("ltai.controllers")


class Controller(ABC):
    """Level-triggered: ``pass_once`` looks at everything, compares with the wish and takes one step for each.

    ``interval`` is the longest wait between passes in seconds; ``poke`` makes the next pass begin at once.
    """

    name = "controller"
    interval = 2.0

    def __init__(self) -> None:
        self._hint = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @abstractmethod
    async def pass_once(self) -> None:
        """One look and one step for everything; running it twice changes nothing more."""

    def poke(self) -> None:
        """Something changed. May be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hint.set)

    async def run(self) -> None:
        """Never returns; a failing pass is logged and tried again."""
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                await self.pass_once()
            except Exception:  # the loop must survive whatever one pass met
                log.exception("pass of %s failed", self.name)
            try:
                await asyncio.wait_for(self._hint.wait(), self.interval)
            except TimeoutError:
                continue
            finally:
                self._hint.clear()
