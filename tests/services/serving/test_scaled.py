"""Endpoints whose replicas the backend keeps alive and replaces."""

from __future__ import annotations

from typing import cast

import pytest

from ltai_hub.backends.fake import FakeCluster
from ltai_hub.service import Platform
from tests.services.fake_mlflow import FakeMlflow
from tests.services.serving.test_endpoints import PATH, LoadingBackend, Serving, make_serving

NAME = "endpoint-1-1-0-1"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def serving(platform: Platform, mlflow: FakeMlflow, cluster: FakeCluster) -> Serving:
    return make_serving(platform, cast(LoadingBackend, cluster), mlflow)


async def running(serving: Serving, cluster: FakeCluster, instances: int = 2) -> int:
    number: int = serving.create(instances=instances)["id"]
    await serving.passes()
    cluster.admit(NAME)
    await serving.passes()
    return number


async def test_its_replicas_are_one_workload_that_waits_and_then_answers(serving: Serving, cluster: FakeCluster) -> None:
    number = serving.create(instances=2)["id"]
    await serving.passes()
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["reason"], serving.routes) == ("queued", "1 more nvidia.com/gpu is needed", {})
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
