"""The pods of one namespace's environments as they are now, kept up to date by one watch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from ltai_hub.backends.kubernetes.api import POD, Cluster, Object
from ltai_hub.units import utc_now

AGAIN_SECONDS = 1.0
# everything is listed again after so long: a watch alone is not trusted to tell of every change
LIST_SECONDS = 300.0
log = logging.getLogger("ltai.pods")


@dataclass(frozen=True)
class Gone:
    """A pod that is there no more, as it was seen last."""

    pod: Object
    at: datetime


class PodWatch:
    """While the API server does not answer, what was known stays known: nobody's server is taken for ended."""

    def __init__(self, cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._labels = labels
        self._pods: dict[str, Object] = {}
        self._gone: dict[str, Gone] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._followers: dict[str, Callable[[], None]] = {}
        self._listed = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"pods of {namespace}")

    async def listed(self) -> PodWatch:
        """Itself, once it knows what there is; that can take as long as the API server is away."""
        await self._listed.wait()
        return self

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._pods)

    def find(self, name: str) -> Object | None:
        return self._pods.get(name)

    def find_gone(self, name: str) -> Gone | None:
        return self._gone.get(name)

    def put(self, pod: Object) -> None:
        """One that was just made, before the watch tells of it."""
        name = pod["metadata"]["name"]
        if name not in self._pods and name not in self._gone:
            self._take(pod)

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

    # ---- the watch

    async def _run(self) -> None:
        while True:
            try:
                await self._list_and_watch()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("watching the pods of %s: %s; trying again", self.namespace, error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _list_and_watch(self) -> None:
        since = await self._list()
        until = time.monotonic() + LIST_SECONDS
        while time.monotonic() < until:
            async for kind, pod in self.cluster.watch(POD, self.namespace, self._labels, since):
                since = pod["metadata"]["resourceVersion"]
                if kind == "DELETED":
                    self._lose(pod)
                elif kind != "BOOKMARK":
                    self._take(pod)

    async def _list(self) -> str:
        selector = ",".join(f"{name}={value}" for name, value in self._labels.items())
        answer = await self.cluster.raw("GET", POD.path(self.namespace), query={"labelSelector": selector})
        found = {pod["metadata"]["name"]: pod for pod in answer["items"]}
        for name in [name for name in self._pods if name not in found]:
            self._lose(self._pods[name])
        for name, pod in found.items():
            if pod["metadata"]["resourceVersion"] != self._version(name):
                self._take(pod)
        self._listed.set()
        return str(answer["metadata"]["resourceVersion"])

    def _version(self, name: str) -> str:
        known = self._pods.get(name)
        return known["metadata"]["resourceVersion"] if known else ""

    def _take(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self._pods[name] = pod
        self._tell(name)

    def _lose(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self._pods.pop(name, None)
        self._gone[name] = Gone(pod, utc_now())
        self._tell(name)

    def _tell(self, name: str) -> None:
        if event := self._changed.pop(name, None):
            event.set()
        if follower := self._followers.get(name):
            follower()
