"""Versions from jobs: by MLflow's own client into a real server, then by our REST API."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from ltai_services.serving import store as endpoints
from ltai_services.tracking import PREFIX, MlflowServer, NewRun, Tracking
from ltai_services.training import store as jobs

from ltai_hub.domain.workloads import Phase
from ltai_hub.service import Platform
from ltai_hub.tenancy import store as tenancy
from tests.factories import NOW

TRAIN = """
import mlflow, numpy as np
from sklearn.linear_model import LogisticRegression
from mlflow.models import infer_signature
x = np.random.default_rng(1).random((20, 4)); y = np.arange(20) % 2
with mlflow.start_run():
    model = LogisticRegression().fit(x, y)
    mlflow.log_params({"lr": 0.1}); mlflow.log_metric("accuracy", 0.97); mlflow.log_metric("bad", float("nan"))
    mlflow.sklearn.log_model(model, name="model", signature=infer_signature(x, model.predict(x)), pip_requirements=["scikit-learn"])
"""
SAVES_A_FILE = """
import mlflow
with mlflow.start_run():
    mlflow.log_text("x", "model.joblib")
"""


@dataclass
class Models:
    address: str
    platform: Platform
    tracking: Tracking

    def call(self, method: str, path: str, who: str = "sam", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}"}
        return httpx.request(method, f"{self.address}/services/models/api/v1{path}", headers=headers, timeout=60, **more)

    async def a_job(self, code: str, who: str = "sam") -> int:
        """A job of ``who`` in ml whose run was written by ``code`` with a stock client."""
        with self.platform.database.transaction() as tx:
            new = jobs.NewRow("digits", who, "ml", "digits", "scikit-learn", "cpu-small", ("python", "train.py"), "", {}, None)
            job = jobs.insert_job(tx, new, NOW)
        run = await self.tracking.create_run(NewRun("ml", "digits", "digits 1", who, {"ltai.job": str(job.id)}, NOW))
        env = {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.address + PREFIX,
            "MLFLOW_TRACKING_TOKEN": who,
            "MLFLOW_RUN_ID": run.run_id,
            "MLFLOW_WORKSPACE": "ml",
        }
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        with self.platform.database.transaction() as tx:
            jobs.change(tx, job.id, run_id=run.run_id, experiment_id=run.experiment_id, phase=Phase.SUCCEEDED)
        return job.id


@pytest.fixture
def models(address: str, settled: Platform, mlflow_folder: Any) -> Models:
    return Models(address, settled, Tracking(MlflowServer(mlflow_folder.mlflow_socket)))


async def test_one_click_from_a_job_to_a_version_with_everything_known_about_it(models: Models) -> None:
    number = await models.a_job(TRAIN)
    made = models.call("POST", "/models", json={"job": number, "name": "数字 digits", "description": "first"})
    assert made.status_code == 201, made.text
    version = made.json()
    assert (version["framework"], version["version"], version["job_id"]) == ("sklearn", "1", number)
    assert version["framework_version"].startswith("1.")
    assert (version["metrics"], version["params"]) == ({"accuracy": 0.97}, {"lr": "0.1"})
    assert (version["image"], version["flavor"], version["user"]) == ("scikit-learn", "cpu-small", "sam")
    assert version["command"] == "python train.py"
    again = models.call("POST", "/models", json={"job": number, "name": "数字 digits"}).json()
    assert again["version"] == "2"
    listed = models.call("GET", "/models", params={"q": "数字"}).json()["items"]
    assert [(m["name"], m["tenant"], m["latest_version"], m["versions"], m["framework"]) for m in listed] == [
        ("数字 digits", "ml", "2", 2, "sklearn")
    ]
    shown = models.call("GET", "/models/ml/数字 digits").json()
    assert [v["version"] for v in shown["version_list"]] == ["2", "1"]

    assert models.call("PUT", "/models/ml/数字 digits/aliases/champion", json={"version": "1"}).status_code == 204
    assert models.call("GET", "/models/ml/数字 digits").json()["version_list"][1]["aliases"] == ["champion"]
    assert models.call("DELETE", "/models/ml/数字 digits/aliases/champion").status_code == 204

    served = a_served_version(models.platform, "数字 digits", "1")
    assert models.call("GET", "/models/ml/数字 digits").json()["version_list"][1]["endpoints"] == [served]
    refused = models.call("DELETE", "/models/ml/数字 digits/versions/1")
    assert (refused.status_code, "is served by" in refused.json()["detail"]) == (409, True)
    assert models.call("DELETE", "/models/ml/数字 digits").status_code == 409
    assert models.call("DELETE", "/models/ml/数字 digits/versions/2", who="sue").status_code == 403
    assert models.call("DELETE", "/models/ml/数字 digits/versions/2", who="tina").status_code == 204
    with models.platform.database.transaction() as tx:
        endpoints.change(tx, served, deleted=True)
    assert models.call("DELETE", "/models/ml/数字 digits").status_code == 204
    assert models.call("GET", "/models/ml/数字 digits").status_code == 404


def a_served_version(platform: Platform, model: str, version: str) -> int:
    row = endpoints.NewRow("e", "e", "sam", "ml", model, version, "models:/m-1", None, "scikit-learn", "cpu-small", 1, None, None, "")
    with platform.database.transaction() as tx:
        tenancy.get_tenant(tx, "ml")
        return endpoints.insert_endpoint(tx, row, NOW).id


async def test_a_job_without_a_logged_model_says_what_to_write(models: Models) -> None:
    number = await models.a_job(SAVES_A_FILE)
    reply = models.call("POST", "/models", json={"job": number, "name": "digits"})
    assert reply.status_code == 409
    assert "model.joblib" in reply.json()["detail"]
    assert "log_model" in reply.json()["detail"]


async def test_bad_input_is_refused_with_a_sentence(models: Models) -> None:
    with models.platform.database.transaction() as tx:
        new = jobs.NewRow("digits", "sam", "ml", "digits", "scikit-learn", "cpu-small", ("python",), "", {}, None)
        number = jobs.insert_job(tx, new, NOW).id
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"job": number, "name": "digits"}, 409, "not started"),
        ({"job": 999, "name": "digits"}, 404, "no job"),
        ({"job": -1, "name": "digits"}, 400, "no number of a job"),
        ({"job": number, "name": ""}, 400, "empty"),
        ({"job": number, "name": "a/b"}, 400, "'/'"),
        ({"job": number, "name": "x" * 300}, 400, "300"),
        ({"name": "digits"}, 400, "job"),
    ]
    for body, status, words in cases:
        reply = models.call("POST", "/models", json=body)
        assert (reply.status_code, words in reply.json()["detail"]) == (status, True), reply.text
    assert models.call("POST", "/models", "sue", json={"job": number, "name": "d"}).status_code == 403
    assert models.call("GET", "/models/ml/none").status_code == 404
    assert models.call("GET", "/models/physics/none").status_code == 404
    assert models.call("DELETE", "/models/ml/none/versions/..").status_code in (400, 404)
    assert models.call("GET", "/models?tenant=physics").status_code == 404
