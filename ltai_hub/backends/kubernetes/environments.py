"""An environment as one pod. Pure."""

from __future__ import annotations

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.names import dns_name
from ltai_hub.backends.kubernetes.pods import Blueprint, make_pod_spec, queue_labels


def environment_name(name: str) -> str:
    return dns_name(name)


def make_pod(plan: Blueprint, port: int) -> Object:
    """It is not restarted: kernels would be lost silently, and an end is what the owner is told."""
    w = plan.workload
    spec = make_pod_spec(plan, (), {"ports": [{"name": "lab", "containerPort": port}]})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": environment_name(w.name),
            "namespace": plan.namespace,
            "labels": plan.labels | queue_labels(plan.settings.instance, w.kind),
            "annotations": dict(plan.flavor.annotations),
        },
        "spec": {**spec, "restartPolicy": "Never"},
    }
