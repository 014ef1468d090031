"""What can never run in a cluster is known before, with numbers."""

from __future__ import annotations

import pytest

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.capacity import lacking
from ltai_hub.catalog import load_catalog
from ltai_hub.domain.catalog import Catalog, Flavor, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Resources
from ltai_hub.paths import shipped
from ltai_hub.settings import KubernetesSettings
from tests.backends.kubernetes.arrange import GIB, a_catalog

SETTINGS = KubernetesSettings(instance="it")


def a_node(
    cards: int = 0, cpu: str = "8", memory: str = "32Gi", arch: str = "amd64", taints: tuple[str, ...] = (), **labels: str
) -> Object:
    return {
        "metadata": {"name": "n", "labels": {"kubernetes.io/arch": arch, **labels}},
        "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": str(cards)} if cards else {})}},
    }


NODES = [a_node(), a_node(4, card="a100"), a_node(2, card="a100"), a_node(8, card="other"), a_node(cpu="1500m", arch="arm64")]


@pytest.mark.parametrize(
    ("resources", "replicas", "reason"),
    [
        (Resources(1, GIB), 1000, ""),
        (Resources(8, 32 * GIB), 1, ""),
        (Resources(9, GIB), 1, "the largest node of this cluster has 8 cores and this needs 9; choose another flavor"),
        (
            Resources(2, GIB, architecture="arm64"),
            1,
            "the largest node for it in this cluster has 1.5 cores and this needs 2; choose another flavor",
        ),
        (Resources(1, GIB, architecture="riscv64"), 1, "this cluster has no riscv64 node; choose another flavor"),
        (
            Resources(1, 33 * GIB),
            1,
            "the largest node of this cluster has 32 GiB of memory and this needs 33 GiB; choose another flavor",
        ),
        (Resources(1, GIB, accelerator="nvidia-vgpu", accelerator_count=4), 1, ""),
        (Resources(1, GIB, accelerator="nvidia-vgpu", accelerator_count=2), 3, ""),
        (
            Resources(1, GIB, accelerator="nvidia-vgpu", accelerator_count=1),
            7,
            "this cluster has 6 × nvidia-vgpu and this needs 7; choose another flavor or fewer instances",
        ),
        (
            Resources(1, GIB, accelerator="mlu", accelerator_count=1),
            1,
            "this cluster has no mlu; it has 6 × nvidia-vgpu; choose another flavor",
        ),
    ],
)
def test_what_can_never_run_is_said(resources: Resources, replicas: int, reason: str) -> None:
    assert lacking(NODES, a_catalog(), SETTINGS, resources, replicas) == reason


def test_more_cards_than_one_node_has_never_fit_into_one_replica() -> None:
    resources = Resources(1, GIB, accelerator="nvidia-vgpu", accelerator_count=5)
    assert "4 × nvidia-vgpu and this needs 5" in lacking(NODES, a_catalog(), SETTINGS, resources, 1)


def test_a_node_whose_taint_keeps_it_away_does_not_count() -> None:
    resources = Resources(1, GIB, accelerator="nvidia-vgpu", accelerator_count=2)
    kept = a_node(4, card="a100", taints=("reserved",))
    assert lacking([a_node(), kept], a_catalog(), SETTINGS, resources, 1) == (
        "this cluster has no nvidia-vgpu; it has no accelerator; choose another flavor"
    )
    for known in ("nvidia.com/gpu", "node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"):
        assert lacking([a_node(4, card="a100", taints=(known,))], a_catalog(), SETTINGS, resources, 1) == ""
    tolerant = KubernetesSettings(extra_tolerations=[{"key": "reserved", "operator": "Exists"}])
    assert lacking([kept], a_catalog(), tolerant, resources, 1) == ""


def test_a_flavor_without_accelerator_goes_by_its_labels_too() -> None:
    wide = Resources(4, GIB)
    row = Flavor("wide", Text("", ""), wide, kubernetes=KubernetesFlavor(node_selector={"pool": "wide"}))
    catalog = Catalog({row.name: row}, {}, {})
    assert lacking([a_node()], catalog, SETTINGS, wide, 1).startswith("this cluster has no node for it: none has the labels")
    small = a_node(cpu="2", pool="wide")
    assert lacking([a_node(), small], catalog, SETTINGS, wide, 1).startswith("the largest node for it in this cluster has 2 cores")
    assert lacking([a_node(), a_node(pool="wide")], catalog, SETTINGS, wide, 1) == ""


def test_what_is_only_pretended_on_one_machine_is_refused_in_a_cluster() -> None:
    """The shipped rows gpu-simulated…: no node has such a card, and no pod could ask for one."""
    catalog = load_catalog(shipped("spawner_profiles"))
    pretended = [row for row in catalog.flavors.values() if row.simulated]
    assert pretended
    for row in pretended:
        said = lacking(NODES, catalog, SETTINGS, row.resources, 1)
        assert said.startswith("this cluster has no simulated-gpu; it has 14 × nvidia-gpu")
