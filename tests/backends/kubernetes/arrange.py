"""Workloads and objects of a cluster for the pure tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.pods import Blueprint, make_blueprint
from ltai_hub.domain.catalog import Catalog, Flavor, Image, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Kind, Resources, Workload
from ltai_hub.settings import KubernetesSettings

GIB = 1 << 30
COURSES = Path("/data/courses")
SMALL = Resources(cpu=1, memory=2 * GIB, disk=5 * GIB)
CARDS = Resources(cpu=4, memory=16 * GIB, accelerator="nvidia-vgpu", accelerator_count=2, architecture="amd64")
VGPU = KubernetesFlavor(
    resource_name="nvidia.com/gpu",
    resources={"nvidia.com/gpumem": 8000},
    node_selector={"card": "a100"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
    annotations={"nvidia.com/vgpu-mode": "hami-core"},
    runtime_class="nvidia",
)


def a_catalog() -> Catalog:
    rows = [Flavor("small", Text("Small", "小"), SMALL), Flavor("vgpu", Text("vGPU", "vGPU"), CARDS, kubernetes=VGPU)]
    image = Image("pytorch", Text("PyTorch", "PyTorch"), "pytorch", "2", container="ltai/pytorch:2")
    return Catalog({row.name: row for row in rows}, {image.name: image}, {})


def a_blueprint(settings: KubernetesSettings | None = None, **kept: Any) -> Blueprint:
    plain: dict[str, Any] = {
        "name": "job-7",
        "kind": Kind.JOB,
        "user": "alice",
        "tenant": "physics",
        "image": "pytorch",
        "flavor": "small",
        "resources": SMALL,
        "command": ("python", "train.py"),
        "home": "/home/alice",
        "cwd": "/home/alice/digits",
    }
    return make_blueprint(Workload(**{**plain, **kept}), settings or KubernetesSettings(instance="uni"), a_catalog(), COURSES)


def a_pod(
    name: str = "p",
    phase: str = "Running",
    state: Object | None = None,
    last: Object | None = None,
    memory: str = "1073741824",
    **status: Any,
) -> Object:
    main: Object = {"name": "main", "image": "ltai/pytorch:2", "state": state or {}, "lastState": last or {}}
    main["restartCount"] = status.pop("restarts", 0)
    gates = status.pop("gates", [])
    return {
        "metadata": {"name": name, "namespace": "uni-physics", "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "main", "resources": {"limits": {"memory": memory}}}], "schedulingGates": gates},
        "status": {"phase": phase, "containerStatuses": [main], **status},
    }


def running(at: str = "2026-01-01T00:00:05Z") -> Object:
    return {"running": {"startedAt": at}}


def ended(code: int, at: str = "2026-01-01T00:01:00Z", reason: str = "") -> Object:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": "2026-01-01T00:00:05Z",
            "finishedAt": at,
        }
    }


def a_jobset(suspended: bool = False, terminal: str = "", annotations: dict[str, str] | None = None, **status: Any) -> Object:
    if terminal:
        status["terminalState"] = terminal
    return {
        "metadata": {"name": "job-7", "namespace": "uni-physics", "uid": "uid-job-7", "annotations": annotations or {}},
        "spec": {"suspend": suspended},
        "status": status,
    }
