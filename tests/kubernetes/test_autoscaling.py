"""Replicas of an endpoint added under load by the cluster's own autoscaler, for whose metrics API a small one stands in."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.backends.base import State
from ltai_hub.backends.kubernetes.api import AUTOSCALER, DEPLOYMENT
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from tests.kubernetes.measured_load import a_metrics_api
from tests.kubernetes.places import a_backend_on, a_tenant_in_the_cluster, a_workload, kubectl

INSTANCE = f"ka-{os.getpid()}"
LISTENS = """
import http.server, os
http.server.ThreadingHTTPServer(("", int(os.environ["LTAI_PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
# the autoscaler looks each 15 seconds
SECONDS = 90.0


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with a_tenant_in_the_cluster(INSTANCE, "demo") as name:
        yield name


@pytest.fixture
async def backend(namespace: str, tmp_path: Path) -> AsyncIterator[KubernetesBackend]:
    async with a_backend_on(INSTANCE, tmp_path) as backend:
        yield backend


def an_endpoint(image: str, **kept: Any) -> Workload:
    asked = {"image": image, "resources": Resources(0.1, 96 << 20), "command": ("python", "-c", LISTENS), "port": True}
    return a_workload(**{"name": "endpoint-1-1-0-1", "kind": Kind.ENDPOINT, **asked, **kept})


async def until(holds: Callable[[], Awaitable[bool]], what: str, namespace: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not await holds():
        assert time.monotonic() < deadline, f"it is still not so that {what}:\n{what_is_there(namespace)}"
        await asyncio.sleep(0.5)


def what_is_there(namespace: str) -> str:
    there = kubectl("get", "deployments,horizontalpodautoscalers,pods", "-n", namespace, "-o", "wide")
    return f"{there}\n{kubectl('get', 'events', '-n', namespace, '--sort-by=.lastTimestamp')[-3000:]}"


async def ready(backend: KubernetesBackend, state: State, count: int) -> bool:
    (seen,) = await backend.observe([state])
    return seen.ready == count


async def wished(backend: KubernetesBackend, state: State) -> int:
    found = await (await backend.cluster()).find(DEPLOYMENT, state["namespace"], state["name"])
    assert found is not None
    return int(found["spec"]["replicas"])


async def test_under_load_there_are_more_and_a_new_version_keeps_them(
    backend: KubernetesBackend, namespace: str, python_image: str, tmp_path: Path
) -> None:
    cluster = await backend.cluster()
    if await cluster.has_group("metrics.k8s.io"):
        pytest.skip("this cluster measures load itself; nothing can be pretended")
    assert "needs a metrics API" in await backend.why_none_added()
    with a_metrics_api(python_image, tmp_path):
        assert await backend.why_none_added() == ""
        workload = an_endpoint(python_image, most_replicas=3)
        state = await backend.start(workload)
        await until(lambda: ready(backend, state, 1), "one answers", namespace)
        kubectl("label", "namespace", namespace, "test-load=400")
        await until(lambda: ready(backend, state, 3), "three answer", namespace)

        # another version, and at most two
        await backend.replace(state, replace(workload, env={"NEW": "1"}, most_replicas=2))
        assert await wished(backend, state) == 2
        await until(lambda: ready(backend, state, 2), "two of the new version answer", namespace)

        # by hand again
        await backend.replace(state, replace(workload, env={"NEW": "1"}, most_replicas=None))
        assert await cluster.find(AUTOSCALER, namespace, state["name"]) is None
        assert await wished(backend, state) == 1

        await backend.replace(state, workload)
        assert await cluster.find(AUTOSCALER, namespace, state["name"])
        await backend.stop(state)

        async def has_ended() -> bool:
            (seen,) = await backend.observe([state])
            return seen.phase not in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING)

        async def is_gone() -> bool:
            return await cluster.find(AUTOSCALER, namespace, state["name"]) is None

        await until(has_ended, "it has ended", namespace)
        await backend.forget(state)
        await until(is_gone, "the autoscaler has gone with its endpoint", namespace)
