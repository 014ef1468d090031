"""Which nodes take pods of a flavor, and how large the cluster is for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ltai_hub.backends.base import explain_lack
from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.domain.catalog import Catalog, Flavor, KubernetesFlavor
from ltai_hub.domain.workloads import Resources
from ltai_hub.settings import KubernetesSettings
from ltai_hub.units import format_bytes, parse_bytes

STRICT = ("NoSchedule", "NoExecute")
# what the cluster taints nodes with for a while: not ready, cordoned, short of memory
PASSING = "node.kubernetes.io/"


def lacking(nodes: Sequence[Object], catalog: Catalog, settings: KubernetesSettings, resources: Resources, replicas: int) -> str:
    """ "" when the cluster could run it once everything else has ended, else why it never can."""
    flavors = flavors_of(catalog, resources)
    fitting = [node for node in nodes if any(takes(node, flavor, resources.architecture, settings) for flavor in flavors)]
    if resources.accelerator_count:
        there, wanted = accelerators_of(fitting, flavors), resources.accelerator_count
        largest = max(there, default=0)
        # all replicas together, unless one alone is too much for every node
        asked, counted = (wanted, largest) if wanted > largest else (wanted * replicas, sum(there))
        if asked > counted:
            return explain_lack(resources.accelerator, asked, counted, count_kinds(nodes, catalog, settings), where="cluster")
    if not fitting:
        return _no_node(nodes, resources)
    cpu, memory = max(cores_of(node) for node in fitting), max(bytes_of(node, "memory") for node in fitting)
    where = "node of this cluster" if len(fitting) == len(nodes) else "node for it in this cluster"
    if resources.cpu > cpu:
        return f"the largest {where} has {cpu:g} cores and this needs {resources.cpu:g}; choose another flavor"
    if resources.memory > memory:
        has, needs = format_bytes(memory), format_bytes(resources.memory)
        return f"the largest {where} has {has} of memory and this needs {needs}; choose another flavor"
    return ""


def _no_node(nodes: Sequence[Object], resources: Resources) -> str:
    if resources.architecture and not any(matches(node, {}, resources.architecture) for node in nodes):
        return f"this cluster has no {resources.architecture} node; choose another flavor"
    return "this cluster has no node for it: none has the labels its flavor asks for and no taint that keeps it away; choose another flavor"


def flavors_of(catalog: Catalog, resources: Resources) -> list[KubernetesFlavor]:
    """What its pods ask for: of rows with just these amounts, else of its kind of accelerator."""
    rows = [row for row in catalog.flavors.values() if row.resources == resources] or [
        row for row in catalog.flavors.values() if resources.accelerator and row.resources.accelerator == resources.accelerator
    ]
    return [row.kubernetes for row in rows if row.kubernetes.resource_name or not resources.accelerator_count] or [KubernetesFlavor()]


def takes(node: Object, flavor: KubernetesFlavor, architecture: str, settings: KubernetesSettings) -> bool:
    """Whether pods of the flavor may be put on the node, now or when it is well again."""
    tolerations = [*flavor.tolerations, *settings.extra_tolerations]
    taints = [
        taint for taint in node.get("spec", {}).get("taints", []) if taint["effect"] in STRICT and not taint["key"].startswith(PASSING)
    ]
    fits = matches(node, flavor.node_selector, architecture)
    return fits and all(any(tolerates(one, taint) for one in tolerations) for taint in taints)


def matches(node: Object, selector: Mapping[str, str], architecture: str) -> bool:
    labels = node["metadata"].get("labels", {})
    wanted = {**selector, **({"kubernetes.io/arch": architecture} if architecture else {})}
    return all(labels.get(name) == value for name, value in wanted.items())


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return bool(toleration.get("operator") == "Exists") or toleration.get("value", "") == taint.get("value", "")


def accelerators_of(nodes: Sequence[Object], flavors: Sequence[KubernetesFlavor]) -> list[int]:
    """Of each node; rows of one kind ask for the same resource."""
    name = flavors[0].resource_name
    return [int(_allocatable(node, name)) for node in nodes] if name else []


def count_kinds(nodes: Sequence[Object], catalog: Catalog, settings: KubernetesSettings) -> dict[str, int]:
    """Kind of accelerator → how many of it there are, of those that are there."""
    rows = {row.resources.accelerator: row for row in catalog.flavors.values() if row.kubernetes.resource_name}
    found = {kind: sum(accelerators_of(nodes_for(nodes, row, settings), [row.kubernetes])) for kind, row in rows.items()}
    return {kind: count for kind, count in found.items() if count}


def nodes_for(nodes: Sequence[Object], row: Flavor, settings: KubernetesSettings) -> list[Object]:
    return [node for node in nodes if takes(node, row.kubernetes, row.resources.architecture, settings)]


def cores_of(node: Object) -> float:
    amount = _allocatable(node, "cpu")
    return int(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def bytes_of(node: Object, resource: str) -> int:
    return parse_bytes(_allocatable(node, resource))


def has_any(node: Object, resource: str) -> bool:
    return _allocatable(node, resource) != "0"


def _allocatable(node: Object, resource: str) -> str:
    return str(node.get("status", {}).get("allocatable", {}).get(resource, "0"))
