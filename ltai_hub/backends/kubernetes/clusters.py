"""The other clusters jobs may run in: connections, what they tell, and the tenants in them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import JOBSET, NODE, Cluster, Object, Resource
from ltai_hub.backends.kubernetes.mirror import look, mirror, mirror_far
from ltai_hub.backends.kubernetes.multikueue import Others
from ltai_hub.backends.kubernetes.names import INSTANCE, cluster_name
from ltai_hub.backends.kubernetes.spread import FINALIZER
from ltai_hub.backends.kubernetes.times import moment
from ltai_hub.backends.kubernetes.watch import Watches
from ltai_hub.domain.catalog import Catalog
from ltai_hub.errors import Problem, TryLater
from ltai_hub.settings import KubernetesSettings
from ltai_hub.units import utc_now

T = TypeVar("T")
log = logging.getLogger("ltai.kubernetes")

# one that does not answer holds up nobody, and is asked again after a while
PEEK_SECONDS, AGAIN_SECONDS = 2.0, 10.0
MIRROR_SECONDS = 8.0
# what is still held so long after it was to go is held by mistake: its job has moved on
HELD = timedelta(seconds=120)
TRIES = 3


@dataclass
class Other:
    """One of the other clusters. ``nodes`` as they were seen last, for a cluster that is away is none the smaller."""

    name: str
    kubeconfig: Path
    cluster: Cluster | None = None
    watches: Watches | None = None
    nodes: Sequence[Object] = ()
    not_before: float = 0.0
    stamp: int = 0
    connecting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def connect(self) -> Cluster:
        """Anew when the kubeconfig is another one. Raises TryLater."""
        async with self.connecting:
            stamp = stamp_of(self.kubeconfig)
            if self.cluster is None or stamp != self.stamp:
                await self.close()
                self.cluster = await Cluster.connect(str(self.kubeconfig))
                self.watches, self.stamp = Watches(self.cluster), stamp
            return self.cluster

    async def close(self) -> None:
        if self.watches is not None:
            await self.watches.close()
        if self.cluster is not None:
            await self.cluster.close()


class Clusters:
    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._others = {name: Other(name, Path(path)) for name, path in settings.clusters.items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._others)

    def named(self, kueue_name: str) -> str:
        """As people know it; Kueue's own name of one that is no longer in the settings."""
        return next((name for name in self._others if cluster_name(self._settings.instance, name) == kueue_name), kueue_name)

    def cluster(self, name: str) -> Cluster | None:
        other = self._others.get(name)
        return other.cluster if other else None

    async def close(self) -> None:
        await asyncio.gather(*(other.close() for other in self._others.values()))

    async def objects(self, name: str, resource: Resource, namespace: str) -> Mapping[str, Object] | None:
        """Ours of that kind by name; None when the cluster does not tell."""
        other = self._others.get(name)
        if other is None or time.monotonic() < other.not_before:
            return None
        labels = {} if resource is NODE else {INSTANCE: self._settings.instance}
        try:
            async with asyncio.timeout(PEEK_SECONDS):
                await other.connect()
                assert other.watches is not None
                return await other.watches.objects(resource, namespace, labels)
        except (Problem, TimeoutError) as problem:
            log.info("cluster %s does not tell its %s: %s", name, resource.plural, problem)
            other.not_before = time.monotonic() + AGAIN_SECONDS
            return None

    async def nodes(self) -> list[Sequence[Object]]:
        """Of each of the others that was ever seen."""
        told = await asyncio.gather(*(self.objects(name, NODE, "") for name in self._others))
        for other, nodes in zip(self._others.values(), told, strict=True):
            if nodes is not None:
                other.nodes = list(nodes.values())
        return [other.nodes for other in self._others.values() if other.nodes]

    # ---- tenants

    async def mirror(self, home: Cluster, catalog: Catalog, shares: Sequence[TenantShare]) -> dict[str, str]:
        """Of the seam's ``mirror``. What is wrong with another cluster concerns all."""
        told = await asyncio.gather(*(self._mirror_to(other, home, catalog, shares) for other in self._others.values()))
        troubles = await mirror(home, self._settings, catalog, shares, await self._all())
        tenants = {share.tenant for share in shares}
        general = [troubles.get("", ""), *(f"{what}: {why}" for what, why in troubles.items() if what and what not in tenants), *told]
        said = "; ".join(one for one in general if one)
        return {**({"": said} if said else {}), **{tenant: why for tenant, why in troubles.items() if tenant in tenants}}

    async def _all(self) -> Others:
        texts = await asyncio.gather(*(asyncio.to_thread(read_kubeconfig, other.kubeconfig) for other in self._others.values()))
        nodes = [node for other in self._others.values() for node in other.nodes]
        return Others(dict(zip(self._others, texts, strict=True)), nodes)

    async def _mirror_to(self, other: Other, home: Cluster, catalog: Catalog, shares: Sequence[TenantShare]) -> str:
        """Why the cluster is not in line; "" when it is."""
        try:
            cluster = await in_time(other.connect())
            found = await in_time(look(cluster, self._settings, shares, home))
            other.nodes = found.nodes
            troubles = await mirror_far(cluster, self._settings, catalog, shares, found)
            await self._let_go(cluster)
        except Problem as problem:
            return f"cluster {other.name}: {problem.message}"
        first = next(iter(troubles.values()), "")
        return f"cluster {other.name}: {first}" if first else ""

    async def _let_go(self, cluster: Cluster) -> None:
        """Of jobs that were in a cluster when it was lost, and that nobody looks at any more. One that runs is to end now."""
        limit = utc_now() - HELD
        for jobset in await cluster.list(JOBSET, labels={INSTANCE: self._settings.instance}):
            metadata = jobset["metadata"]
            going = moment(metadata.get("deletionTimestamp"))
            has_ended = bool(jobset.get("status", {}).get("terminalState"))
            if going is not None and (going < limit or not has_ended) and FINALIZER in metadata.get("finalizers", []):
                await release(cluster, jobset)


async def in_time(doing: Awaitable[T]) -> T:
    """Raises TryLater."""
    try:
        async with asyncio.timeout(MIRROR_SECONDS):
            return await doing
    except TimeoutError as error:
        raise TryLater("it does not answer") from error


async def hold(cluster: Cluster, jobset: Object) -> None:
    """It is not removed before ``release``."""
    await _finalize(cluster, jobset, [*jobset["metadata"].get("finalizers", []), FINALIZER])


async def release(cluster: Cluster, jobset: Object) -> None:
    """As it is now, not as it was seen: nobody looks at it again. Raises TryLater when it changes each time."""
    metadata = jobset["metadata"]
    for attempt in range(1, TRIES + 1):
        found = await cluster.find(JOBSET, metadata["namespace"], metadata["name"])
        finalizers = found["metadata"].get("finalizers", []) if found else []
        if found is None or FINALIZER not in finalizers:
            return
        try:
            return await _finalize(cluster, found, [one for one in finalizers if one != FINALIZER])
        except TryLater:
            if attempt == TRIES:
                raise


async def _finalize(cluster: Cluster, jobset: Object, finalizers: list[str]) -> None:
    metadata = jobset["metadata"]
    change = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
    await cluster.patch(JOBSET, metadata["namespace"], metadata["name"], change)


def stamp_of(path: Path) -> int:
    """When it was written; raises TryLater when it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise TryLater(f"its kubeconfig cannot be read: {error.strerror}") from error


def read_kubeconfig(path: Path) -> bytes:
    """Empty when it cannot be read: Kueue keeps the one it has."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
