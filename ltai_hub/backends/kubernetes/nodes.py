"""The cluster's machines as an administrator sees them: what each has, what its pods have asked for, whether it takes more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence

from ltai_hub.backends.base import Node
from ltai_hub.backends.kubernetes.api import NODE, POD, Cluster, Object
from ltai_hub.backends.kubernetes.observe import is_gated

# all pods of the cluster are read for it, and a page asks every few seconds
FRESH_SECONDS = 10.0
# what Kubernetes calls it → what we do
NAMES = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "disk"}
ENDED = ("Succeeded", "Failed")
DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
SCALES = DECIMAL | {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}
LETTERS = sorted({*"".join(SCALES)})


class RecentNodes:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reading = asyncio.Lock()
        self._at, self._known = 0.0, list[Node]()

    async def read(self) -> list[Node]:
        """Raises TryLater."""
        async with self._reading:
            if not self._at or time.monotonic() - self._at > FRESH_SECONDS:
                nodes, pods = await asyncio.gather(self._cluster.list(NODE), self._cluster.list(POD))
                self._at, self._known = time.monotonic(), nodes_of(nodes, pods)
            return self._known


def nodes_of(nodes: Sequence[Object], pods: Iterable[Object]) -> list[Node]:
    on: dict[str, list[Object]] = {}
    for pod in pods:
        if pod.get("status", {}).get("phase") not in ENDED and not is_gated(pod):
            on.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
    found = [make_node(node, on.get(node["metadata"]["name"], [])) for node in nodes]
    return sorted(found, key=lambda node: (node.ready and not node.reason, node.name))


def make_node(node: Object, pods: Sequence[Object]) -> Node:
    total = amounts_of(node.get("status", {}).get("allocatable", {}))
    asked = [requests_of(pod) for pod in pods]
    allocated = {name: sum(one.get(name, 0) for one in asked) for name in total}
    ready, reason = standing_of(node)
    return Node(node["metadata"]["name"], ready, total, allocated, reason)


def standing_of(node: Object) -> tuple[bool, str]:
    """Whether it is ready, and why it takes nothing new."""
    conditions = {one["type"]: one for one in node.get("status", {}).get("conditions", [])}
    ready = conditions.get("Ready", {})
    if ready.get("status") != "True":
        return False, str(ready.get("message") or "it has not reported yet")
    return True, "cordoned: no new pods are put on it" if node.get("spec", {}).get("unschedulable") else ""


def requests_of(pod: Object) -> dict[str, float]:
    """As the scheduler counts: all containers together, or the largest init container if that is more."""
    spec = pod["spec"]
    together: dict[str, float] = {}
    for container in spec["containers"]:
        for name, amount in _requested(container).items():
            together[name] = together.get(name, 0) + amount
    for container in spec.get("initContainers", []):
        for name, amount in _requested(container).items():
            together[name] = max(together.get(name, 0), amount)
    return together


def _requested(container: Object) -> dict[str, float]:
    return amounts_of(container.get("resources", {}).get("requests", {}))


def amounts_of(quantities: Mapping[str, str]) -> dict[str, float]:
    """Extended resources have a domain in their name; counts of pods and huge pages are left out."""
    wanted = {name: amount for name, amount in quantities.items() if name in NAMES or "/" in name}
    return {NAMES.get(name, name): number_of(amount) for name, amount in wanted.items()}


def number_of(quantity: str) -> float:
    """ "250m" → 0.25, "2Gi" → bytes, "4" → 4. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/"""
    number = quantity.rstrip("".join(LETTERS))
    return float(number) * SCALES.get(quantity[len(number) :], 1)
