"""The hub's one connection to the cluster: pods by namespace, the queue, the nodes."""

from __future__ import annotations

import asyncio
import math
import time
from functools import lru_cache

from ltai_hub.backends.kubernetes.api import EVENT, NODE, Cluster, Object, Objects
from ltai_hub.backends.kubernetes.names import INSTANCE, KIND
from ltai_hub.backends.kubernetes.queue import Queue
from ltai_hub.domain.workloads import Kind
from ltai_hub.errors import Problem
from ltai_hub.hub.podwatch import PodWatch
from ltai_hub.settings import KubernetesSettings

NODES_SECONDS = 15.0


class Kube:
    def __init__(self, settings: KubernetesSettings) -> None:
        self.settings = settings
        self._connecting = asyncio.Lock()
        self._cluster: Cluster | None = None
        self._queue: Queue | None = None
        self._watches: dict[str, PodWatch] = {}
        self._nodes: tuple[float, Objects] = (-math.inf, [])
        self._looking: asyncio.Task[None] | None = None

    async def cluster(self) -> Cluster:
        """Raises TryLater."""
        async with self._connecting:
            if self._cluster is None:
                self._cluster = await Cluster.connect()
            return self._cluster

    async def pods(self, namespace: str) -> PodWatch:
        """Watched from the first question on. Raises TryLater."""
        cluster = await self.cluster()
        if namespace not in self._watches:
            ours = {INSTANCE: self.settings.instance, KIND: Kind.ENVIRONMENT.value}
            self._watches[namespace] = PodWatch(cluster, namespace, ours)
        return await self._watches[namespace].listed()

    @property
    def watches(self) -> list[PodWatch]:
        return list(self._watches.values())

    async def queue(self) -> Queue:
        if self._queue is None:
            self._queue = Queue(await self.cluster())
        return self._queue

    async def nodes(self, fresh: bool = False) -> Objects:
        """As they were when they were last asked for, unless they must be ``fresh``: who starts something does not wait for what
        seldom changes. Empty when the hub may not look at them."""
        at, known = self._nodes
        if time.monotonic() - at <= NODES_SECONDS:
            return known
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_at_nodes(), name="nodes")
        if fresh or not known:
            await asyncio.shield(self._looking)
        return self._nodes[1]

    async def _look_at_nodes(self) -> None:
        try:
            self._nodes = (time.monotonic(), await (await self.cluster()).list(NODE))
        except Problem:
            self._nodes = (-math.inf, [])

    async def events(self, namespace: str, field: str, value: str) -> Objects:
        """Of what has ``field`` = ``value``, oldest first; none when they cannot be had."""
        try:
            cluster = await self.cluster()
            answer = await cluster.raw("GET", EVENT.path(namespace), query={"fieldSelector": f"{field}={value}"})
        except Problem:
            return []
        found: Objects = answer.get("items", [])
        return sorted(found, key=event_time)


def event_time(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


@lru_cache(maxsize=1)
def kube() -> Kube:
    return Kube(KubernetesSettings())
