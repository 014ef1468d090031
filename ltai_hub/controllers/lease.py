"""Controllers run in one process at a time, however many serve the same API.

Each service with controllers has a row in ``leases``: who runs them, and until when that is believed. The holder renews it
well before; one that cannot stops its controllers before another may begin. A process that ends gives its leases up, so that
the next goes on at once; after ``kill -9`` it takes at most ``LEASE_SECONDS + RENEW_SECONDS``. The same holder, here the
same machine or pod that was started again, has its lease back at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock

from ltai_hub.controllers import store
from ltai_hub.controllers.controller import Controller
from ltai_hub.db.engine import Database
from ltai_hub.units import utc_now

LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.5
# before its end by which a holder that cannot renew has stopped
MARGIN_SECONDS = 2.0
log = logging.getLogger("ltai.controllers")


class Leases:
    """The leases of one process, renewed together in one small transaction."""

    def __init__(
        self,
        database: Database,
        names: Sequence[str],
        holder: str = "",
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._names = tuple(names)
        self._holder = holder or socket.gethostname()
        self._clock = clock
        self._monotonic = monotonic
        self._held: frozenset[str] = frozenset()
        self._until = 0.0
        self._changed = asyncio.Condition()
        self._one_at_a_time = Lock()
        self._ended = False

    def holds(self, name: str) -> bool:
        """Surely so: by this process's own clock too, should the database not answer any more."""
        return name in self._held and self._monotonic() < self._until

    async def renew(self) -> None:
        """Take what can be taken, renew what is held. A database that does not answer is waited for."""
        began = self._monotonic()
        try:
            held = await asyncio.to_thread(self._take)
        except Exception as error:  # whatever it is: what is held runs out by itself
            log.warning("leases cannot be renewed: %s", error)
        else:
            self._tell(held)
            self._held, self._until = held, began + LEASE_SECONDS - MARGIN_SECONDS
        async with self._changed:
            self._changed.notify_all()

    async def keep(self) -> None:
        """Never returns; given up when cancelled."""
        try:
            while True:
                await self.renew()
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            self._held = frozenset()
            await asyncio.to_thread(self._give_up)

    async def run(self, name: str, controllers: Sequence[Controller]) -> None:
        """Run the controllers whenever the lease is held, and only then. Never returns."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.holds(name))
            tasks = [asyncio.create_task(controller.run(), name=controller.name) for controller in controllers]
            try:
                while self.holds(name):
                    await asyncio.sleep(min(1.0, RENEW_SECONDS))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self) -> frozenset[str]:
        with self._one_at_a_time, self._database.transaction() as tx:
            if self._ended:
                return frozenset()
            now = store.database_time(tx, self._clock())
            return store.take(tx, self._names, self._holder, now, now + timedelta(seconds=LEASE_SECONDS))

    def _give_up(self) -> None:
        # a renewal that was under way in its thread must not come after this
        with self._one_at_a_time, self._database.transaction() as tx:
            self._ended = True
            store.give_up(tx, self._names, self._holder)

    def _tell(self, held: frozenset[str]) -> None:
        if taken := held - self._held:
            log.info("%s runs the controllers of %s", self._holder, ", ".join(sorted(taken)))
        if lost := self._held - held:
            log.warning("%s runs no more the controllers of %s", self._holder, ", ".join(sorted(lost)))
