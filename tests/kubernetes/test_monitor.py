"""What runs uses now, and what the machines have, as a real cluster reports them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from tests.kubernetes.places import a_backend_on, a_tenant_in_the_cluster, kubectl
from tests.kubernetes.tenants_fixtures import a_pod

INSTANCE = f"kg-m-{os.getpid()}"
MIB = 1 << 20


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with a_tenant_in_the_cluster(INSTANCE, "demo") as name:
        yield name


@pytest.fixture
async def backend(namespace: str, tmp_path: Path) -> AsyncIterator[KubernetesBackend]:
    async with a_backend_on(INSTANCE, tmp_path) as made:
        yield made


async def test_an_environment_is_measured_by_the_state_its_spawner_keeps(
    backend: KubernetesBackend, namespace: str, python_image: str
) -> None:
    code = "import time; x = b'1' * (30 << 20); time.sleep(600)"
    body = a_pod("environment-1-1", namespace, {}, python_image, ["python3", "-c", code])
    kubectl("apply", "-f", "-", body=json.dumps(body))
    state, until = {"namespace": namespace, "pod": "environment-1-1", "position": 1}, time.monotonic() + 60
    while True:
        (use,) = await backend.measure([state])
        if use and use.memory > 30 * MIB:
            break
        assert time.monotonic() < until, use
        await asyncio.sleep(1)
    assert await backend.measure([state | {"pod": "environment-9-9"}]) == [None]


async def test_the_machines_show_what_they_have_and_what_is_asked_of_them(
    backend: KubernetesBackend, namespace: str, python_image: str
) -> None:
    names = set(kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split())
    before = {node.name: node for node in await backend.nodes()}
    assert before.keys() == names
    assert any(node.ready and node.total["cpu"] > 0 and node.total["memory"] > 0 for node in before.values())
    kubectl("apply", "-f", "-", body=json.dumps(a_pod("asks", namespace, {}, python_image, ["sleep", "600"], cpu="70m")))
    kubectl("wait", "--for=condition=PodScheduled", "pod/asks", "-n", namespace, "--timeout=60s")
    where = kubectl("get", "pod", "asks", "-n", namespace, "-o", "jsonpath={.spec.nodeName}")
    other = KubernetesBackend(backend.settings, backend.kubernetes, backend.catalog)
    after = {node.name: node for node in await other.nodes()}[where]
    await other.close()
    pods = json.loads(kubectl("get", "pods", "-A", "--field-selector", f"spec.nodeName={where}", "-o", "json"))["items"]
    assert "asks" in {pod["metadata"]["name"] for pod in pods}
    assert 0.07 <= after.allocated["cpu"] <= after.total["cpu"]
