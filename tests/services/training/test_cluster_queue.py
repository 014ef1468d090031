"""Jobs on a backend with a queue of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltai_hub.backends.fake import FakeCluster
from ltai_hub.service import Platform
from tests.services.fake_mlflow import FakeMlflow
from tests.services.training.test_jobs import Training, intervals, make_training


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def training(platform: Platform, cluster: FakeCluster, mlflow: FakeMlflow) -> Training:
    return make_training(platform, cluster, mlflow)


async def test_it_waits_in_the_clusters_queue_with_place_and_reason(training: Training, cluster: FakeCluster) -> None:
    first = training.submit()["id"]
    await training.passes()
    second = training.submit()["id"]
    await training.passes()
    job = training.job(second)
    assert (job["phase"], job["queue_position"], job["reason"]) == ("queued", 2, "1 more nvidia.com/gpu is needed")
    assert intervals(training.platform.database) == []
    listed = training.api.get("/jobs?sort=id", "sam").json()["items"]
    assert [one["queue_position"] for one in listed] == [1, 2]
    cluster.admit(f"job-{first}")
    await training.passes()
    assert training.job(first)["phase"] == "running"
    assert training.job(second)["queue_position"] == 1


async def test_preempted_it_waits_again_and_only_what_ran_is_metered(training: Training, cluster: FakeCluster) -> None:
    number = training.submit()["id"]
    await training.passes()
    cluster.admit(f"job-{number}")
    await training.passes()
    training.wait(10)
    cluster.why = "preempted: physics took back what is guaranteed to it"
    cluster.preempt(f"job-{number}")
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["reason"]) == ("queued", "preempted: physics took back what is guaranteed to it")
    training.wait(50)
    cluster.admit(f"job-{number}")
    await training.passes()
    training.wait(5)
    cluster.finish(f"job-{number}", 0)
    await training.passes()
    assert training.job(number)["phase"] == "succeeded"
    assert intervals(training.platform.database) == [(0, 10), (60, 65)]


async def test_cancelled_in_the_queue_it_is_taken_out(training: Training, cluster: FakeCluster) -> None:
    number = training.submit()["id"]
    await training.passes()
    training.api.post(f"/jobs/{number}/cancel", "sam")
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["reason"]) == ("cancelled", "cancelled by sam")
    assert cluster.queue == []


async def test_nodes_start_together_and_are_metered_together(training: Training, cluster: FakeCluster) -> None:
    number = training.submit(nodes=3)["id"]
    await training.passes()
    assert len(cluster.workloads[f"job-{number}"]) == 3
    again = training.api.post(f"/jobs/{number}/rerun", "sam").json()
    assert again["nodes"] == 3


async def test_several_nodes_need_a_cluster(platform: Platform, mlflow: FakeMlflow, tmp_path: Path) -> None:
    from ltai_hub.backends.fake import FakeBackend

    alone = make_training(platform, FakeBackend(), mlflow)
    reply = alone.api.post("/jobs", "sam", json={"name": "x", "command": ["true"], "nodes": 2})
    assert reply.status_code == 400
    assert reply.json()["detail"] == "this platform runs a job on one node and this asks for 2; several nodes need a cluster"
