"""Endpoints whose replicas the backend keeps alive and replaces."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest
from sqlalchemy import select

from ltai_hub.backends.fake import FakeCluster
from ltai_hub.db.tables import reservations
from ltai_hub.domain.workloads import Kind
from ltai_hub.service import Platform
from tests.factories import NOW
from tests.services.fake_mlflow import FakeMlflow
from tests.services.serving.test_endpoints import NEW, PATH, LoadingBackend, Serving, make_serving

NAME = "endpoint-1-1-0-1"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def serving(platform: Platform, mlflow: FakeMlflow, cluster: FakeCluster) -> Serving:
    return make_serving(platform, cast(LoadingBackend, cluster), mlflow)


async def running(serving: Serving, cluster: FakeCluster, instances: int = 2, **more: int) -> int:
    number: int = serving.create(instances=instances, **more)["id"]
    await serving.passes()
    cluster.admit(NAME)
    await serving.passes()
    return number


async def test_its_replicas_are_one_workload_that_waits_and_then_answers(serving: Serving, cluster: FakeCluster) -> None:
    number = serving.create(instances=2)["id"]
    await serving.passes()
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["reason"], serving.routes) == ("queued", "1 more nvidia.com/gpu is needed", {})
    assert [endpoint["queue_position"], *(one["queue_position"] for one in serving.api.get("/endpoints", "sam").json()["items"])] == [1, 1]
    serving.seconds = 30
    cluster.admit(NAME)
    await serving.passes()
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["ready_instances"], endpoint["reason"]) == ("running", 2, "")
    assert list(serving.routes) == [PATH]
    assert list(cluster.workloads) == [NAME]
    assert serving.intervals() == [(30, None, 2)]


async def test_another_version_replaces_what_runs_at_the_same_address(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster)
    before = dict(serving.routes)
    assert serving.patch(number, version="2").status_code == 200
    await serving.passes()
    assert serving.env(NAME)["MODEL_VERSION"] == "2"
    assert (serving.show(number)["phase"], serving.routes) == ("running", before)
    assert list(cluster.workloads) == [NAME]


async def test_more_instances_are_more_replicas(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster, instances=1)
    serving.patch(number, instances=3)
    await serving.passes()
    assert serving.show(number)["ready_instances"] == 3
    assert list(cluster.workloads) == [NAME]


async def test_stopped_it_ends_with_its_route(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster)
    serving.api.post(f"/endpoints/{number}/stop", "sam")
    await serving.passes()
    assert (serving.show(number)["phase"], serving.routes) == ("stopped", {})


async def test_what_is_added_under_load_is_charged_while_it_runs(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster, instances=1, most_instances=4)
    assert cluster.workloads[NAME][0].workload.most_replicas == 4
    for seconds, replicas in ((30, 3), (60, 2), (90, 1)):
        serving.seconds = seconds
        cluster.scale(NAME, replicas)
        await serving.passes()
        assert serving.show(number)["ready_instances"] == replicas
    assert serving.intervals() == [(0, 30, 1), (30, 60, 3), (60, 90, 2), (90, None, 1)]
    events = [event["reason"] for event in serving.api.get(f"/endpoints/{number}/events", "sam").json()["items"]]
    assert {"1 → 3 instances by load", "3 → 2 instances by load", "2 → 1 instances by load"} <= set(events)


async def test_one_that_is_not_ready_for_a_moment_costs_no_less(serving: Serving, cluster: FakeCluster) -> None:
    await running(serving, cluster, instances=2, most_instances=4)
    serving.seconds = 30
    cluster.scale(NAME, 1)
    await serving.passes()
    assert serving.intervals() == [(0, None, 2)]


async def test_one_that_lost_its_place_waits_again_costs_nothing_and_answers_again_later(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster, instances=2, most_instances=4)
    serving.seconds = 30
    cluster.preempt(NAME)
    await serving.passes()
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["reason"], endpoint["queue_position"]) == ("queued", cluster.why, 1)
    assert (serving.routes, serving.intervals()) == ({}, [(0, 30, 2)])
    serving.seconds = 90
    cluster.admit(NAME)
    cluster.scale(NAME, 3)
    await serving.passes()
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["ready_instances"], list(serving.routes)) == ("running", 3, [PATH])
    assert [(begin, end, replicas) for begin, end, replicas in serving.intervals() if begin != end] == [(0, 30, 2), (90, None, 3)]


async def test_one_lost_with_its_node_is_charged_until_then(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster)
    cluster.lost[NAME] = NOW + timedelta(seconds=20)
    serving.seconds = 300
    await serving.passes()
    assert (serving.show(number)["phase"], serving.intervals()) == ("starting", [(0, 20, 2)])
    del cluster.lost[NAME]
    serving.seconds = 400
    await serving.passes()
    assert (serving.show(number)["phase"], serving.intervals()) == ("running", [(0, 20, 2), (400, None, 2)])


async def test_room_is_held_for_as_many_as_there_may_be(serving: Serving, cluster: FakeCluster, platform: Platform) -> None:
    number = await running(serving, cluster, instances=1, most_instances=4)
    assert reserved(platform) == 4
    assert serving.patch(number, most_instances=2).status_code == 200
    await serving.passes()
    assert (reserved(platform), serving.show(number)["most_instances"]) == (2, 2)
    assert serving.patch(number, most_instances=0).status_code == 200
    await serving.passes()
    assert (reserved(platform), serving.show(number)["most_instances"]) == (1, None)
    assert cluster.workloads[NAME][0].workload.most_replicas is None


def reserved(platform: Platform) -> int:
    with platform.database.reading() as tx:
        return int(
            tx.execute(
                select(reservations.c.replicas).where(reservations.c.kind == Kind.ENDPOINT, reservations.c.state == "held")
            ).scalar_one()
        )


async def test_more_is_asked_for_while_more_run_and_only_that_changes(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster, instances=1, most_instances=4)
    serving.seconds = 30
    cluster.scale(NAME, 3)
    await serving.passes()
    serving.seconds = 60
    assert serving.patch(number, instances=2).status_code == 200
    await serving.passes()
    assert serving.show(number)["ready_instances"] == 3
    assert [(begin, end) for begin, end, replicas in serving.intervals() if replicas == 3] in ([(30, None)], [(30, 60), (60, None)])


@pytest.mark.parametrize(
    ("unmeasured", "instances", "words"),
    [
        ("nothing measures the load in this cluster", 1, "most_instances cannot be used: nothing measures the load in this cluster"),
        ("", 5, "most_instances is 4 and instances 5; it must be at least as many"),
    ],
)
async def test_where_nothing_can_be_added_it_is_refused(
    serving: Serving, cluster: FakeCluster, unmeasured: str, instances: int, words: str
) -> None:
    cluster.unmeasured = unmeasured
    reply = serving.api.post("/endpoints", "sam", json={**NEW, "instances": instances, "most_instances": 4})
    assert (reply.status_code, reply.json()["detail"]) == (400, words)
    assert serving.api.get("/scaling", "sam").json() == {"available": not unmeasured, "reason": unmeasured}


async def test_each_replica_has_its_log(serving: Serving, cluster: FakeCluster) -> None:
    number = await running(serving, cluster)
    for replica, process in enumerate(cluster.workloads[NAME]):
        process.log += f"I am {replica}\n".encode()
    assert [serving.api.get(f"/endpoints/{number}/log?instance={n}", "sam").text for n in (0, 1, 2)] == ["I am 0\n", "I am 1\n", ""]
