"""What the nodes have for people's pods all together, by the names of quotas. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.capacity import accelerators_of, bytes_of, cores_of, has_any, nodes_for, takes
from ltai_hub.domain.catalog import Catalog, Flavor
from ltai_hub.domain.quotas import ACCELERATOR
from ltai_hub.settings import KubernetesSettings


def kinds_there(nodes: Sequence[Object], catalog: Catalog, settings: KubernetesSettings) -> frozenset[str]:
    """Kinds of accelerators that some node has, ready or not: a node that is started again changes nobody's queue."""
    rows = [row for row in catalog.flavors.values() if row.kubernetes.resource_name]
    return frozenset(row.resources.accelerator for row in rows if with_it(nodes_for(nodes, row, settings), row))


def with_it(nodes: Sequence[Object], row: Flavor) -> list[Object]:
    """Nodes whose device plug-in has reported the row's resource. What comes with it (shares of memory) not every plug-in reports."""
    return [node for node in nodes if has_any(node, row.kubernetes.resource_name)]


def supply_of(nodes: Sequence[Object], catalog: Catalog, settings: KubernetesSettings) -> dict[str, float]:
    """Of nodes that are ready and that at least one flavor's pods may be put on. A card that is of two kinds counts for both."""
    rows = list(catalog.flavors.values())
    able = [node for node in nodes if is_able(node)]
    used = [node for node in able if any(takes(node, row.kubernetes, row.resources.architecture, settings) for row in rows)]
    found: dict[str, float] = {"cpu": sum(map(cores_of, used)), "memory": sum(bytes_of(node, "memory") for node in used)}
    for kind in sorted(catalog.accelerators):
        those = [row for row in rows if row.resources.accelerator == kind and row.kubernetes.resource_name]
        fitting = [node for node in used if any(nodes_for([node], row, settings) for row in those)]
        if those:
            found[ACCELERATOR + kind] = sum(accelerators_of(fitting, [those[0].kubernetes]))
    return found


def is_able(node: Object) -> bool:
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and not node.get("spec", {}).get("unschedulable")
