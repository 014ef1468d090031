"""What an administrator sees of the cluster's machines."""

from __future__ import annotations

import pytest

from ltai_hub.backends.base import Node
from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.nodes import nodes_of, number_of

MIB = 1 << 20


def a_node(name: str, ready: str = "True", unschedulable: bool = False) -> Object:
    amounts = {"cpu": "3920m", "memory": "8Gi", "ephemeral-storage": "100000", "nvidia.com/gpu": "4", "pods": "110", "hugepages-2Mi": "0"}
    condition = {"type": "Ready", "status": ready, "message": "Kubelet stopped posting node status."}
    spec = {"unschedulable": True} if unschedulable else {}
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": amounts, "conditions": [condition]}}


def a_pod(node: str = "", phase: str = "Running", init: Object | None = None, gpus: str = "", **requests: str) -> Object:
    requests |= {"nvidia.com/gpu": gpus} if gpus else {}
    spec: Object = {"containers": [{"name": "main", "resources": {"requests": requests}}, {"name": "side"}], "nodeName": node}
    if init:
        spec["initContainers"] = [{"name": "copy", "resources": {"requests": init}}]
    return {"metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}}


def test_what_pods_asked_for_is_counted_as_the_scheduler_does() -> None:
    pods = [
        a_pod("a", cpu="250m", memory="64Mi", gpus="2"),
        a_pod("a", phase="Pending", cpu="1", memory="64Mi", init={"cpu": "500m", "memory": "1Gi"}),
        a_pod("a", phase="Succeeded", cpu="2"),
        a_pod("", phase="Pending", cpu="2"),
        a_pod("b", cpu="2"),
    ]
    node = nodes_of([a_node("a")], pods)[0]
    assert node.total == {"cpu": 3.92, "memory": 8 << 30, "disk": 100_000, "nvidia.com/gpu": 4}
    assert node.allocated == {"cpu": 1.25, "memory": 1088 * MIB, "disk": 0, "nvidia.com/gpu": 2}


def test_machines_that_take_nothing_come_first_and_say_why() -> None:
    seen = nodes_of([a_node("a"), a_node("lost", ready="Unknown"), a_node("closed", unschedulable=True)], [])
    assert [(node.name, node.ready, node.reason) for node in seen] == [
        ("closed", True, "cordoned: no new pods are put on it"),
        ("lost", False, "Kubelet stopped posting node status."),
        ("a", True, ""),
    ]


def test_a_machine_that_has_reported_nothing_is_shown() -> None:
    assert nodes_of([{"metadata": {"name": "new"}}], []) == [Node("new", False, {}, {}, "it has not reported yet")]


@pytest.mark.parametrize(
    ("quantity", "number"), [("4", 4), ("250m", 0.25), ("2Gi", 2 << 30), ("1k", 1000), ("1Ti", 1 << 40), ("1e3", 1000), ("1500M", 1.5e9)]
)
def test_quantities_are_read_as_kubernetes_writes_them(quantity: str, number: float) -> None:
    assert number_of(quantity) == number
