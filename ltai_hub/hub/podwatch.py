"""The pods of one namespace's environments as they are now, kept up to date by one watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from ltai_hub.backends.kubernetes.api import POD, Cluster, Object
from ltai_hub.backends.kubernetes.watch import Watch
from ltai_hub.units import utc_now


@dataclass(frozen=True)
class Gone:
    """A pod that is there no more, as it was seen last."""

    pod: Object
    at: datetime


class PodWatch(Watch):
    """While the API server does not answer, what was known stays known: nobody's server is taken for ended."""

    list_seconds = 300.0

    def __init__(self, cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> None:
        super().__init__(cluster, POD, namespace, labels)
        self.cluster = cluster
        self.namespace = namespace
        self._gone: dict[str, Gone] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._followers: dict[str, Callable[[], None]] = {}

    async def listed(self) -> PodWatch:
        """Itself, once it knows what there is; that can take as long as the API server is away."""
        await self._listed.wait()
        return self

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.objects)

    def find(self, name: str) -> Object | None:
        return self.objects.get(name)

    def find_gone(self, name: str) -> Gone | None:
        return self._gone.get(name)

    def forget(self, name: str) -> None:
        self._gone.pop(name, None)
        self._followers.pop(name, None)
        self._changed.pop(name, None)

    def follow(self, name: str, tell: Callable[[], None]) -> None:
        """``tell`` is called at every change of that pod, its end included."""
        self._followers[name] = tell

    async def change(self, name: str, seconds: float) -> bool:
        """Waits for the next change of that pod; False when there was none in that time."""
        event = self._changed.setdefault(name, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
                return True
        return False

    # ---- what the watch tells

    def slim(self, found: Object) -> Object:
        """All of it: variables and images are asked for too."""
        return found

    def take(self, found: Object) -> None:
        super().take(found)
        self._tell(found["metadata"]["name"])

    def lose(self, found: Object) -> None:
        super().lose(found)
        name = found["metadata"]["name"]
        self._gone[name] = Gone(found, utc_now())
        self._tell(name)

    def _tell(self, name: str) -> None:
        if event := self._changed.pop(name, None):
            event.set()
        if follower := self._followers.get(name):
            follower()
