"""Endpoints with a backend, an MLflow, a proxy and a clock of the test's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from ltai_services.serving.api import make_router
from ltai_services.serving.controller import EndpointController
from ltai_services.serving.service import ServingService
from ltai_services.serving.workload import hash_token, platform_token

from ltai_hub.backends.base import Observed, State
from ltai_hub.backends.fake import FakeBackend, FakeProcess
from ltai_hub.domain.workloads import Phase, Workload
from ltai_hub.errors import BadWorkload, NoCapacity
from ltai_hub.metering import store as metering
from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_hub.tenancy import store as tenancy
from tests.factories import NOW
from tests.services.fake_mlflow import FakeMlflow
from tests.services.platform import Api, an_api

NEW = {"name": "digits", "model": "digits", "version": "1"}
PATH = "/endpoints/ml/digits"


class LoadingBackend(FakeBackend):
    """An instance is ready when ``loaded`` is called for it (at once when ``quick``); all of an endpoint share a port."""

    def __init__(self, quick: bool = True) -> None:
        super().__init__()
        self.quick = quick
        self.ready: set[str] = set()

    async def start(self, workload: Workload) -> State:
        state = await super().start(workload)
        for process in self.workloads[workload.name]:
            process.port = 40_000 + int(workload.env["LTAI_ENDPOINT"])
        if self.quick:
            self.ready.add(workload.name)
        return state

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        return [self.not_yet(state["name"], seen) for state, seen in zip(states, await super().observe(states), strict=True)]

    def not_yet(self, name: str, seen: Observed) -> Observed:
        if seen.phase is Phase.RUNNING and name not in self.ready:
            return replace(seen, phase=Phase.STARTING, addresses=())
        return seen

    def running(self) -> list[str]:
        return sorted(name for name, group in self.workloads.items() if any(process.exit_code is None for process in group))


@dataclass
class Serving:
    api: Api
    controller: EndpointController
    backend: LoadingBackend
    mlflow: FakeMlflow
    platform: Platform
    asked: list[httpx.Request]
    seconds: float = 0

    async def passes(self, number: int = 4) -> None:
        for _ in range(number):
            await self.controller.pass_once()
            await self.controller.settle()

    def create(self, who: str = "sam", **fields: Any) -> dict[str, Any]:
        reply = self.api.post("/endpoints", who, json={**NEW, **fields})
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    def show(self, number: int, who: str = "sam") -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/endpoints/{number}", who).json()
        return found

    def patch(self, number: int, **fields: Any) -> Any:
        return self.api.call("PATCH", f"/endpoints/{number}", "sam", json=fields)

    @property
    def routes(self) -> dict[str, str]:
        table: dict[str, str] = self.platform.proxy.table  # type: ignore[attr-defined]
        return table

    def env(self, name: str) -> dict[str, str]:
        return dict(self.backend.workloads[name][0].workload.env)

    def intervals(self) -> list[tuple[float, float | None, int]]:
        with self.platform.database.reading() as tx:
            found = metering.intervals(tx, NOW - timedelta(days=1), NOW + timedelta(days=9))
        return [
            ((i.started_at - NOW).total_seconds(), (i.ended_at - NOW).total_seconds() if i.ended_at else None, i.replicas) for i in found
        ]


def make_serving(platform: Platform, backend: LoadingBackend, mlflow: FakeMlflow) -> Serving:
    made: list[Serving] = []
    asked: list[httpx.Request] = []

    def clock() -> Any:
        return NOW + timedelta(seconds=made[0].seconds if made else 0)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if b"bad" in request.content:
            return httpx.Response(400, json={"detail": "the file is no picture"})
        return httpx.Response(200, json={"predictions": [7], "outputs": [], "milliseconds": 1.5})

    platform = replace(platform, backend=backend, clock=clock, settings=platform.settings.model_copy(update={"signing_key": "ab" * 32}))
    backend.clock = clock
    tracking = mlflow.tracking()
    controller = EndpointController(platform, tracking)
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    service = ServingService(platform, tracking, controller.poke, client)
    spec = ServiceSpec("serving", "endpoints", lambda _: Parts(make_router(service), (controller,)))
    made.append(Serving(an_api(spec, platform), controller, backend, mlflow, platform, asked))
    for number in (1, 2):
        tags = [{"key": "ltai.image", "value": "scikit-learn"}]
        version = {"name": "digits", "version": str(number), "source": f"models:/m-0{number}", "run_id": "", "tags": tags}
        mlflow.versions.append({**version, "workspace": "ml", "creation_timestamp": number})
    return made[0]


@pytest.fixture
def serving(platform: Platform, mlflow: FakeMlflow) -> Serving:
    return make_serving(platform, LoadingBackend(), mlflow)


async def test_an_endpoint_starts_answers_at_its_address_and_is_metered(serving: Serving) -> None:
    made = serving.create()
    assert (made["phase"], made["address"], made["image"]) == ("queued", PATH, "scikit-learn")
    await serving.passes()
    endpoint = serving.show(made["id"])
    assert (endpoint["phase"], endpoint["ready_instances"]) == ("running", 1)
    assert endpoint["infer_url"].endswith(f"{PATH}/v2/models/digits/infer")
    assert endpoint["signature"]["inputs"][0]["tensor-spec"]["shape"] == [-1, 64]
    assert serving.routes == {PATH: "http://127.0.0.1:40001"}
    serving.seconds = 100
    serving.api.post(f"/endpoints/{made['id']}/stop", "sam")
    await serving.passes()
    assert serving.show(made["id"])["phase"] == "stopped"
    assert serving.intervals() == [(0, 100, 1)]
    assert serving.routes == {}


async def test_the_token_is_shown_once_and_only_its_hash_reaches_the_instance(serving: Serving) -> None:
    made = serving.create()
    await serving.passes()
    env = serving.env("endpoint-1-1-0-1")
    assert made["token"] not in json.dumps(env)
    key = hash_token(platform_token("ab" * 32, 1))
    assert env["LTAI_TOKEN_HASHES"] == f"{hashlib.sha256(made['token'].encode()).hexdigest()},{key}"
    assert "token" not in serving.show(made["id"])
    assert (env["MODEL_URI"], env["LTAI_PREFIX"], env["MLFLOW_WORKSPACE"]) == ("models:/m-01", PATH, "ml")


async def test_a_starting_endpoint_costs_nothing_and_has_no_address_yet(platform: Platform, mlflow: FakeMlflow) -> None:
    serving = make_serving(platform, LoadingBackend(quick=False), mlflow)
    number = serving.create()["id"]
    await serving.passes()
    assert serving.show(number)["phase"] == "starting"
    assert (serving.routes, serving.intervals()) == ({}, [])
    serving.seconds = 20
    serving.backend.ready.add("endpoint-1-1-0-1")
    await serving.passes()
    assert serving.show(number)["phase"] == "running"
    assert serving.intervals() == [(20, None, 1)]


async def test_stopping_while_it_starts_costs_nothing(platform: Platform, mlflow: FakeMlflow) -> None:
    serving = make_serving(platform, LoadingBackend(quick=False), mlflow)
    number = serving.create()["id"]
    await serving.passes()
    serving.api.post(f"/endpoints/{number}/stop", "sam")
    await serving.passes()
    assert (serving.show(number)["phase"], serving.intervals(), serving.backend.running()) == ("stopped", [], [])


async def test_instances_scale_up_and_down_behind_one_address_and_are_charged(serving: Serving) -> None:
    number = serving.create(instances=2)["id"]
    await serving.passes()
    assert serving.show(number)["ready_instances"] == 2
    assert serving.env("endpoint-1-1-0-1")["LTAI_PORT_GROUP"] == serving.env("endpoint-1-1-1-1")["LTAI_PORT_GROUP"]
    serving.seconds = 10
    assert serving.patch(number, instances=3).status_code == 200
    await serving.passes()
    assert serving.backend.running() == ["endpoint-1-1-0-1", "endpoint-1-1-1-1", "endpoint-1-1-2-1"]
    serving.seconds = 30
    serving.patch(number, instances=1)
    await serving.passes()
    assert serving.backend.running() == ["endpoint-1-1-0-1"]
    assert serving.intervals() == [(0, 10, 2), (10, 30, 3), (30, None, 1)]
    assert len(serving.routes) == 1


async def test_scaling_over_the_quota_is_refused_and_nothing_changes(serving: Serving) -> None:
    number = serving.create()["id"]
    await serving.passes()
    with serving.platform.database.transaction() as tx:
        tenancy.put_quota(tx, tenancy.get_tenant(tx, "ml"), "", "cpu", 2)
    reply = serving.patch(number, instances=16)
    assert reply.status_code == 409
    await serving.passes()
    assert (serving.show(number)["instances"], serving.show(number)["phase"]) == (1, "running")


async def test_another_version_is_ready_before_the_old_one_goes(platform: Platform, mlflow: FakeMlflow) -> None:
    serving = make_serving(platform, LoadingBackend(quick=False), mlflow)
    serving.backend.ready.add("endpoint-1-1-0-1")
    number = serving.create()["id"]
    await serving.passes()
    assert serving.patch(number, version="2").json()["version"] == "2"
    await serving.passes()
    assert serving.backend.running() == ["endpoint-1-1-0-1", "endpoint-1-2-0-1"]
    assert serving.show(number)["phase"] == "running"
    serving.backend.ready.add("endpoint-1-2-0-1")
    await serving.passes()
    assert serving.backend.running() == ["endpoint-1-2-0-1"]
    assert serving.env("endpoint-1-2-0-1")["MODEL_VERSION"] == "2"
    assert serving.intervals() == [(0, None, 1)]


async def test_a_version_that_does_not_start_leaves_the_old_one_in_place(serving: Serving) -> None:
    number = serving.create()["id"]
    await serving.passes()
    serving.backend.program = fails("ModuleNotFoundError: No module named 'torch'")
    serving.patch(number, version="2")
    for _ in range(6):
        serving.seconds += 70
        await serving.passes(2)
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["version"]) == ("running", "1")
    assert "version 2 does not start" in endpoint["reason"]
    assert "No module named 'torch'" in endpoint["reason"]
    assert serving.backend.running() == ["endpoint-1-1-0-1"]


def fails(text: str) -> Any:
    def program(process: FakeProcess) -> None:
        process.log += f"loading\n{text}\n".encode()
        process.finish(3)

    return program


async def test_after_three_quick_failures_it_has_failed_with_its_last_log_lines(serving: Serving) -> None:
    serving.backend.program = fails("models:/m-01 could not be loaded: no such file")
    number = serving.create()["id"]
    for _ in range(4):
        await serving.passes(2)
        serving.seconds += 5
    endpoint = serving.show(number)
    assert endpoint["phase"] == "failed"
    assert "could not be loaded: no such file" in endpoint["reason"]
    assert len(serving.backend.workloads) == 3
    assert serving.intervals() == []
    assert serving.api.post(f"/endpoints/{number}/start", "sam").json()["phase"] == "queued"


async def test_a_failing_instance_waits_before_it_is_started_again(serving: Serving) -> None:
    serving.backend.program = fails("x")
    serving.create()
    await serving.passes(6)
    assert len(serving.backend.workloads) == 1
    serving.seconds = 1.5
    await serving.passes(6)
    assert len(serving.backend.workloads) == 2


async def test_an_instance_that_dies_after_a_long_run_is_replaced(serving: Serving) -> None:
    number = serving.create()["id"]
    await serving.passes()
    serving.seconds = 5000
    serving.backend.finish("endpoint-1-1-0-1", 137, "killed: over its memory limit of 1 GiB")
    await serving.passes(1)
    endpoint = serving.show(number)
    assert endpoint["phase"] == "starting"
    assert "over its memory limit" in endpoint["reason"]
    serving.seconds = 5002
    await serving.passes()
    assert serving.show(number)["phase"] == "running"
    assert serving.backend.running() == ["endpoint-1-1-0-2"]
    assert [end for _, end, _ in serving.intervals()] == [5000, None]


class Refusing(LoadingBackend):
    async def start(self, workload: Workload) -> State:
        raise BadWorkload("the image scikit-learn is not there")


async def test_what_the_backend_refuses_has_failed_at_once(platform: Platform, mlflow: FakeMlflow) -> None:
    serving = make_serving(platform, Refusing(), mlflow)
    number = serving.create()["id"]
    await serving.passes()
    assert serving.show(number)["phase"] == "failed"
    assert "not there" in serving.show(number)["reason"]


class NoRoomForTwo(LoadingBackend):
    async def start(self, workload: Workload) -> State:
        if self.running():
            raise NoCapacity("1 GPU asked for, 0 of 1 free")
        return await super().start(workload)


async def test_an_update_without_room_for_both_stops_the_old_one_first(platform: Platform, mlflow: FakeMlflow) -> None:
    serving = make_serving(platform, NoRoomForTwo(), mlflow)
    number = serving.create()["id"]
    await serving.passes()
    serving.patch(number, version="2")
    for _ in range(3):
        await serving.passes(2)
        serving.controller._not_before.clear()
    assert serving.backend.running() == ["endpoint-1-2-0-1"]
    assert serving.show(number)["phase"] == "running"


async def test_it_stops_by_itself_after_its_run_duration(serving: Serving) -> None:
    number = serving.create(max_seconds=60)["id"]
    await serving.passes()
    assert serving.show(number)["stops_at"].startswith("2026-11-24T12:01:00")
    serving.seconds = 61
    await serving.passes()
    endpoint = serving.show(number)
    assert (endpoint["phase"], endpoint["reason"]) == ("stopped", "stopped after 60 s, as asked for")


async def test_a_new_token_replaces_the_instances_and_the_old_token_dies(serving: Serving) -> None:
    made = serving.create()
    await serving.passes()
    renewed = serving.api.post(f"/endpoints/{made['id']}/token", "sam").json()
    assert renewed["token"] != made["token"]
    await serving.passes()
    assert serving.backend.running() == ["endpoint-1-2-0-1"]
    hashes = serving.env("endpoint-1-2-0-1")["LTAI_TOKEN_HASHES"]
    assert hash_token(renewed["token"]) in hashes
    assert hash_token(made["token"]) not in hashes


async def test_a_deleted_endpoint_is_gone_and_its_address_free(serving: Serving) -> None:
    number = serving.create()["id"]
    await serving.passes()
    assert serving.api.delete(f"/endpoints/{number}", "sam").status_code == 204
    assert serving.api.get(f"/endpoints/{number}", "sam").status_code == 404
    await serving.passes()
    assert (serving.backend.running(), serving.routes) == ([], {})
    assert serving.intervals()[0][1] == 0
    assert serving.create()["id"] != number


async def test_everything_is_found_again_after_the_platform_was_killed(serving: Serving) -> None:
    number = serving.create(instances=2)["id"]
    await serving.passes()
    serving.routes.clear()  # the proxy lost its table too
    serving.routes["/endpoints/ml/long-gone"] = "http://127.0.0.1:1"
    after_restart = EndpointController(serving.platform, serving.mlflow.tracking())
    for _ in range(3):
        await after_restart.pass_once()
        await after_restart.settle()
    assert serving.show(number)["phase"] == "running"
    assert len(serving.backend.workloads) == 2
    assert serving.routes == {PATH: "http://127.0.0.1:40001"}
    assert serving.intervals() == [(0, None, 2)]


async def test_an_instance_that_was_made_but_not_noted_does_not_run_on_when_it_is_stopped(serving: Serving) -> None:
    number = serving.create()["id"]
    serving.controller._record_start = lambda *_: True  # type: ignore[method-assign]  # killed before the row was written
    await serving.passes(1)
    assert serving.backend.running() == ["endpoint-1-1-0-1"]
    serving.api.post(f"/endpoints/{number}/stop", "sam")
    after_restart = EndpointController(serving.platform, serving.mlflow.tracking())
    for _ in range(3):
        await after_restart.pass_once()
    assert serving.backend.running() == []
    assert serving.show(number)["phase"] == "stopped"


async def test_hours_in_which_the_platform_and_its_instances_were_stopped_are_not_charged(serving: Serving) -> None:
    number = serving.create()["id"]
    await serving.passes()
    for hour in (1, 2, 3, 4):
        serving.seconds += 30
        serving.backend.finish(serving.backend.running()[0], 143, "the platform was stopped")
        serving.seconds = hour * 3600
        await serving.passes(2)
        serving.seconds += 5
        await serving.passes()
    assert serving.show(number)["phase"] == "running"
    assert serving.intervals()[:2] == [(0, 30, 1), (3600, 3635, 1)]


class SawNoEnd(LoadingBackend):
    """The machine was restarted: nothing tells when it went down."""

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        return [replace(seen, ended_at=None) for seen in await super().observe(states)]


async def test_an_endpoint_lost_with_its_machine_is_charged_until_it_was_last_seen(platform: Platform, mlflow: FakeMlflow) -> None:
    serving = make_serving(platform, SawNoEnd(), mlflow)
    number = serving.create()["id"]
    await serving.passes()
    serving.seconds += 300
    await serving.passes()
    serving.seconds += 7200
    (name,) = serving.backend.running()
    serving.backend.finish(name, 137, "the machine was restarted")
    await serving.passes()
    assert serving.show(number)["phase"] == "running"
    assert serving.intervals() == [(0, 300, 1), (7500, None, 1)]


def test_an_endpoint_that_can_never_run_here_is_refused_at_once(serving: Serving) -> None:
    serving.backend.accelerator_count = 2
    for fields in ({"flavor": "gpu-simulated-2", "instances": 2}, {"flavor": "gpu-simulated", "instances": 3}):
        reply = serving.api.post("/endpoints", "sam", json={**NEW, **fields})
        assert (reply.status_code, reply.json()["code"]) == (400, "bad-workload"), reply.text
        assert "this machine has 2 × simulated-gpu" in reply.json()["detail"]
    assert serving.api.get("/endpoints", "sam").json()["total"] == 0


async def test_scaling_beyond_the_machine_is_refused_and_nothing_changes(serving: Serving) -> None:
    serving.backend.accelerator_count = 2
    number = serving.create(flavor="gpu-simulated", instances=2)["id"]
    reply = serving.patch(number, instances=3)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-workload")
    assert serving.show(number)["instances"] == 2


async def test_while_mlflow_is_still_starting_no_instance_is_started_and_none_counts_as_failed(serving: Serving) -> None:
    number = serving.create()["id"]
    serving.mlflow.down = True
    for _ in range(5):
        await serving.passes(2)
        serving.controller._not_before.clear()
    assert "MLflow" in serving.show(number)["reason"]
    assert serving.backend.workloads == {}
    serving.mlflow.down = False
    await serving.passes()
    assert serving.show(number)["phase"] == "running"


async def test_routes_left_by_an_earlier_life_are_removed_even_when_nothing_runs(serving: Serving) -> None:
    serving.routes["/endpoints/ml/old"] = "http://127.0.0.1:1"
    serving.routes["/somebody/else"] = "http://127.0.0.1:2"
    await serving.passes(1)
    assert list(serving.routes) == ["/somebody/else"]


async def test_a_queued_endpoint_starts_when_there_is_room(serving: Serving) -> None:
    first = serving.create()
    cpu = serving.platform.catalog.get_flavor(first["flavor"]).resources.cpu
    with serving.platform.database.transaction() as tx:
        tenancy.put_quota(tx, tenancy.get_tenant(tx, "ml"), "", "cpu", cpu)
    second = serving.create(name="second")
    assert (second["phase"], second["queue_position"]) == ("queued", 1)
    await serving.passes()
    serving.api.post(f"/endpoints/{first['id']}/stop", "sam")
    await serving.passes()
    assert serving.show(second["id"])["phase"] == "running"


async def test_try_it_goes_to_an_instance_with_the_platforms_key(serving: Serving) -> None:
    number = serving.create()["id"]
    assert serving.api.post(f"/endpoints/{number}/predict", "sam", files={"file": ("7.png", b"x", "image/png")}).status_code == 409
    await serving.passes()
    reply = serving.api.post(f"/endpoints/{number}/predict", "sue", files={"file": ("7.png", b"x", "image/png")})
    assert reply.json()["predictions"] == [7]
    request = serving.asked[-1]
    assert str(request.url) == f"http://127.0.0.1:40001{PATH}/predict"
    assert request.headers["authorization"] == f"Bearer {platform_token('ab' * 32, number)}"
    assert b'filename="7.png"' in request.content
    bad = serving.api.post(f"/endpoints/{number}/predict", "sam", content=b"bad")
    assert (bad.status_code, bad.json()["detail"]) == (400, "the file is no picture")


async def test_logs_are_kept_for_each_instance(serving: Serving) -> None:
    serving.backend.program = lambda process: process.log.extend(process.workload.name.encode())
    number = serving.create(instances=2)["id"]
    await serving.passes()
    assert serving.api.get(f"/endpoints/{number}/log?instance=1", "sam").text == "endpoint-1-1-1-1"
    assert serving.api.get(f"/endpoints/{number}/log?instance=5", "sam").text == ""
    assert serving.api.get(f"/endpoints/{number}/log?instance=99", "sam").status_code == 400


async def test_everybody_in_the_tenant_sees_it_and_only_staff_or_its_owner_changes_it(serving: Serving) -> None:
    number = serving.create()["id"]
    assert serving.show(number, "sue")["name"] == "digits"
    assert serving.api.post(f"/endpoints/{number}/stop", "sue").status_code == 403
    assert serving.api.post(f"/endpoints/{number}/token", "sue").status_code == 403
    assert serving.api.get(f"/endpoints/{number}/log", "sue").status_code == 403
    assert serving.api.get("/endpoints", "eve").status_code == 403
    assert serving.api.post(f"/endpoints/{number}/stop", "tina").status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": " "}, "empty"),
        ({"name": "x" * 300}, "300 characters"),
        ({"version": "../1"}, "a number"),
        ({"version": "0"}, "a number"),
        ({"version": "9"}, "not found"),
        ({"model": "nothing"}, "not found"),
        ({"instances": 0}, "instances"),
        ({"instances": 1000}, "instances"),
        ({"max_seconds": -5}, "max_seconds"),
        ({"image": "nonsense"}, "nonsense"),
        ({"flavor": "nonsense"}, "nonsense"),
        ({"tenant": "<script>"}, "no tenant"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(serving: Serving, fields: dict[str, Any], words: str) -> None:
    reply = serving.api.post("/endpoints", "sam", json={**NEW, **fields})
    assert reply.status_code in (400, 403, 404)
    assert words in reply.json()["detail"]
    assert serving.api.get("/endpoints", "sam").json()["total"] == 0


def test_two_endpoints_of_a_tenant_cannot_have_one_name(serving: Serving) -> None:
    serving.create()
    assert serving.api.post("/endpoints", "sue", json=NEW).status_code == 409


@pytest.mark.parametrize("name", ["数字", "🚀", "a b", "A B", "../up", "<script>"])
def test_any_text_can_be_the_name_and_no_two_names_share_an_address(serving: Serving, name: str) -> None:
    other = serving.create(name=name + "!")
    made = serving.create(name=name)
    assert made["name"] == name
    assert made["slug"] != other["slug"]
    assert made["slug"].replace("-", "").isalnum()
    assert made["slug"].isascii()


def test_a_version_that_is_only_files_cannot_be_served(serving: Serving) -> None:
    serving.mlflow.mlmodel = ""
    reply = serving.api.post("/endpoints", "sam", json=NEW)
    assert (reply.status_code, "cannot be served" in reply.json()["detail"]) == (409, True)
