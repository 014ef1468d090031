"""Runs that begin together, on a real MLflow."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from ltai_services.tracking import PREFIX, MlflowServer, NewRun, Tracking
from starlette.testclient import TestClient

from ltai_hub.errors import NotFound
from ltai_hub.mlflow_app import FOR_SOMEBODY, RUNS
from ltai_hub.paths import DataFolder
from tests.factories import NOW
from tests.services.models.test_proxy import API, SAM


def a_run(number: int, workspace: str = "ml", experiment: str = "many") -> NewRun:
    return NewRun(workspace, experiment, f"many {number}", "sam", {"ltai.job": str(number)}, NOW)


@pytest.fixture
def tracking(mlflow_folder: DataFolder) -> Tracking:
    return Tracking(MlflowServer(mlflow_folder.mlflow_socket))


async def test_runs_of_several_tenants_are_made_at_once_each_in_its_own_workspace(tracking: Tracking) -> None:
    wished = [a_run(number, workspace) for number, workspace in enumerate(["ml", "physics"] * 10)]
    made = await asyncio.gather(*(tracking.create_run(new) for new in wished))
    assert len({run.run_id for run in made}) == 20
    for new, run in zip(wished, made, strict=True):
        found = await tracking.get_run(new.workspace, run.run_id)
        assert (found["info"]["run_name"], found["info"]["status"]) == (new.name, "RUNNING")
        assert found["info"]["start_time"] == int(NOW.timestamp() * 1000)
        tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
        assert (tags["ltai.job"], tags["mlflow.user"]) == (new.tags["ltai.job"], "sam")
    with pytest.raises(NotFound):
        await tracking.get_run("physics", made[0].run_id)
    await tracking.close()


async def test_one_whose_experiment_is_gone_is_made_all_the_same_and_holds_up_no_other(tracking: Tracking) -> None:
    lost = await tracking.ensure_experiment("ml", "lost")
    await tracking.call("ml", "POST", "2.0/mlflow/experiments/delete", {"experiment_id": lost})
    runs = await asyncio.gather(*(tracking.create_run(a_run(number, experiment=name)) for number, name in enumerate(["many", "lost"])))
    assert runs[1].experiment_id == lost
    found = (await tracking.call("ml", "GET", "2.0/mlflow/experiments/get", {"experiment_id": lost}))["experiment"]
    assert found["lifecycle_stage"] == "active"
    await tracking.close()


OUT = "/../../.."


@pytest.mark.parametrize("path", [RUNS, PREFIX + RUNS, PREFIX + OUT + RUNS, PREFIX + OUT.replace(".", "%2e") + RUNS, f"{API}/..{RUNS}"])
def test_nobody_but_the_platform_gets_there(client: TestClient, path: str) -> None:
    body = [{"workspace": "physics", "experiment_id": "0", "run_name": "x", "start_time": 0, "tags": {}}]
    assert client.post(path, headers=SAM, json=body).status_code in (400, 403, 404)


def test_what_is_carried_for_somebody_is_refused(mlflow_folder: DataFolder) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(mlflow_folder.mlflow_socket)), base_url="http://127.0.0.1") as client:
        assert client.post(RUNS, json=[]).json() == []
        assert client.post(RUNS, json=[], headers={FOR_SOMEBODY: "sam"}).status_code == 404
