"""What the nodes have for people's pods all together, by the names of quotas. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.capacity import accelerators_of, bytes_of, cores_of, matches
from ltai_hub.domain.catalog import Catalog, Flavor
from ltai_hub.domain.quotas import ACCELERATOR
from ltai_hub.settings import KubernetesSettings

STRICT = ("NoSchedule", "NoExecute")


def kinds_there(nodes: Sequence[Object], catalog: Catalog, settings: KubernetesSettings) -> frozenset[str]:
    """Kinds of accelerators that some node has, ready or not: a node that is started again changes nobody's queue."""
    rows = [row for row in catalog.flavors.values() if row.kubernetes.resource_name]
    return frozenset(row.resources.accelerator for row in rows if any(takes(node, row, settings) and has(node, row) for node in nodes))


def has(node: Object, row: Flavor) -> bool:
    there = node.get("status", {}).get("allocatable", {})
    return all(there.get(name, "0") != "0" for name in (row.kubernetes.resource_name, *row.kubernetes.resources))


def supply_of(nodes: Sequence[Object], catalog: Catalog, settings: KubernetesSettings) -> dict[str, float]:
    """Of nodes that are ready and that at least one flavor's pods may be put on. A card that is of two kinds counts for both."""
    able = [node for node in nodes if is_able(node)]
    rows = list(catalog.flavors.values())
    used = [node for node in able if any(takes(node, row, settings) for row in rows)]
    found: dict[str, float] = {"cpu": sum(map(cores_of, used)), "memory": sum(bytes_of(node, "memory") for node in used)}
    for kind in sorted(catalog.accelerators):
        those = [row for row in rows if row.resources.accelerator == kind and row.kubernetes.resource_name]
        fitting = [node for node in used if any(takes(node, row, settings) and has(node, row) for row in those)]
        if those:
            found[ACCELERATOR + kind] = sum(accelerators_of(fitting, those[0].kubernetes))
    return found


def is_able(node: Object) -> bool:
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and not node.get("spec", {}).get("unschedulable")


def takes(node: Object, row: Flavor, settings: KubernetesSettings) -> bool:
    """Whether pods of the flavor may be put on the node at all."""
    tolerations = [*row.kubernetes.tolerations, *settings.extra_tolerations]
    taints = [taint for taint in node.get("spec", {}).get("taints", []) if taint["effect"] in STRICT]
    fits = matches(node, row.kubernetes.node_selector, row.resources.architecture)
    return fits and all(any(tolerates(one, taint) for one in tolerations) for taint in taints)


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return bool(toleration.get("operator") == "Exists") or toleration.get("value", "") == taint.get("value", "")
