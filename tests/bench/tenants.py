"""P20: a thousand tenants from nothing to queues in a cluster, and a pass that finds all as it should be."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ltai_services.tenancy.controller import TenantController
from ltai_services.tenancy.store import cluster_sentences
from sqlalchemy.engine import Connection

from ltai_hub.backends.kubernetes.api import CLUSTER_QUEUE, COHORT, NAMESPACE, PRIORITY_CLASS, RESOURCE_FLAVOR
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.backends.kubernetes.names import INSTANCE
from ltai_hub.domain.tenants import Tenant, TenantKind
from ltai_hub.service import Platform
from ltai_hub.settings import KubernetesSettings
from ltai_hub.tenancy import store
from tests.bench.figures import Figure, median
from tests.factories import NOW
from tests.services.platform import a_platform

# one of its own for each run: removing a thousand namespaces takes a cluster a quarter of an hour
NAME = f"p20-{os.getpid()}"
IDLE_PASSES = 5


def reconcile(folder: Path) -> list[Figure]:
    """Three levels: 10 organisations, 9 departments in each, 10 projects in each of those."""
    if not os.environ.get("KUBECONFIG"):
        print("P20 needs a cluster with Kueue: set KUBECONFIG", file=sys.stderr)
        return []
    return asyncio.run(_reconcile(folder))


async def _reconcile(folder: Path) -> list[Figure]:
    platform = a_platform(folder)
    backend = KubernetesBackend(platform.settings, KubernetesSettings(instance=NAME, namespace=NAME), platform.catalog)
    platform = replace(platform, backend=backend)
    with platform.database.transaction() as tx:
        plant(tx)
    controller = TenantController(platform, backend)
    try:
        first = await _passed(controller, platform)
        idle = [await _passed(controller, platform) for _ in range(IDLE_PASSES)]
    finally:
        await clean(backend)
    return [
        Figure("P20", round(first, 2), "s", floor="< 60 s"),
        Figure("P20 idle", median(idle), "s", runs=IDLE_PASSES, floor="< 5 s"),
    ]


def plant(tx: Connection) -> None:
    """The four of the test's school are among the thousand."""
    for number in range(10):
        top = _tenant(tx, f"o{number}", TenantKind.ORGANISATION, None)
        store.put_quota(tx, top, "", "cpu", 100, 0.01)
        for below in range(9):
            department = _tenant(tx, f"o{number}-d{below}", TenantKind.DEPARTMENT, top)
            store.put_quota(tx, department, "", "memory", 64 << 30)
            for leaf in range(10):
                project = _tenant(tx, f"o{number}-d{below}-p{leaf}", TenantKind.PROJECT, department)
                store.put_quota(tx, project, "", "accelerator:nvidia-gpu", 4)


def _tenant(tx: Connection, slug: str, kind: TenantKind, parent: Tenant | None) -> Tenant:
    return store.insert_tenant(tx, slug, slug.upper(), kind, parent, NOW)


async def _passed(controller: TenantController, platform: Platform) -> float:
    began = time.monotonic()
    await controller.pass_once()
    took = time.monotonic() - began
    troubles = _troubles(platform)
    assert not troubles, troubles[:3]
    return took


def _troubles(platform: Platform) -> Sequence[str]:
    with platform.database.reading() as tx:
        return [f"{slug}: {sentence}" for slug, sentence in cluster_sentences(tx).items() if sentence]


async def clean(backend: KubernetesBackend) -> None:
    """Asks for it; the cluster goes on by itself."""
    cluster = await backend.cluster()
    for resource in (NAMESPACE, CLUSTER_QUEUE, COHORT, RESOURCE_FLAVOR, PRIORITY_CLASS):
        found = await cluster.list(resource, labels={INSTANCE: NAME})
        await asyncio.gather(*(cluster.delete(resource, "", body["metadata"]["name"]) for body in found))
    await backend.close()
