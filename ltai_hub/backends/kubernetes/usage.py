"""What workloads use now, as the kubelets report it; their numbers are some ten seconds old.

Format: https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ltai_hub.backends.base import State, Use
from ltai_hub.backends.kubernetes.api import NODE, POD, Cluster, Object, Objects
from ltai_hub.backends.kubernetes.names import WORKLOAD
from ltai_hub.backends.kubernetes.observe import is_alive
from ltai_hub.backends.kubernetes.travel import JOBSET_NAME
from ltai_hub.errors import Problem


async def measure(cluster: Cluster, states: Sequence[State]) -> list[Use | None]:
    """Of states of the backend, or of those the hub's spawner keeps: {"namespace", "pod"}."""
    found = await asyncio.gather(*(running_pods(cluster, state) for state in states))
    nodes = {pod["spec"]["nodeName"] for pods in found for pod in pods}
    summaries = await asyncio.gather(*(summary_of(cluster, node) for node in nodes))
    used = {(p["podRef"]["namespace"], p["podRef"]["name"]): p for summary in summaries for p in summary.get("pods", [])}
    return [use_of(pods, used) for pods in found]


async def running_pods(cluster: Cluster, state: State) -> Objects:
    if not state.get("namespace"):
        return []
    if name := state.get("pod"):
        found = await cluster.find(POD, state["namespace"], name)
        pods = [found] if found else []
    else:
        label = WORKLOAD if state.get("port") else JOBSET_NAME
        pods = await cluster.list(POD, state["namespace"], {label: state["name"]})
    return [pod for pod in pods if is_alive(pod) and pod["spec"].get("nodeName")]


async def summary_of(cluster: Cluster, node: str) -> Object:
    try:
        return await cluster.raw("GET", f"{NODE.path(name=node)}/proxy/stats/summary")
    except Problem:  # a node that is lost, or one of a simulation: the others are shown all the same
        return {}


def use_of(pods: Sequence[Object], used: Mapping[tuple[str, str], Object]) -> Use | None:
    """Cores, bytes of working set and of the container's own files, over all replicas; None when none is running."""
    found = [used.get((pod["metadata"]["namespace"], pod["metadata"]["name"]), {}) for pod in pods]
    if not found:
        return None
    return Use(
        cpu=sum(stats.get("cpu", {}).get("usageNanoCores", 0) for stats in found) / 1e9,
        memory=sum(stats.get("memory", {}).get("workingSetBytes", 0) for stats in found),
        disk=sum(stats.get("ephemeral-storage", {}).get("usedBytes", 0) for stats in found),
    )
