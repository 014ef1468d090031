"""Objects of the cluster kept in memory: listed once, then kept up to date by a watch.

Looking at thousands of jobs twice a second then costs the API server nothing but their changes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping

from ltai_hub.backends.kubernetes.api import DEPLOYMENT, JOBSET, NODE, PAGE, POD, WORKLOAD, Cluster, Object, Resource, selecting
from ltai_hub.errors import Problem, TryLater

log = logging.getLogger("ltai.kubernetes")

AGAIN_SECONDS = 1.0
FIRST_SECONDS = 10.0
# a namespace nobody asked about for so long is watched no more
IDLE_SECONDS = 300.0


class Watch:
    """One kind of object in one namespace, by name. While the cluster does not answer it shows what was seen last."""

    # everything is listed again after so long, where a watch alone is not trusted to tell of every change
    list_seconds = math.inf

    def __init__(self, cluster: Cluster, resource: Resource, namespace: str, labels: Mapping[str, str]) -> None:
        self.objects: dict[str, Object] = {}
        self.asked = time.monotonic()
        self._cluster, self._resource, self._namespace, self._labels = cluster, resource, namespace, labels
        self._listed = asyncio.Event()
        # as new as what is known
        self._version = 0
        self._task = asyncio.get_running_loop().create_task(self._loop(), name=f"watch {resource.plural} in {namespace}")

    async def ready(self) -> None:
        """Until they have been listed once. Raises TryLater."""
        self.asked = time.monotonic()
        if self._listed.is_set():
            return
        try:
            await asyncio.wait_for(self._listed.wait(), FIRST_SECONDS)
        except TimeoutError as error:
            raise TryLater(f"the cluster does not say what {self._resource.plural} there are in {self._namespace}") from error

    def note(self, made: Object) -> None:
        """What this process has just made, unless the watch has come so far already."""
        if self._listed.is_set() and int(made["metadata"]["resourceVersion"]) > self._version:
            # who made it reads on in the whole of it
            self.take(self.slim({**made, "metadata": {**made["metadata"]}, "spec": {**made["spec"]}}))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            try:
                version = await self._list()
                until = time.monotonic() + self.list_seconds
                while time.monotonic() < until:
                    version = await self._follow(version)
                continue
            except Problem as problem:  # it does not answer, or the version is too old: all are listed again
                log.info("%s in %s are listed again: %s", self._resource.plural, self._namespace, problem)
            except Exception:
                log.exception("the watch of %s in %s begins again", self._resource.plural, self._namespace)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _list(self) -> str:
        """In pages: thousands at once take the API server longer than a request may."""
        found: dict[str, Object] = {}
        more = ""
        while True:
            query = {**selecting(self._labels), "limit": str(PAGE), "continue": more}
            page = await self._cluster.raw("GET", self._resource.path(self._namespace), query=query)
            found |= {one["metadata"]["name"]: self.slim(one) for one in page.get("items", [])}
            more = page["metadata"].get("continue", "")
            if not more:
                break
        version = int(page["metadata"]["resourceVersion"])
        # what was noted while the list was on its way is newer than the list
        for lost in [one for name, one in self.objects.items() if name not in found and int(one["metadata"]["resourceVersion"]) <= version]:
            self.lose(lost)
        for one in found.values():
            known = self.objects.get(one["metadata"]["name"])
            if known is None or known["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]:
                self.take(one)
        self._listed.set()
        self._version = version
        return str(version)

    async def _follow(self, version: str) -> str:
        """Until the API server ends it; the version to go on from."""
        async for change, found in self._cluster.watch(self._resource, self._namespace, self._labels, version):
            version = str(found["metadata"]["resourceVersion"])
            self._version = int(version)
            if change == "DELETED":
                self.lose(found)
            elif change != "BOOKMARK":
                self.take(self.slim(found))
        return version

    # ---- what is kept

    def slim(self, found: Object) -> Object:
        return SLIM.get(self._resource, slim)(found)

    def take(self, found: Object) -> None:
        """It is there, or another one now."""
        self.objects[found["metadata"]["name"]] = found

    def lose(self, found: Object) -> None:
        """It is there no more; ``found`` as it was seen last."""
        self.objects.pop(found["metadata"]["name"], None)


class Watches:
    """All that this process keeps an eye on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._watches: dict[tuple[Resource, str], Watch] = {}

    async def objects(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> Mapping[str, Object]:
        """By name; ``labels`` the same for one kind at every call. Raises TryLater when the cluster never answered."""
        await self._drop_idle()
        key = (resource, namespace)
        if key not in self._watches:
            self._watches[key] = Watch(self._cluster, resource, namespace, labels)
        watch = self._watches[key]
        await watch.ready()
        return watch.objects

    def note(self, resource: Resource, made: Object) -> None:
        """It was just made, and the watch may not have told yet."""
        if watch := self._watches.get((resource, made["metadata"]["namespace"])):
            watch.note(made)

    def drop(self, resource: Resource, namespace: str, name: str) -> None:
        """It was just removed, and the watch may not have told yet."""
        if watch := self._watches.get((resource, namespace)):
            watch.objects.pop(name, None)

    async def close(self) -> None:
        watches = list(self._watches.values())
        self._watches.clear()
        await asyncio.gather(*(watch.close() for watch in watches))

    async def _drop_idle(self) -> None:
        limit = time.monotonic() - IDLE_SECONDS
        idle = [key for key, watch in self._watches.items() if watch.asked < limit]
        await asyncio.gather(*(self._watches.pop(key).close() for key in idle))


def slim(found: Object) -> Object:
    """Who set which field is half of an object, and never asked for."""
    found["metadata"].pop("managedFields", None)
    return found


def slim_jobset(found: Object) -> Object:
    found["spec"].pop("replicatedJobs", None)
    return slim(found)


def slim_deployment(found: Object) -> Object:
    found["spec"].pop("template", None)
    return slim(found)


def slim_workload(found: Object) -> Object:
    found["spec"].pop("podSets", None)
    return slim(found)


def slim_pod(found: Object) -> Object:
    """Where it runs, what waits, and the limits of its containers; not their programs, variables and volumes."""
    spec = found["spec"]
    kept = {name: spec[name] for name in ("nodeName", "schedulingGates") if name in spec}
    containers = [{"name": one["name"], "resources": one.get("resources", {})} for one in spec["containers"]]
    found["spec"] = {**kept, "containers": containers}
    return slim(found)


def slim_node(found: Object) -> Object:
    found["status"].pop("images", None)
    return slim(found)


SLIM: Mapping[Resource, Callable[[Object], Object]] = {
    JOBSET: slim_jobset,
    DEPLOYMENT: slim_deployment,
    WORKLOAD: slim_workload,
    POD: slim_pod,
    NODE: slim_node,
}
