"""What can never run in a cluster is known before, with numbers."""

from __future__ import annotations

import pytest

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.capacity import lacking
from ltai_hub.domain.workloads import Resources
from tests.backends.kubernetes.arrange import GIB, a_catalog


def a_node(cards: int = 0, cpu: str = "8", memory: str = "32Gi", arch: str = "amd64", **labels: str) -> Object:
    return {
        "metadata": {"name": "n", "labels": {"kubernetes.io/arch": arch, **labels}},
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
            "the largest node of this cluster has 1.5 cores and this needs 2; choose another flavor",
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
    assert lacking(NODES, a_catalog(), resources, replicas) == reason


def test_more_cards_than_one_node_has_never_fit_into_one_replica() -> None:
    resources = Resources(1, GIB, accelerator="nvidia-vgpu", accelerator_count=5)
    assert "4 × nvidia-vgpu and this needs 5" in lacking(NODES, a_catalog(), resources, 1)
