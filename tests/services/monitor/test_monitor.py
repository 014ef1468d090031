"""Live use, machines and the overview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ltai_services.monitor import SPEC
from ltai_services.serving import store as endpoints
from ltai_services.training import store as jobs

from ltai_hub.backends.base import KnowsNodes, Node
from ltai_hub.backends.fake import FakeBackend
from ltai_hub.domain.workloads import Kind, Phase, Workload
from ltai_hub.metering.phases import Subject, change_phase
from ltai_hub.service import Platform
from tests.factories import NOW
from tests.services.platform import Api, an_api


class Machine(FakeBackend):
    async def capacity(self) -> Mapping[str, Any]:
        size = {"used": 1.0, "total": 4.0}
        return {"cpu": size, "memory": size, "disk": size}

    def isolation(self) -> Mapping[str, Any]:
        return {"mode": "namespaces", "network": "private", "limits": "cgroup", "missing": ["No internet inside."]}


class Machines(FakeBackend, KnowsNodes):
    async def nodes(self) -> list[Node]:
        total = {"cpu": 64.0, "memory": 512.0, "nvidia.com/gpu": 8.0, "example.com/none": 0.0}
        return [Node("worker-7", False, total, {"cpu": 60.0, "nvidia.com/gpu": 6.0}, "it does not answer")]


@pytest.fixture
def machine(platform: Platform) -> tuple[Api, Platform]:
    platform = replace(platform, backend=Machine(accelerators=2), clock=lambda: NOW)
    return an_api(SPEC, platform), platform


async def a_running_job(platform: Platform, flavor: str = "gpu-simulated") -> int:
    resources = platform.catalog.get_flavor(flavor).resources
    with platform.database.transaction() as tx:
        job = jobs.insert_job(tx, jobs.NewRow("digits", "sam", "ml", "digits", "scikit-learn", flavor, ("python",), "", {}, None), NOW)
    state = await platform.backend.start(Workload(f"job-{job.id}", Kind.JOB, "sam", "ml", "", resources, ("python",)))
    with platform.database.transaction() as tx:
        subject = Subject(Kind.JOB, str(job.id), "digits", "sam", "ml", flavor, resources)
        change_phase(tx, subject, Phase.QUEUED, Phase.RUNNING, "", NOW)
        jobs.change(tx, job.id, phase=Phase.RUNNING, backend_state=state)
    return job.id


async def test_a_running_job_shows_its_use_and_its_simulated_gpu(machine: tuple[Api, Platform]) -> None:
    api, platform = machine
    number = await a_running_job(platform)
    resources = platform.catalog.get_flavor("gpu-simulated").resources
    found = api.get(f"/metrics/job/{number}", "sam").json()
    assert (found["cpu_limit"], found["memory_limit"]) == (resources.cpu, resources.memory)
    assert found["cpu_cores"] == resources.cpu / 2
    assert [(card["simulated"], card["power"]) for card in found["accelerators"]] == [(True, 150.0)]
    assert api.get(f"/metrics/job/{number}", "tina").status_code == 200
    assert api.get(f"/metrics/job/{number}", "sue").status_code == 403


async def test_an_endpoint_shows_the_sum_of_its_instances(machine: tuple[Api, Platform]) -> None:
    api, platform = machine
    resources = platform.catalog.get_flavor("cpu-small").resources
    row = endpoints.NewRow("e", "e", "sam", "ml", "m", "1", "models:/m-1", None, "scikit-learn", "cpu-small", 2, None, None, "")
    with platform.database.transaction() as tx:
        endpoint = endpoints.insert_endpoint(tx, row, NOW)
        endpoints.change(tx, endpoint.id, phase=Phase.RUNNING)
    for place in (0, 1):
        state = await platform.backend.start(Workload(f"e{place}", Kind.ENDPOINT, "sam", "ml", "", resources, ("python",)))
        with platform.database.transaction() as tx:
            instance = endpoints.insert_instance(tx, endpoint, place, 1, NOW)
            endpoints.change_instance(tx, instance.id, phase=Phase.RUNNING, backend_state=state)
    found = api.get(f"/metrics/endpoint/{endpoint.id}", "sue").json()
    assert (found["cpu_limit"], found["cpu_cores"]) == (resources.cpu * 2, resources.cpu)


async def test_what_does_not_run_has_no_use(machine: tuple[Api, Platform]) -> None:
    api, platform = machine
    number = await a_running_job(platform)
    with platform.database.transaction() as tx:
        jobs.change(tx, number, phase=Phase.SUCCEEDED)
    reply = api.get(f"/metrics/job/{number}", "sam")
    assert (reply.status_code, "succeeded" in reply.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    "path", ["/metrics/job/0", "/metrics/job/9", "/metrics/tree/1", "/metrics/job/x", "/metrics/job/99999999999999999999"]
)
def test_bad_input_is_refused_with_a_sentence(machine: tuple[Api, Platform], path: str) -> None:
    reply = machine[0].get(path, "sam")
    assert reply.status_code in (400, 404)
    assert len(reply.json()["detail"]) > 5


def test_machines_are_for_administrators(machine: tuple[Api, Platform]) -> None:
    api, _ = machine
    node = api.get("/nodes", "root").json()["items"][0]
    assert (node["cpu"]["total"], len(node["accelerators"]), node["isolation"]["missing"]) == (4.0, 2, ["No internet inside."])
    assert api.get("/nodes", "sam").status_code == 403


def test_a_clusters_machines_show_what_their_pods_have_asked_for(platform: Platform) -> None:
    (node,) = an_api(SPEC, replace(platform, backend=Machines())).get("/nodes", "root").json()["items"]
    assert (node["name"], node["ready"], node["reason"], node["allocated"]) == ("worker-7", False, "it does not answer", True)
    assert (node["cpu"], node["memory"]) == ({"used": 60.0, "total": 64.0}, {"used": 0.0, "total": 512.0})
    assert (node["devices"], node["isolation"]) == ({"nvidia.com/gpu": {"used": 6.0, "total": 8.0}}, None)


async def test_the_overview_counts_what_the_caller_may_see(machine: tuple[Api, Platform]) -> None:
    api, platform = machine
    await a_running_job(platform)
    with platform.database.transaction() as tx:
        jobs.insert_job(tx, jobs.NewRow("d", "sue", "ml", "digits", "scikit-learn", "cpu-small", ("python",), "", {}, None), NOW)
    counts = {who: api.get("/overview", who).json() for who in ("sam", "sue", "tina", "root")}
    assert [counts[who]["running"]["jobs"] for who in counts] == [1, 0, 1, 1]
    assert [counts[who]["waiting"]["jobs"] for who in counts] == [0, 1, 1, 1]
    assert api.get("/overview?tenant=ml", "tina").json()["running"]["jobs"] == 1
    assert api.get("/overview?tenant=physics", "sam").status_code == 404
