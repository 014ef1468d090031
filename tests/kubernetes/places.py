"""Tenants of a cluster for tests of the backend: namespaces with a queue, made and removed by kubectl."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from ltai_hub.backends.kubernetes.api import NODE
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.backends.kubernetes.names import ACCOUNT, INSTANCE, PRIORITIES, QUEUE, TENANT, priority_class, tenant_name
from ltai_hub.domain.catalog import SIMULATED, Catalog, Flavor, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Kind, Resources, Workload
from ltai_hub.settings import KubernetesSettings, Settings

# Python, and nothing of ours
PYTHON = os.environ.get("LTAI_TEST_PYTHON_IMAGE", "python:3.11-slim-bookworm")
CARD, CARD_FLAVOR = "nvidia.com/gpu", "card"
KUEUE = "kueue.x-k8s.io/v1beta2"
numbers = itertools.count(1)


def kubectl(*words: str, body: str | None = None, check: bool = True) -> str:
    done = subprocess.run(["kubectl", *words], input=body, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


def a_workload(**wished: Any) -> Workload:
    """Alice's; a job, if nothing else is wished."""
    plain: dict[str, Any] = {
        "name": f"job-{next(numbers)}-{os.getpid()}",
        "kind": Kind.JOB,
        "user": "alice",
        "tenant": "demo",
        "home": "/home/alice",
        "cwd": "/home/alice",
        "grace_seconds": 1,
    }
    return Workload(**{**plain, **wished})


def objects(instance: str, tenant: str, cpu: str, memory: str, gpus: int) -> list[dict[str, Any]]:
    name = tenant_name(instance, tenant)
    labels = {INSTANCE: instance, TENANT: tenant}
    quotas = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": memory}]
    quotas += [{"name": "ephemeral-storage", "nominalQuota": "1Ti"}]
    cards = [{"name": "nvidia.com/gpu", "nominalQuota": gpus}]
    flavor, card = f"{instance}--default", f"{instance}--nvidia-gpu"
    groups = [
        {"coveredResources": ["cpu", "memory", "ephemeral-storage"], "flavors": [{"name": flavor, "resources": quotas}]},
        {"coveredResources": ["nvidia.com/gpu"], "flavors": [{"name": card, "resources": cards}]},
    ]
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    classes = [
        {
            "apiVersion": KUEUE,
            "kind": "WorkloadPriorityClass",
            "metadata": {"name": priority_class(instance, kind), "labels": {INSTANCE: instance}},
            "value": {"interactive": 1000, "serving": 900, "batch": 100}[PRIORITIES[kind]],
        }
        for kind in Kind
    ]
    return [
        *({"apiVersion": KUEUE, "kind": "ResourceFlavor", "metadata": {"name": f, "labels": {INSTANCE: instance}}} for f in (flavor, card)),
        *classes,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels | restricted}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": name, "labels": labels}},
        {
            "apiVersion": KUEUE,
            "kind": "ClusterQueue",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "namespaceSelector": {"matchLabels": labels},
                "preemption": {"withinClusterQueue": "LowerPriority"},
                "resourceGroups": groups,
            },
        },
        {
            "apiVersion": KUEUE,
            "kind": "LocalQueue",
            "metadata": {"name": QUEUE, "namespace": name, "labels": labels},
            "spec": {"clusterQueue": name},
        },
    ]


@contextmanager
def a_tenant_in_the_cluster(instance: str, tenant: str, cpu: str = "1500m", memory: str = "4Gi", gpus: int = 2) -> Iterator[str]:
    """The name of its namespace."""
    made = objects(instance, tenant, cpu, memory, gpus)
    name = tenant_name(instance, tenant)
    try:
        kubectl("apply", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found", check=False)
        kubectl("delete", "clusterqueue", name, "--ignore-not-found", "--wait=false", check=False)
        for kind in ("resourceflavor", "workloadpriorityclass"):
            kubectl("delete", kind, "-l", f"{INSTANCE}={instance}", "--wait=false", check=False)


def a_catalog() -> Catalog:
    """A cluster's cards are told from real ones by nothing; here they pass as simulated."""
    resources = Resources(0.05, 96 << 20, accelerator=SIMULATED, accelerator_count=1)
    row = Flavor(CARD_FLAVOR, Text("Card", "Card"), resources, kubernetes=KubernetesFlavor(resource_name=CARD))
    return Catalog({row.name: row}, {}, {})


@asynccontextmanager
async def a_backend_on(instance: str, data: Path) -> AsyncIterator[KubernetesBackend]:
    """On the tenant ``demo`` of the instance; what was started is removed afterwards."""
    settings = KubernetesSettings(instance=instance, node_ports=True, home_access="ReadWriteOnce")
    backend = KubernetesBackend(Settings(data=data), settings, a_catalog())
    yield backend
    kubectl("delete", "jobset,deployment,service", "--all", "-n", tenant_name(instance, "demo"), "--wait=false")
    await backend.close()


async def cards_of_the_cluster(backend: KubernetesBackend) -> int:
    nodes = await (await backend.cluster()).list(NODE)
    return sum(int(node["status"]["allocatable"].get(CARD, 0)) for node in nodes)
