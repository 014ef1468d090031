"""Jobs on a backend with a queue of its own."""

from __future__ import annotations

import base64
import io
import random
import zipfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from ltai_services.training import store
from ltai_services.training.controller import JobController
from ltai_services.training.folder import LARGEST, LARGEST_UNPACKED, read_folder

from ltai_hub.backends.base import Observed, PartlySeen, State
from ltai_hub.backends.fake import FakeCluster, FakeProcess
from ltai_hub.domain.workloads import Workload
from ltai_hub.errors import BadInput, TryLater
from ltai_hub.service import Platform
from tests.factories import NOW
from tests.services.fake_mlflow import FakeMlflow
from tests.services.training.test_jobs import TRAIN, Training, intervals, make_training


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


async def test_time_in_the_queue_is_not_time_a_profile_allows(training: Training, cluster: FakeCluster) -> None:
    number, _ = await a_running_job(training, cluster)
    with training.platform.database.transaction() as tx:
        store.change(tx, number, max_seconds=60)
    training.wait(50)
    cluster.preempt(f"job-{number}")
    await training.passes()
    training.wait(3600)
    cluster.admit(f"job-{number}")
    await training.passes()
    training.wait(50)
    await training.passes()
    assert training.job(number)["phase"] == "running"
    training.wait(11)
    await training.passes()
    assert training.job(number)["reason"] == "stopped after 60 s, the most its profile allows"


class HalfStarted(FakeCluster):
    """Something was made, and then the cluster did not answer; nor does it when that is to be stopped."""

    refusals = 1

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Workload] = []

    async def start(self, workload: Workload) -> State:
        self.told.append(workload)
        state = await super().start(workload)
        if self.refusals:
            self.refusals -= 1
            raise TryLater("the cluster does not answer", after=0)
        return state


async def test_a_start_that_is_tried_again_has_the_token_and_the_run_it_had(platform: Platform, mlflow: FakeMlflow) -> None:
    cluster = HalfStarted()
    training = make_training(platform, cluster, mlflow)
    number = training.submit()["id"]
    await training.passes()
    first, second = (workload.env for workload in cluster.told)
    assert (first["LTAI_TOKEN"], first["MLFLOW_RUN_ID"]) == (second["LTAI_TOKEN"], second["MLFLOW_RUN_ID"])
    assert training.job(number)["phase"] == "queued"


class StopsLate(FakeCluster):
    """Cancelled while it starts, and the first attempt to stop it fails."""

    training: Training
    refusals = 1

    async def start(self, workload: Workload) -> State:
        state = await super().start(workload)
        self.training.api.post(f"/jobs/{workload.name.removeprefix('job-')}/cancel", "sam")
        return state

    async def stop(self, state: State, grace_seconds: float = 10.0) -> None:
        if self.refusals:
            self.refusals -= 1
            raise TryLater("the cluster does not answer")
        await super().stop(state, grace_seconds)


async def test_what_was_cancelled_while_it_began_is_stopped_however_long_that_takes(
    platform: Platform, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ltai_services.training.controller.RETRY_SECONDS", 0.01)
    backend = StopsLate()
    training = backend.training = make_training(platform, backend, mlflow)
    number = training.submit()["id"]
    await training.passes()
    assert training.job(number)["phase"] == "cancelled"
    assert backend.workloads[f"job-{number}"][0].exit_code == 143


async def a_running_job(training: Training, cluster: FakeCluster) -> tuple[int, FakeProcess]:
    number = training.submit()["id"]
    await training.passes()
    cluster.admit(f"job-{number}")
    await training.passes()
    return number, cluster.workloads[f"job-{number}"][0]


async def test_while_its_node_is_lost_it_is_not_metered_and_then_begins_again(training: Training, cluster: FakeCluster) -> None:
    number, process = await a_running_job(training, cluster)
    training.wait(60)
    cluster.lost[f"job-{number}"] = NOW + timedelta(seconds=40)
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["reason"]) == ("starting", "its node does not answer any more")
    assert intervals(training.platform.database) == [(0, 40)]
    training.wait(60)
    del cluster.lost[f"job-{number}"]
    process.started_at = NOW + timedelta(seconds=110)
    await training.passes()
    training.wait(30)
    process.finish(0)
    await training.passes()
    assert training.job(number)["phase"] == "succeeded"
    assert intervals(training.platform.database) == [(0, 40), (110, 150)]


@pytest.mark.parametrize("ended", [False, True])
async def test_what_began_again_while_nobody_looked_is_two_runs(training: Training, cluster: FakeCluster, ended: bool) -> None:
    number, process = await a_running_job(training, cluster)
    training.wait(20)
    await training.passes()  # the last time that anybody sees the first run
    training.wait(100)
    process.started_at = NOW + timedelta(seconds=90)
    if ended:
        process.finish(0)
    controller = JobController(training.platform, training.mlflow.tracking())
    for _ in range(3):
        await controller.pass_once()
    assert intervals(training.platform.database) == [(0, 20), (90, 120 if ended else None)]
    phases = [event["to_phase"] for event in training.api.get(f"/jobs/{number}/events", "sam").json()["items"]]
    assert phases.count("running") == 2


async def test_a_start_told_again_later_by_less_than_a_second_is_the_same_run(training: Training, cluster: FakeCluster) -> None:
    _, process = await a_running_job(training, cluster)
    process.started_at += timedelta(seconds=0.9)
    await training.passes()
    assert intervals(training.platform.database) == [(0, None)]


async def test_why_a_start_takes_long_is_told(training: Training, cluster: FakeCluster) -> None:
    number = training.submit()["id"]
    await training.passes()
    cluster.admit(f"job-{number}")
    cluster.lost[f"job-{number}"] = NOW
    await training.passes()
    assert training.job(number)["reason"] == "its node does not answer any more"
    assert intervals(training.platform.database) == []


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


async def test_each_node_has_its_log(training: Training, cluster: FakeCluster) -> None:
    number = training.submit(nodes=2)["id"]
    await training.passes()
    for node, process in enumerate(cluster.workloads[f"job-{number}"]):
        process.log += f"I am {node}\n".encode()
    log = f"/jobs/{number}/log"
    assert [training.api.get(log, "sam").text, training.api.get(f"{log}?node=1", "sam").text] == ["I am 0\n", "I am 1\n"]
    reply = training.api.get(f"{log}?node=2", "sam")
    assert (reply.status_code, reply.json()["detail"]) == (400, f"job {number} has no node 2; it has 2 nodes, 0 to 1")


async def test_several_nodes_need_a_cluster(platform: Platform, mlflow: FakeMlflow, tmp_path: Path) -> None:
    from ltai_hub.backends.fake import FakeBackend

    alone = make_training(platform, FakeBackend(), mlflow)
    reply = alone.api.post("/jobs", "sam", json={"name": "x", "command": ["true"], "nodes": 2})
    assert reply.status_code == 400
    assert reply.json()["detail"] == "this platform runs a job on one node and this asks for 2; several nodes need a cluster"


async def test_while_the_cluster_does_not_answer_jobs_are_shown_as_they_are_known(
    training: Training, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = training.submit()["id"]
    await training.passes()

    async def silent(_states: object) -> list[Observed]:
        raise TryLater("the cluster does not answer")

    monkeypatch.setattr(cluster, "observe", silent)
    assert training.job(number)["phase"] == "queued"
    assert [one["id"] for one in training.api.get("/jobs", "sam").json()["items"]] == [number]


# ---- several clusters


def a_zip(**files: str) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return base64.b64encode(packed.getvalue()).decode()


def of_a_later_zip(text: str) -> str:
    """As if it needed version 20 of the format."""
    packed = bytearray(base64.b64decode(text))
    packed[packed.index(b"PK\x01\x02") + 6] = 200
    return base64.b64encode(packed).decode()


async def test_a_job_that_may_run_anywhere_takes_its_folder_along(training: Training, cluster: FakeCluster) -> None:
    cluster.others = ("east",)
    folder = a_zip(train="print(1)")
    job = training.submit(anywhere=True, folder=folder)
    assert job["anywhere"]
    await training.passes()
    (workload,) = [process.workload for process in cluster.workloads[f"job-{job['id']}"]]
    assert workload.anywhere
    assert base64.b64encode(workload.folder).decode() == folder
    settings = training.platform.settings
    assert workload.env_elsewhere == {"MLFLOW_TRACKING_URI": f"{settings.public_url}/services/models/mlflow"}
    again = training.api.post(f"/jobs/{job['id']}/rerun", "sam").json()
    await training.passes()
    (second,) = [process.workload for process in cluster.workloads[f"job-{again['id']}"]]
    assert (second.anywhere, second.folder) == (True, workload.folder)


async def test_a_deleted_job_leaves_no_folder(training: Training, cluster: FakeCluster) -> None:
    cluster.others = ("east",)
    number = training.submit(anywhere=True, folder=a_zip(a="b"))["id"]
    training.api.post(f"/jobs/{number}/cancel", "sam")
    await training.passes()
    with training.platform.database.reading() as tx:
        assert store.folder_of(tx, number)
    assert training.api.delete(f"/jobs/{number}", "sam").status_code == 204
    with training.platform.database.reading() as tx:
        assert store.folder_of(tx, number) == b""


def test_how_far_a_job_can_spread(training: Training, cluster: FakeCluster) -> None:
    assert training.api.get("/spread", "sam").json() == {"most_nodes": 1024, "clusters": []}
    cluster.others = ("east", "west")
    assert training.api.get("/spread", "sam").json()["clusters"] == ["east", "west"]


def test_where_there_is_one_cluster_nothing_runs_anywhere(training: Training) -> None:
    reply = training.api.post("/jobs", "sam", json={**TRAIN, "anywhere": True})
    assert reply.status_code == 400
    assert reply.json()["detail"] == "this platform has one place where jobs run and no more clusters; submit the job without anywhere"


@pytest.mark.parametrize(
    ("folder", "anywhere", "sentence"),
    [
        (a_zip(a="b"), False, "a folder goes along only with a job that may run anywhere"),
        ("no zip", True, "folder is not a zip archive in base64"),
        (base64.b64encode(b"no zip").decode(), True, "folder is not a zip archive in base64"),
        (of_a_later_zip(a_zip(a="b")), True, "folder is not a zip archive in base64"),
        (a_zip(**{"..__up": "x"}), True, "leads out of it"),
        (a_zip(**{"__root": "x"}), True, "leads out of it"),
    ],
)
def test_a_folder_that_cannot_go_along_is_refused(
    training: Training, cluster: FakeCluster, folder: str, anywhere: bool, sentence: str
) -> None:
    cluster.others = ("east",)
    reply = training.api.post("/jobs", "sam", json={**TRAIN, "anywhere": anywhere, "folder": folder})
    assert reply.status_code == 400
    assert sentence in reply.json()["detail"]


def test_a_folder_is_small() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("noise", random.Random(1).randbytes(LARGEST + 1))
    with pytest.raises(BadInput, match="a job takes 256 KiB along at most"):
        read_folder(base64.b64encode(packed.getvalue()).decode())
    with zipfile.ZipFile(packed := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(LARGEST_UNPACKED + 1))
    with pytest.raises(BadInput, match="unpacked larger than 16 MiB"):
        read_folder(base64.b64encode(packed.getvalue()).decode())


async def test_a_cluster_that_does_not_answer_is_said_and_that_it_does_again(training: Training, cluster: FakeCluster) -> None:
    number = training.submit()["id"]
    await training.passes()
    cluster.admit(f"job-{number}")
    await training.passes()
    cluster.said[f"job-{number}"] = "cluster east does not answer since 2026-11-24 12:00:30 UTC"
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["reason"]) == ("running", "cluster east does not answer since 2026-11-24 12:00:30 UTC")
    cluster.said.clear()
    await training.passes()
    assert (training.job(number)["phase"], training.job(number)["reason"]) == ("running", "")
    assert len(intervals(training.platform.database)) == 1


class OneNamespaceIsSilent(FakeCluster):
    """That of the job ``silent``."""

    silent = ""

    async def only_wait(self, states: Sequence[State]) -> list[bool]:
        return [state.get("name") == self.silent for state in states]

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        seen = await super().observe(states)
        if self.silent in [state.get("name") for state in states]:
            told = [None if state.get("name") == self.silent else one for state, one in zip(states, seen, strict=True)]
            raise PartlySeen("the cluster does not say what jobsets there are", told)
        return seen


async def test_what_cannot_be_looked_at_holds_up_nobody_else(platform: Platform, mlflow: FakeMlflow) -> None:
    cluster = OneNamespaceIsSilent()
    training = make_training(platform, cluster, mlflow)
    numbers = [training.submit()["id"] for _ in range(2)]
    await training.passes()
    cluster.silent = f"job-{numbers[0]}"
    for number in numbers:
        cluster.admit(f"job-{number}")
    await training.passes()
    assert [training.job(number)["phase"] for number in numbers] == ["queued", "running"]
    cluster.silent = ""
    await training.passes()
    assert training.job(numbers[0])["phase"] == "running"
