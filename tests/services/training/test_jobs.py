"""A job from submit to its end, with a backend, an MLflow and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from ltai_services.training import store
from ltai_services.training.api import make_router
from ltai_services.training.controller import JobController
from ltai_services.training.service import TrainingService

from ltai_hub.backends.base import Observed, State
from ltai_hub.backends.fake import FakeBackend, FakeProcess
from ltai_hub.db.engine import Database
from ltai_hub.domain.workloads import Kind, Workload
from ltai_hub.errors import BadWorkload, NoCapacity
from ltai_hub.metering import store as metering
from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_hub.tenancy import store as tenancy
from tests.factories import NOW
from tests.services.fake_mlflow import FakeMlflow
from tests.services.platform import Api, an_api

TRAIN = {"name": "digits", "command": ["python", "train.py", "--lr", "0.1"]}


@dataclass
class Training:
    api: Api
    controller: JobController
    backend: FakeBackend
    mlflow: FakeMlflow
    platform: Platform
    seconds: float = 0

    async def passes(self, number: int = 3) -> None:
        for _ in range(number):
            await self.controller.pass_once()
            await self.controller.settle()

    def submit(self, who: str = "sam", **fields: Any) -> dict[str, Any]:
        reply = self.api.post("/jobs", who, json={**TRAIN, **fields})
        assert reply.status_code == 201, reply.text
        job: dict[str, Any] = reply.json()
        return job

    def job(self, number: int, who: str = "sam") -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/jobs/{number}", who).json()
        return found

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def training(platform: Platform, backend: FakeBackend, mlflow: FakeMlflow) -> Training:
    return make_training(platform, backend, mlflow)


def make_training(platform: Platform, backend: FakeBackend, mlflow: FakeMlflow) -> Training:
    made: list[Training] = []

    def clock() -> Any:
        return NOW + timedelta(seconds=made[0].seconds if made else 0)

    platform = replace(platform, backend=backend, clock=clock)
    backend.clock = clock
    tracking = mlflow.tracking()
    controller = JobController(platform, tracking)
    service = TrainingService(platform, tracking, controller.poke, controller.way)
    spec = ServiceSpec("training", "jobs", lambda _: Parts(make_router(service), (controller,)))
    made.append(Training(an_api(spec, platform), controller, backend, mlflow, platform))
    return made[0]


def intervals(database: Database) -> list[tuple[float, float | None]]:
    with database.reading() as tx:
        found = metering.intervals(tx, NOW - timedelta(days=1), NOW + timedelta(days=1))
    return [((i.started_at - NOW).total_seconds(), (i.ended_at - NOW).total_seconds() if i.ended_at else None) for i in found]


async def test_a_job_runs_succeeds_and_is_metered_to_the_second(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    assert training.job(number)["phase"] == "running"
    training.wait(90)
    training.backend.finish(f"job-{number}", 0)
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["exit_code"], job["duration_seconds"]) == ("succeeded", 0, 90)
    assert job["cost_micro"] >= 0
    assert intervals(training.platform.database) == [(0, 90)]
    phases = [event["to_phase"] for event in training.api.get(f"/jobs/{number}/events", "sam").json()["items"]]
    assert phases == ["succeeded", "running", "starting", "queued"]


async def test_a_job_that_ends_before_it_is_seen_running_is_metered_all_the_same(training: Training) -> None:
    training.backend.program = lambda process: process.finish(3)
    number = training.submit()["id"]
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["exit_code"], job["reason"]) == ("failed", 3, "exit code 3")
    assert intervals(training.platform.database) == [(0, 0)]


async def test_a_pass_that_looked_too_early_starts_nothing_twice(training: Training) -> None:
    number = training.submit()["id"]
    with training.platform.database.reading() as tx:
        early = store.get(tx, number)
    await training.passes()
    training.controller._begin_start(early)
    await training.passes()
    assert training.job(number)["phase"] == "running"
    assert len(training.mlflow.runs) == 1


async def test_a_job_is_an_mlflow_run_with_its_lineage(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    env = training.backend.workloads[f"job-{number}"][0].workload.env
    run = training.mlflow.runs[env["MLFLOW_RUN_ID"]]
    assert run["workspace"] == env["MLFLOW_WORKSPACE"] == "ml"
    assert env["MLFLOW_TRACKING_URI"].endswith("/services/models/mlflow")
    token = training.platform.workload_tokens.make(Kind.JOB, str(number), "sam", ["models", "training"])
    assert (env["MLFLOW_TRACKING_TOKEN"], env["LTAI_JOB"]) == (token, str(number))
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["ltai.job"] == str(number)
    assert tags["ltai.command"] == "python train.py --lr 0.1"
    assert tags["mlflow.user"] == tags["ltai.user"] == "sam"
    assert training.job(number)["run_url"].endswith(f"/runs/{env['MLFLOW_RUN_ID']}?workspace=ml")


async def test_the_token_of_a_job_opens_models_and_training_only_and_ends_with_the_job(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    tokens = training.platform.workload_tokens
    token = training.backend.workloads[f"job-{number}"][0].workload.env["LTAI_TOKEN"]
    caller = tokens.caller(token)
    assert caller is not None
    assert (caller.name, caller.admin) == ("sam", False)
    assert caller.scopes == {"access:services!service=models", "access:services!service=training"}
    training.backend.finish(f"job-{number}", 0)
    await training.passes()
    assert tokens.caller(token) is None


@pytest.mark.parametrize(("exit_code", "status"), [(0, "FINISHED"), (1, "FAILED")])
async def test_the_run_ends_with_the_job(training: Training, exit_code: int, status: str) -> None:
    training.backend.program = lambda process: process.finish(exit_code)
    training.submit()
    await training.passes()
    assert [run["info"]["status"] for run in training.mlflow.runs.values()] == [status]


async def test_a_run_the_users_code_has_ended_is_left_as_it_is(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    training.mlflow.runs["run1"]["info"]["status"] = "FINISHED"
    training.backend.finish(f"job-{number}", 1)
    await training.passes()
    assert training.mlflow.runs["run1"]["info"]["status"] == "FINISHED"


async def test_a_job_waits_while_mlflow_is_down_and_says_so(training: Training) -> None:
    training.mlflow.down = True
    number = training.submit()["id"]
    await training.passes()
    job = training.job(number)
    assert job["phase"] == "queued"
    assert "MLflow" in job["reason"]
    training.mlflow.down = False
    training.controller._not_before.clear()
    await training.passes()
    assert training.job(number)["phase"] == "running"


async def test_a_run_that_could_not_be_ended_is_ended_later(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    training.mlflow.down = True
    training.backend.finish(f"job-{number}", 0)
    await training.passes()
    assert training.job(number)["phase"] == "succeeded"
    training.mlflow.down = False
    training.controller._not_before.clear()
    await training.passes()
    assert training.mlflow.runs["run1"]["info"]["status"] == "FINISHED"


async def test_a_job_over_quota_is_refused_with_the_numbers(training: Training) -> None:
    with training.platform.database.transaction() as tx:
        tenancy.put_quota(tx, tenancy.get_tenant(tx, "physics"), "", "cpu", 0.5)
    reply = training.api.post("/jobs", "sam", json=TRAIN)
    assert reply.status_code == 409
    assert reply.json()["code"] == "over-quota"
    assert "0.5 cores" in reply.json()["detail"]
    assert training.api.get("/jobs", "sam").json()["total"] == 0


async def test_a_second_job_queues_with_its_position_and_starts_when_the_first_ends(training: Training) -> None:
    first = training.submit()["id"]
    cpu = training.platform.catalog.get_flavor(training.job(first)["flavor"]).resources.cpu
    with training.platform.database.transaction() as tx:
        tenancy.put_quota(tx, tenancy.get_tenant(tx, "ml"), "*", "cpu", cpu)
    second = training.submit()["id"]
    await training.passes()
    job = training.job(second)
    assert (job["phase"], job["queue_position"]) == ("queued", 1)
    assert "left" in job["reason"]
    training.backend.finish(f"job-{first}", 0)
    await training.passes()
    assert training.job(second)["phase"] == "running"


async def test_a_queued_job_is_cancelled_at_once(training: Training) -> None:
    number = training.submit()["id"]
    reply = training.api.post(f"/jobs/{number}/cancel", "sam")
    assert (reply.json()["phase"], reply.json()["reason"]) == ("cancelled", "cancelled by sam")
    await training.passes()
    assert training.backend.workloads == {}
    assert training.api.post(f"/jobs/{number}/cancel", "sam").status_code == 409


async def test_a_running_job_is_stopped_and_then_cancelled(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    training.wait(5)
    assert training.api.post(f"/jobs/{number}/cancel", "sam").json()["phase"] == "stopping"
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["reason"], job["exit_code"]) == ("cancelled", "cancelled by sam", 143)
    assert training.mlflow.runs["run1"]["info"]["status"] == "KILLED"
    assert intervals(training.platform.database) == [(0, 5)]


class CancelledMeanwhile(FakeBackend):
    """The person cancels while the backend is starting it."""

    training: Training

    async def start(self, workload: Workload) -> State:
        state = await super().start(workload)
        self.training.api.post(f"/jobs/{workload.name.removeprefix('job-')}/cancel", "sam")
        return state


async def test_a_job_cancelled_while_it_is_being_started_does_not_run_on(platform: Platform, mlflow: FakeMlflow) -> None:
    backend = CancelledMeanwhile()
    training = backend.training = make_training(platform, backend, mlflow)
    number = training.submit()["id"]
    await training.passes()
    assert training.job(number)["phase"] == "cancelled"
    assert backend.workloads[f"job-{number}"][0].exit_code == 143
    assert intervals(platform.database) == []


async def test_a_job_is_stopped_after_the_longest_time_its_profile_allows(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    with training.platform.database.transaction() as tx:
        from ltai_services.training import store

        store.change(tx, number, max_seconds=60)
    training.wait(61)
    await training.passes()
    job = training.job(number)
    assert job["phase"] == "failed"
    assert job["reason"] == "stopped after 60 s, the most its profile allows"


class FullMachine(FakeBackend):
    full = True

    async def start(self, workload: Workload) -> State:
        if self.full:
            raise NoCapacity("2 GPUs asked for, 0 of 2 free; it starts when others end")
        return await super().start(workload)


async def test_a_job_without_a_free_accelerator_stays_queued_with_the_reason(platform: Platform, mlflow: FakeMlflow) -> None:
    backend = FullMachine()
    training = make_training(platform, backend, mlflow)
    number = training.submit()["id"]
    await training.passes()
    assert (training.job(number)["phase"], training.job(number)["reason"][:6]) == ("queued", "2 GPUs")
    backend.full = False
    training.controller._not_before.clear()
    await training.passes()
    assert training.job(number)["phase"] == "running"
    assert len(mlflow.runs) == 1


class Refusing(FakeBackend):
    async def start(self, workload: Workload) -> State:
        raise BadWorkload("there is no folder digits in the home")


async def test_a_job_the_backend_refuses_has_failed_with_its_words(platform: Platform, mlflow: FakeMlflow) -> None:
    training = make_training(platform, Refusing(), mlflow)
    number = training.submit()["id"]
    await training.passes()
    assert (training.job(number)["phase"], training.job(number)["reason"]) == ("failed", "there is no folder digits in the home")
    assert mlflow.runs["run1"]["info"]["status"] == "FAILED"


class Broken(FakeBackend):
    async def start(self, workload: Workload) -> State:
        raise RuntimeError("nobody expected this")


async def test_a_start_that_breaks_is_not_tried_for_ever(platform: Platform, mlflow: FakeMlflow) -> None:
    training = make_training(platform, Broken(), mlflow)
    number = training.submit()["id"]
    await training.passes()
    assert training.job(number)["phase"] == "failed"


async def test_a_job_that_ended_while_the_platform_was_down_has_its_own_end_on_the_bill(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    training.wait(30)
    training.backend.finish(f"job-{number}", 0)
    training.wait(3600)
    after_restart = JobController(training.platform, training.mlflow.tracking())
    await after_restart.pass_once()
    assert training.job(number)["phase"] == "succeeded"
    assert intervals(training.platform.database) == [(0, 30)]


async def test_a_start_cut_short_by_a_crash_is_not_a_second_job(training: Training) -> None:
    number = training.submit()["id"]
    started: list[str] = []
    training.backend.program = lambda process: started.append(process.workload.name)
    training.controller._record_start = lambda job, state: True  # type: ignore[method-assign]  # killed before the row was written
    await training.controller.pass_once()
    await training.controller.settle()
    after_restart = JobController(training.platform, training.mlflow.tracking())
    await after_restart.pass_once()
    await after_restart.settle()
    await after_restart.pass_once()
    assert started == [f"job-{number}"]
    assert training.job(number)["phase"] == "running"
    assert len(training.mlflow.runs) == 1


async def test_a_job_that_was_made_but_not_noted_does_not_run_on_when_it_is_cancelled(training: Training) -> None:
    number = training.submit()["id"]
    training.controller._record_start = lambda job, state: True  # type: ignore[method-assign]  # killed before the row was written
    await training.controller.pass_once()
    await training.controller.settle()
    assert training.api.post(f"/jobs/{number}/cancel", "sam").json()["phase"] == "cancelled"
    after_restart = JobController(training.platform, training.mlflow.tracking())
    await after_restart.pass_once()
    assert training.backend.workloads[f"job-{number}"][0].exit_code == 143
    assert training.mlflow.runs["run1"]["info"]["status"] == "KILLED"
    # also its log goes with it
    training.api.call("DELETE", f"/jobs/{number}", "sam")
    assert training.backend.workloads == {}


async def test_a_job_lost_with_its_machine_is_charged_until_it_was_last_seen(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    training.wait(20)
    await training.passes(1)
    training.wait(1000)
    training.backend.vanish(f"job-{number}")
    await training.passes()
    job = training.job(number)
    assert job["phase"] == "failed"
    assert "gone" in job["reason"]
    assert intervals(training.platform.database) == [(0, 20)]


class SawNoEnd(FakeBackend):
    """The machine was restarted: its folder is there, its end was not written."""

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        return [replace(seen, ended_at=None) for seen in await super().observe(states)]


async def test_a_job_whose_end_nobody_saw_is_charged_until_it_was_last_seen(platform: Platform, mlflow: FakeMlflow) -> None:
    training = make_training(platform, SawNoEnd(), mlflow)
    number = training.submit()["id"]
    await training.passes()
    training.wait(20)
    await training.passes(1)
    training.wait(1000)
    training.backend.finish(f"job-{number}", 137, "the machine was restarted")
    await training.passes()
    job = training.job(number)
    assert (job["phase"], job["reason"], job["duration_seconds"]) == ("failed", "the machine was restarted", 20)
    assert intervals(training.platform.database) == [(0, 20)]


def test_a_job_that_can_never_run_here_is_refused_at_once(training: Training) -> None:
    reply = training.api.post("/jobs", "sam", json={**TRAIN, "profile": "gpu-intro"})
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-workload")
    assert reply.json()["detail"] == "this machine has no simulated-gpu; it has no accelerator; choose another flavor"
    assert training.api.get("/jobs", "sam").json()["total"] == 0


async def test_running_again_what_can_no_longer_run_here_is_refused(training: Training) -> None:
    training.backend.accelerator_count = 1
    number = training.submit(profile="gpu-intro")["id"]
    training.backend.accelerator_count = 0
    reply = training.api.post(f"/jobs/{number}/rerun", "sam")
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-workload")


def writes(text: str) -> Any:
    def program(process: FakeProcess) -> None:
        process.log += text.encode()
        process.finish(0)

    return program


async def test_the_log_is_kept_and_read_from_an_offset(training: Training) -> None:
    training.backend.program = writes("epoch 1 ✓\nepoch 2\n")
    number = training.submit()["id"]
    await training.passes()
    assert training.api.get(f"/jobs/{number}/log", "sam").text == "epoch 1 ✓\nepoch 2\n"
    assert training.api.get(f"/jobs/{number}/log?offset=12&follow=true", "sam").text == "epoch 2\n"
    assert training.api.get(f"/jobs/{number}/log?offset=-1", "sam").status_code == 400


async def test_a_job_runs_again_as_a_new_one(training: Training) -> None:
    training.backend.program = writes("")
    number = training.submit(cwd="digits", env={"EPOCHS": "3"})["id"]
    await training.passes()
    again = training.api.post(f"/jobs/{number}/rerun", "sam").json()
    assert (again["rerun_of"], again["attempt"], again["phase"]) == (number, 2, "queued")
    assert (again["command"], again["cwd"], again["env"]) == (TRAIN["command"], "digits", {"EPOCHS": "3"})


async def test_an_ended_job_can_be_deleted_and_a_running_one_not(training: Training) -> None:
    number = training.submit()["id"]
    await training.passes()
    assert training.api.delete(f"/jobs/{number}", "sam").status_code == 409
    training.backend.finish(f"job-{number}", 0)
    await training.passes()
    assert training.api.delete(f"/jobs/{number}", "sam").status_code == 204
    assert training.api.get(f"/jobs/{number}", "sam").status_code == 404
    assert intervals(training.platform.database) == [(0, 0)]


async def test_metrics_and_models_come_from_the_run(training: Training) -> None:
    number = training.submit()["id"]
    assert training.api.get(f"/jobs/{number}/metrics", "sam").json() == {"metrics": {}, "params": {}, "models": []}
    await training.passes()
    training.mlflow.runs["run1"]["data"] |= {"metrics": [{"key": "accuracy", "value": 0.97}], "params": [{"key": "lr", "value": "0.1"}]}
    training.mlflow.log_model("ml", "run1")
    found = training.api.get(f"/jobs/{number}/metrics", "sam").json()
    assert (found["metrics"], found["params"]) == ({"accuracy": 0.97}, {"lr": "0.1"})
    assert [model["model_id"] for model in found["models"]] == ["m-0a1b"]


async def test_only_staff_sees_and_cancels_the_jobs_of_others(training: Training) -> None:
    number = training.submit()["id"]
    assert training.api.get("/jobs", "sue").json()["total"] == 0
    assert training.api.get(f"/jobs/{number}", "sue").status_code == 403
    assert training.api.get(f"/jobs/{number}", "eve").status_code in (403, 404)
    assert training.api.get(f"/jobs/{number}/log", "sue").status_code == 403
    assert training.api.post(f"/jobs/{number}/cancel", "sue").status_code == 403
    assert training.api.get("/jobs?tenant=physics", "tina").json()["total"] == 1
    assert training.api.post(f"/jobs/{number}/cancel", "tina").json()["reason"] == "cancelled by tina"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cwd": "../bob"}, "outside your home"),
        ({"cwd": "/etc"}, "outside your home"),
        ({"cwd": "a/../../b"}, "outside your home"),
        ({"command": []}, "command"),
        ({"command": ["  "]}, "command is empty"),
        ({"command": ["python", "a\0b"]}, "NUL"),
        ({"command": "python train.py"}, "list"),
        ({"command": ["python", *["x" * 30_000] * 6]}, "128 KiB"),
        ({"env": {"MLFLOW_RUN_ID": "x"}}, "MLFLOW_RUN_ID"),
        ({"env": {"A B": "x"}}, "environment variable"),
        ({"name": ""}, "empty"),
        ({"name": "x" * 300}, "300 characters"),
        ({"name": "a\x07b"}, "control character"),
        ({"profile": "../x"}, "not assigned"),
        ({"image": "nonsense"}, "nonsense"),
        ({"flavor": "nonsense"}, "nonsense"),
        ({"tenant": "<script>"}, "no tenant"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(training: Training, fields: dict[str, Any], words: str) -> None:
    reply = training.api.post("/jobs", "sam", json={**TRAIN, **fields})
    assert reply.status_code in (400, 403, 404)
    assert words in reply.json()["detail"] + str(reply.json().get("errors", ""))
    assert training.api.get("/jobs", "sam").json()["total"] == 0


@pytest.mark.parametrize("name", ["数字识别 ✓", "🚀 run", 'it\'s "quoted"', "<script>alert(1)</script>", "../up", "x" * 200])
async def test_any_text_can_be_the_name_of_a_job(training: Training, name: str) -> None:
    number = training.submit(name=name)["id"]
    await training.passes()
    assert training.job(number)["name"] == name
    assert training.job(number)["phase"] == "running"


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "abc", "7"])
def test_a_job_that_is_not_there_is_named_so(training: Training, number: str) -> None:
    reply = training.api.get(f"/jobs/{number}", "sam")
    assert reply.status_code in (400, 404)
    assert reply.headers["content-type"] == "application/problem+json"
