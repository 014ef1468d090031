"""A site: an installation of its own in the cluster, whose tenants are mirrored and in which pods are put to the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import CLUSTER_QUEUE, LOCAL_QUEUE, NAMESPACE, POD, WORKLOAD, Cluster, Object, Resource
from ltai_hub.backends.kubernetes.mirror import MIRRORED, Plan, look, make_plan, mirror
from ltai_hub.backends.kubernetes.names import (
    ACCOUNT,
    INSTANCE,
    KIND,
    PRIORITY_LABEL,
    QUEUE,
    QUEUE_LABEL,
    priority_class,
    tenant_name,
)
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.workloads import Kind
from ltai_hub.settings import KubernetesSettings
from ltai_hub.units import utc_now

SECONDS = 60.0
SLEEP = ["python3", "-c", "import time; time.sleep(3600)"]


@dataclass
class Site:
    cluster: Cluster
    settings: KubernetesSettings
    catalog: Catalog
    image: str

    async def mirror(self, *shares: TenantShare) -> dict[str, str]:
        return await mirror(self.cluster, self.settings, self.catalog, shares)

    async def settled(self, *shares: TenantShare) -> None:
        """Mirrored, as often as it takes: namespaces of an earlier test may still be ending."""
        await until(lambda: self._is_settled(*shares), "the tenants are mirrored")

    async def _is_settled(self, *shares: TenantShare) -> bool:
        await self.mirror(*shares)
        return not (await self.plan(*shares)).troubles and all([await self._is_active(share.tenant) for share in shares])

    async def _is_active(self, tenant: str) -> bool:
        found = [
            await self.find(CLUSTER_QUEUE, tenant_name(self.settings.instance, tenant)),
            await self.find(LOCAL_QUEUE, QUEUE, tenant),
        ]
        return all(condition_of(one, "Active") == "True" for one in found)

    async def plan(self, *shares: TenantShare) -> Plan:
        """What a pass would do now."""
        return make_plan(self.settings, self.catalog, shares, await look(self.cluster, self.settings, shares), utc_now())

    def namespace(self, tenant: str) -> str:
        return tenant_name(self.settings.instance, tenant)

    async def find(self, resource: Resource, name: str, tenant: str = "") -> Object | None:
        return await self.cluster.find(resource, self.namespace(tenant) if tenant else "", name)

    # ---- pods

    async def start(self, tenant: str, name: str, cpu: str = "10m", command: list[str] = SLEEP, kind: Kind = Kind.JOB, **more: Any) -> None:
        """A pod in the tenant's queue."""
        labels = {KIND: kind.value, QUEUE_LABEL: QUEUE, PRIORITY_LABEL: priority_class(self.settings.instance, kind)}
        body = a_pod(name, self.namespace(tenant), labels, self.image, command, cpu, **more)
        await self.cluster.create(POD, body)

    async def is_gated(self, tenant: str, name: str) -> bool:
        pod = await self.find(POD, name, tenant)
        return pod is not None and bool(pod["spec"].get("schedulingGates"))

    async def is_admitted(self, tenant: str, name: str) -> bool:
        pod = await self.find(POD, name, tenant)
        return pod is not None and not pod["spec"].get("schedulingGates") and "deletionTimestamp" not in pod["metadata"]

    async def is_running(self, tenant: str, name: str) -> bool:
        pod = await self.find(POD, name, tenant)
        return pod is not None and pod["status"].get("phase") == "Running"

    async def why(self, tenant: str) -> list[str]:
        """What Kueue says of those who wait."""
        found = await self.cluster.list(WORKLOAD, self.namespace(tenant), cached=False)
        conditions = [one for body in found for one in body.get("status", {}).get("conditions", [])]
        return [one["message"] for one in conditions if one["type"] == "QuotaReserved" and one["status"] == "False"]

    async def clean(self) -> None:
        ours = {INSTANCE: self.settings.instance}
        for body in await self.cluster.list(NAMESPACE, labels=ours):
            for pod in await self.cluster.list(POD, body["metadata"]["name"]):
                await self.cluster.delete(POD, body["metadata"]["name"], pod["metadata"]["name"], grace_seconds=0)
        for resource in reversed(MIRRORED):
            if not resource.namespaced:
                for body in await self.cluster.list(resource, labels=ours):
                    await self.cluster.delete(resource, "", body["metadata"]["name"])
        await until(self._is_clean, "everything is gone", 120)

    async def _is_clean(self) -> bool:
        return not await self.cluster.list(NAMESPACE, labels={INSTANCE: self.settings.instance}, cached=False)


def a_pod(name: str, namespace: str, labels: dict[str, str], image: str, command: list[str], cpu: str = "10m", **more: Any) -> Object:
    amounts = {"cpu": cpu, "memory": "32Mi", "ephemeral-storage": "64Mi", **more.pop("resources", {})}
    container = {
        "name": "main",
        "image": image,
        "command": command,
        "resources": {"requests": amounts, "limits": {**amounts, "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": security,
        **({"serviceAccountName": ACCOUNT} if QUEUE_LABEL in labels else {}),
        **more,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec}


def condition_of(body: Object | None, kind: str) -> str:
    conditions = (body or {}).get("status", {}).get("conditions", [])
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")


async def until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < end, f"after {seconds:g} s it is still not so that {what}"
        await asyncio.sleep(0.2)
