"""Nodes without machines, as KWOK plays them: each with the labels, taints and cards that a vendor's tools give a real one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from ltai_hub.backends.kubernetes.names import INSTANCE
from tests.kubernetes.places import kubectl

# pods of others stay away from them, and ours go there only because they tolerate it
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
NEEDS = "needs KWOK, which plays nodes with the annotation kwok.x-k8s.io/node=fake"
SECONDS = 20
# else a job's pod ends by itself after some seconds, and with the first of them alone too: KWOK takes the shorter
FOR_EVER = {f"pod-complete.stage.kwok.x-k8s.io/{what}": "24h" for what in ("delay", "jitter-delay")}


@dataclass(frozen=True)
class Machine:
    cards: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[str] = ()
    arch: str = "amd64"


def make_node(instance: str, name: str, machine: Machine) -> dict[str, Any]:
    labels = {"type": "kwok", "kubernetes.io/arch": machine.arch, "kubernetes.io/hostname": name, INSTANCE: instance, **machine.labels}
    taints = [TAINT, *({"key": key, "value": "present", "effect": "NoSchedule"} for key in machine.taints)]
    amounts = {"cpu": "64", "memory": "512Gi", "pods": "110", "ephemeral-storage": "1Ti", **{k: str(n) for k, n in machine.cards.items()}}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": taints},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


@contextmanager
def simulated_nodes(instance: str, machines: Mapping[str, Machine]) -> Iterator[None]:
    """``{instance}-{name}``; skipped where nobody plays them."""
    items = [make_node(instance, f"{instance}-{name}", machine) for name, machine in machines.items()]
    ours = f"type=kwok,{INSTANCE}={instance}"
    try:
        kubectl("apply", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        if not all_ready(ours, len(items)):
            assert not os.environ.get("CI"), NEEDS
            pytest.skip(NEEDS)
        yield
    finally:
        kubectl("delete", "nodes", "-l", ours, "--wait=false", check=False)


def all_ready(selector: str, count: int) -> bool:
    path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
    until = time.monotonic() + SECONDS
    while kubectl("get", "nodes", "-l", selector, "-o", f"jsonpath={path}").split() != ["True"] * count:
        if time.monotonic() > until:
            return False
        time.sleep(0.3)
    return True


@contextmanager
def runtime_classes(instance: str, names: Sequence[str]) -> Iterator[None]:
    """Those that are not there are made, for pods that no runtime will ever start."""
    there = set(kubectl("get", "runtimeclasses", "-o", "name").split())
    missing = [name for name in names if f"runtimeclass.node.k8s.io/{name}" not in there]
    items = [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": name, "labels": {INSTANCE: instance}},
            "handler": name,
        }
        for name in missing
    ]
    kubectl("apply", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        yield
    finally:
        for name in missing:
            kubectl("delete", "runtimeclass", name, "--ignore-not-found", check=False)


@contextmanager
def a_home_for_any_node(instance: str, namespace: str, claim: str) -> Iterator[None]:
    """No provisioner brings a volume to a node without a machine."""
    volume = f"{instance}-{claim}"
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    reference = {"namespace": namespace, "name": claim}
    items = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume, "labels": {INSTANCE: instance}},
            "spec": {**spec, "claimRef": reference, "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace, "labels": {INSTANCE: instance}},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    ]
    kubectl("apply", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        yield
    finally:
        kubectl("delete", "persistentvolume", volume, "--ignore-not-found", "--wait=false", check=False)
