"""Jobs and endpoints on a real cluster, beside what the contract of the seam says (tests/backends/test_contract.py)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.backends.base import Observed, State
from ltai_hub.backends.kubernetes.api import DEPLOYMENT, JOBSET, POD
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.errors import TryLater
from ltai_hub.settings import KubernetesSettings, Settings
from tests.kubernetes.places import a_tenant_in_the_cluster, a_workload, kubectl
from tests.kubernetes.ways import a_way_to_the_api_server

# one of its own for each run, so that runs do not meet
INSTANCE = f"kb-{os.getpid()}"
MIB = 1 << 20
ENDED = (Phase.SUCCEEDED, Phase.FAILED, Phase.GONE)

RENDEZVOUS = """
import json, os, socket, sys, time
rank, nodes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
config = json.loads(os.environ["TF_CONFIG"])
assert config["task"]["index"] == rank == int(os.environ["JAX_PROCESS_ID"]) == int(os.environ["PET_NODE_RANK"]), config
assert len(open("/etc/ltai/hostfile").read().split("slots=1")) == nodes + 1
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    server = socket.create_server(("0.0.0.0", address[1]))
    met = {server.accept()[0].recv(10).decode() for _ in range(nodes - 1)}
    print("met", sorted(met), flush=True)
else:
    until = time.time() + 60
    while True:
        try:
            socket.create_connection(address, 2).sendall(str(rank).encode())
            break
        except OSError:
            assert time.time() < until
            time.sleep(0.3)
    print("reached", address[0], flush=True)
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with a_tenant_in_the_cluster(INSTANCE, "demo") as name:
        yield name


@dataclass
class Place:
    backend: KubernetesBackend
    namespace: str
    image: str

    def workload(self, code: str, cpu: float = 0.05, memory: int = 96 * MIB, **kept: Any) -> Workload:
        return a_workload(**{"image": self.image, "resources": Resources(cpu, memory), "command": ("python", "-c", code), **kept})

    async def observe(self, state: State) -> Observed:
        (seen,) = await self.backend.observe([state])
        return seen

    async def until(self, state: State, *phases: Phase, seconds: float = 60) -> Observed:
        deadline = time.monotonic() + seconds
        while (seen := await self.observe(state)).phase not in phases:
            assert time.monotonic() < deadline, seen
            await asyncio.sleep(0.3)
        return seen

    async def log(self, state: State, replica: int = 0) -> str:
        return b"".join([chunk async for chunk in self.backend.logs(state, replica)]).decode()


@pytest.fixture
async def place(namespace: str, python_image: str, tmp_path: Path) -> AsyncIterator[Place]:
    backend = KubernetesBackend(
        Settings(data=tmp_path), KubernetesSettings(instance=INSTANCE, node_ports=True, home_access="ReadWriteOnce")
    )
    yield Place(backend, namespace, python_image)
    kubectl("delete", "jobset,deployment,service", "--all", "-n", namespace, "--wait=false")
    await backend.close()


async def test_two_nodes_start_together_find_one_another_and_both_logs_are_kept(place: Place) -> None:
    state = await place.backend.start(place.workload(RENDEZVOUS, replicas=2))
    seen = await place.until(state, *ENDED, seconds=120)
    assert (seen.phase, seen.exit_code) == (Phase.SUCCEEDED, 0), seen
    assert await place.log(state, 0) == "met ['1']\n"
    assert (await place.log(state, 1)).startswith("reached job-")
    kubectl("delete", "pods", "--all", "-n", place.namespace, "--wait=true")
    assert await place.log(state, 0) == "met ['1']\n"


async def test_what_does_not_fit_waits_with_its_place_and_starts_nothing(place: Place) -> None:
    first = await place.backend.start(place.workload("import time; time.sleep(100)", cpu=1.2))
    await place.until(first, Phase.RUNNING)
    second = await place.backend.start(place.workload("print(2)", cpu=0.4))
    await asyncio.sleep(1.1)  # Kueue orders by creation, in whole seconds
    third = await place.backend.start(place.workload("print(3)", cpu=0.4))
    seen = await place.until(third, Phase.QUEUED)
    await asyncio.sleep(1.5)
    seen = await place.observe(third)
    assert (seen.phase, seen.position) == (Phase.QUEUED, 2), seen
    assert seen.reason.startswith("waiting in the queue of its tenant")
    ahead = await place.observe(second)
    assert ahead.position == 1
    assert "insufficient unused quota for cpu" in ahead.reason
    await place.backend.stop(third)
    stopped = await place.until(third, *ENDED)
    assert (stopped.phase, stopped.reason, stopped.started_at) == (Phase.FAILED, "stopped", None)
    await place.backend.stop(first)
    assert (await place.until(second, *ENDED)).phase is Phase.SUCCEEDED


async def test_over_its_memory_it_is_killed_and_says_so(place: Place) -> None:
    state = await place.backend.start(place.workload("x = b'1' * (200 << 20)", memory=64 * MIB))
    seen = await place.until(state, *ENDED)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 137, "killed: over its memory limit of 64 MiB")


async def test_an_image_that_does_not_exist_is_said(place: Place) -> None:
    state = await place.backend.start(replace(place.workload("pass"), image="ltai/nothing:0"))
    deadline = time.monotonic() + 60
    while "cannot be pulled" not in (seen := await place.observe(state)).reason:
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.5)
    assert seen.phase is Phase.STARTING
    assert "ltai/nothing:0" in seen.reason


async def test_a_job_deleted_behind_the_platforms_back_is_gone(place: Place) -> None:
    state = await place.backend.start(place.workload("import time; time.sleep(100)"))
    await place.until(state, Phase.RUNNING)
    cluster = await place.backend.cluster()
    await cluster.delete(JOBSET, state["namespace"], state["name"])
    assert (await place.until(state, Phase.GONE)).phase is Phase.GONE


async def test_a_pod_deleted_behind_the_platforms_back_begins_again(place: Place) -> None:
    code = "import time; print('begun', flush=True); time.sleep(4); print('done', flush=True)"
    state = await place.backend.start(place.workload(code))
    await place.until(state, Phase.RUNNING)
    await asyncio.sleep(1)
    kubectl("delete", "pods", "-l", f"jobset.sigs.k8s.io/jobset-name={state['name']}", "-n", place.namespace)
    seen = await place.until(state, *ENDED, seconds=90)
    assert seen.phase is Phase.SUCCEEDED, seen
    assert (await place.log(state)).endswith("begun\ndone\n")


async def test_preempted_it_waits_again(place: Place) -> None:
    state = await place.backend.start(place.workload("import time; time.sleep(100)", cpu=1.2))
    await place.until(state, Phase.RUNNING)
    urgent = await place.backend.start(place.workload("import time; time.sleep(5)", cpu=1.2, kind=Kind.ENVIRONMENT))
    seen = await place.until(state, Phase.QUEUED, seconds=30)
    await place.until(urgent, Phase.RUNNING)
    seen = await place.observe(state)
    assert "reempted" in seen.reason, seen
    assert seen.ended_at is not None
    assert (await place.until(state, Phase.RUNNING)).started_at is not None


SERVES = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["VERSION"].encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["LTAI_HOST"], int(os.environ["LTAI_PORT"])), Handler).serve_forever()
"""


async def test_an_endpoint_is_replaced_without_a_failed_request(place: Place) -> None:
    import httpx

    kept: dict[str, Any] = {"kind": Kind.ENDPOINT, "port": True, "replicas": 2, "grace_seconds": 2}
    workload = place.workload(SERVES, env={"VERSION": "1", "LTAI_PREFIX": "/x"}, **kept)
    state = await place.backend.start(workload)
    deadline = time.monotonic() + 60
    while (seen := await place.observe(state)).ready < 2:
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.3)
    assert seen.phase is Phase.RUNNING
    (address,) = seen.addresses
    answers: list[str] = []

    async def ask() -> None:
        while "stop" not in answers:
            async with httpx.AsyncClient(timeout=5) as client:
                answers.append((await client.get(f"http://{address}/x/v2")).text)

    asking = asyncio.create_task(ask())
    await place.backend.replace(state, replace(workload, name="endpoint-new", env={"VERSION": "2", "LTAI_PREFIX": "/x"}))
    deadline = time.monotonic() + 90
    while set(answers[-20:]) != {"2"} or len(answers) < 20:
        assert time.monotonic() < deadline, answers[-5:]
        assert not asking.done(), (answers[-3:], len(answers), asking.exception())
        await asyncio.sleep(0.3)
    answers.append("stop")
    await asking
    assert set(answers) == {"1", "2", "stop"}
    await place.backend.stop(state)
    assert (await place.until(state, *ENDED)).reason == "stopped"
    await place.backend.forget(state)
    cluster = await place.backend.cluster()
    assert await cluster.find(DEPLOYMENT, state["namespace"], state["name"]) is None


async def test_another_process_reads_the_log_on_without_a_line_twice(place: Place, tmp_path: Path) -> None:
    code = "import time\nfor i in range(8): print(i, flush=True); time.sleep(0.5)"
    state = await place.backend.start(place.workload(code))
    await place.until(state, Phase.RUNNING)
    await asyncio.sleep(1)
    await place.log(state)
    await place.backend.close()
    again = replace(place, backend=KubernetesBackend(place.backend.settings, place.backend.kubernetes))
    assert (await again.until(state, *ENDED)).phase is Phase.SUCCEEDED
    assert await again.log(state) == "".join(f"{i}\n" for i in range(8))
    place.backend = again.backend


async def test_pods_are_confined_and_their_home_stays(place: Place) -> None:
    first = await place.backend.start(place.workload("import os; open('kept', 'w').write('x'); print(os.getuid())"))
    assert (await place.until(first, *ENDED)).phase is Phase.SUCCEEDED
    assert await place.log(first) == "1000\n"
    second = await place.backend.start(place.workload("print(open('kept').read())"))
    await place.until(second, *ENDED)
    assert await place.log(second) == "x\n"
    cluster = await place.backend.cluster()
    (pod, *_) = await cluster.list(POD, place.namespace, {"jobset.sigs.k8s.io/jobset-name": second["name"]})
    assert pod["spec"]["automountServiceAccountToken"] is False


async def test_use_is_measured(place: Place) -> None:
    state = await place.backend.start(place.workload("import time; x = b'1' * (30 << 20); time.sleep(60)"))
    await place.until(state, Phase.RUNNING)
    deadline = time.monotonic() + 40
    while True:
        (use,) = await place.backend.measure([state])
        if use and use.memory > 30 * MIB:
            break
        assert time.monotonic() < deadline, use
        await asyncio.sleep(1)
    assert await place.backend.measure([{"name": "nothing"}]) == [None]


async def test_while_the_api_server_is_away_nothing_is_lost(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_way_to_the_api_server(tmp_path) as way:
        # read once, when the library is imported
        monkeypatch.setattr("kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(way.kubeconfig))
        there = replace(place, backend=KubernetesBackend(place.backend.settings, place.backend.kubernetes))
        code = "import time\nfor i in range(16): print(i, flush=True); time.sleep(0.5)"
        state = await there.backend.start(there.workload(code))
        running = await there.until(state, Phase.RUNNING)
        await there.observe(state)
        await way.close()
        with pytest.raises(TryLater, match="the cluster does not answer"):
            await there.backend.start(there.workload("pass"))
        until = time.monotonic() + 10
        while time.monotonic() < until:
            assert (await there.observe(state)).phase is Phase.RUNNING
            await asyncio.sleep(0.5)
        await way.open()
        seen = await there.until(state, *ENDED)
        assert seen.phase is Phase.SUCCEEDED
        assert running.started_at
        assert seen.ended_at
        assert 7 <= (seen.ended_at - running.started_at).total_seconds() <= 11
        assert await there.log(state) == "".join(f"{i}\n" for i in range(16))
        await there.backend.close()


async def test_what_was_stopped_leaves_the_cluster_in_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltai_hub.backends.kubernetes.backend.SWEEP_SECONDS", 0.0)
    place.backend.kubernetes = place.backend.kubernetes.model_copy(update={"kept_seconds": 1})
    stopped = await place.backend.start(place.workload("import time; time.sleep(100)"))
    await place.until(stopped, Phase.RUNNING)
    await place.backend.stop(stopped)
    assert (await place.until(stopped, *ENDED)).reason == "stopped"
    await asyncio.sleep(2.5)
    other = await place.backend.start(place.workload("pass"))
    assert (await place.observe(stopped)).reason == "stopped"  # as long as somebody asks
    await place.observe(other)
    assert (await place.until(stopped, Phase.GONE)).phase is Phase.GONE


async def test_the_last_line_needs_no_end_and_a_long_one_is_whole(place: Place) -> None:
    state = await place.backend.start(place.workload("print('y' * 100_000); print('x', end='')"))
    assert (await place.until(state, *ENDED)).phase is Phase.SUCCEEDED
    assert (await place.log(state)).rstrip("\n") == "y" * 100_000 + "\nx"
