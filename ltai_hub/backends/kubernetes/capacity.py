"""How large the cluster is. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltai_hub.backends.base import explain_lack
from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.domain.catalog import Catalog, KubernetesFlavor
from ltai_hub.domain.workloads import Resources
from ltai_hub.units import format_bytes, parse_bytes


def flavor_of_kind(catalog: Catalog, kind: str) -> KubernetesFlavor | None:
    """All rows of one kind of accelerator ask for the same resource on the same nodes."""
    rows = [row for row in catalog.flavors.values() if kind and row.resources.accelerator == kind and row.kubernetes.resource_name]
    return rows[0].kubernetes if rows else None


def lacking(nodes: Sequence[Object], catalog: Catalog, resources: Resources, replicas: int) -> str:
    """ "" when the cluster could run it once everything else has ended, else why it never can."""
    flavor = flavor_of_kind(catalog, resources.accelerator)
    fitting = [node for node in nodes if matches(node, flavor.node_selector if flavor else {}, resources.architecture)]
    if resources.accelerator_count:
        there, wanted = accelerators_of(fitting, flavor), resources.accelerator_count
        largest = max(there, default=0)
        # all replicas together, unless one alone is too much for every node
        asked, counted = (wanted, largest) if wanted > largest else (wanted * replicas, sum(there))
        if asked > counted:
            return explain_lack(resources.accelerator, asked, counted, kinds_there(nodes, catalog), where="cluster")
    if not fitting:
        return f"this cluster has no {resources.architecture} node; choose another flavor"
    cpu, memory = max(cores_of(node) for node in fitting), max(bytes_of(node, "memory") for node in fitting)
    if resources.cpu > cpu:
        return f"the largest node of this cluster has {cpu:g} cores and this needs {resources.cpu:g}; choose another flavor"
    if resources.memory > memory:
        return (
            f"the largest node of this cluster has {format_bytes(memory)} of memory and this needs {format_bytes(resources.memory)}; "
            "choose another flavor"
        )
    return ""


def matches(node: Object, selector: Mapping[str, str], architecture: str) -> bool:
    labels = node["metadata"].get("labels", {})
    wanted = {**selector, **({"kubernetes.io/arch": architecture} if architecture else {})}
    return all(labels.get(name) == value for name, value in wanted.items())


def accelerators_of(nodes: Sequence[Object], flavor: KubernetesFlavor | None) -> list[int]:
    return [int(_allocatable(node, flavor.resource_name)) for node in nodes] if flavor else []


def kinds_there(nodes: Sequence[Object], catalog: Catalog) -> dict[str, int]:
    found = {}
    for kind in {row.resources.accelerator for row in catalog.flavors.values()}:
        flavor = flavor_of_kind(catalog, kind)
        count = sum(accelerators_of([n for n in nodes if flavor and matches(n, flavor.node_selector, "")], flavor))
        if count:
            found[kind] = count
    return found


def cores_of(node: Object) -> float:
    amount = _allocatable(node, "cpu")
    return int(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def bytes_of(node: Object, resource: str) -> int:
    return parse_bytes(_allocatable(node, resource))


def _allocatable(node: Object, resource: str) -> str:
    return str(node.get("status", {}).get("allocatable", {}).get(resource, "0"))
