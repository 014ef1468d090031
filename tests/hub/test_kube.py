"""What the hub knows of the cluster without asking each time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ltai_hub.backends.kubernetes.api import Cluster, Object, Objects, Resource
from ltai_hub.errors import TryLater
from ltai_hub.hub.kube import NODES_SECONDS, Kube
from ltai_hub.settings import KubernetesSettings


class OneNodeMore(Cluster):
    """Each time it is asked."""

    def __init__(self) -> None:
        self.asked, self.away = 0, False

    async def list(self, resource: Resource, namespace: str = "", labels: Mapping[str, str] | str = "", cached: bool = True) -> Objects:
        if self.away:
            raise TryLater("the cluster does not answer")
        self.asked += 1
        return [a_node()] * self.asked


class AKube(Kube):
    def __init__(self, cluster: OneNodeMore) -> None:
        super().__init__(KubernetesSettings())
        self.one = cluster

    async def cluster(self) -> Cluster:
        return self.one

    def grow_old(self) -> None:
        at, known = self._nodes
        self._nodes = (at - NODES_SECONDS - 1, known)


def a_node() -> Object:
    return {"metadata": {"name": "n"}}


async def test_a_start_does_not_wait_for_nodes_that_are_known() -> None:
    kube = AKube(OneNodeMore())
    assert len(await kube.nodes()) == 1
    assert len(await kube.nodes(fresh=True)) == 1
    kube.grow_old()
    assert len(await kube.nodes()) == 1
    await asyncio.sleep(0)
    assert len(await kube.nodes()) == 2


async def test_before_something_is_refused_they_are_looked_at_again() -> None:
    kube = AKube(OneNodeMore())
    await kube.nodes()
    kube.grow_old()
    assert len(await kube.nodes(fresh=True)) == 2


async def test_while_the_cluster_is_away_nothing_is_known_of_them() -> None:
    cluster = OneNodeMore()
    kube = AKube(cluster)
    cluster.away = True
    assert await kube.nodes() == []
    cluster.away = False
    assert len(await kube.nodes()) == 1
