"""As much of MLflow's REST API as jobs, models and endpoints use, in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ltai_services.tracking import PREFIX, WORKSPACE_HEADER, MlflowServer, Tracking

from ltai_hub.mlflow_app import RUNS

MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.7}
  sklearn: {sklearn_version: 1.9.1}
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 64]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
"""


@dataclass
class FakeMlflow:
    """``down`` true: nothing answers. ``requests`` holds (workspace, method, path) of every call."""

    down: bool = False
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    workspaces: set[str] = field(default_factory=set)
    experiments: dict[tuple[str, str], str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    logged: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    models: set[tuple[str, str]] = field(default_factory=set)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    mlmodel: str = MLMODEL

    def tracking(self) -> Tracking:
        return Tracking(MlflowServer(Path("/nowhere")), httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("nobody there")
        workspace = request.headers.get(WORKSPACE_HEADER, "")
        path = request.url.path.removeprefix(PREFIX)
        self.requests.append((workspace, request.method, path))
        if path.startswith("/ajax-api/"):
            return httpx.Response(200, text=self.mlmodel) if self.mlmodel else httpx.Response(404, json={})
        if path == RUNS:
            return httpx.Response(200, json=[self.create_run(one) for one in json.loads(request.content)])
        body = dict(request.url.params) if request.method == "GET" else json.loads(request.content or b"{}")
        name = path.removeprefix("/api/").split("mlflow/", 1)[1].replace("/", "_").replace("-", "_")
        handler = getattr(self, f"{request.method.lower()}_{name}", None)
        if handler is None:
            return httpx.Response(404, json={"error_code": "ENDPOINT_NOT_FOUND", "message": path})
        result: httpx.Response = handler(workspace, body)
        return result

    def log_model(self, workspace: str, run_id: str, model_id: str = "m-0a1b") -> None:
        info = {"model_id": model_id, "name": "model", "source_run_id": run_id, "creation_timestamp_ms": len(self.logged) + 1}
        self.logged.append({"workspace": workspace, "info": info})

    def get_server_info(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={})

    def post_workspaces(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        if body["name"] in self.workspaces:
            return problem("RESOURCE_ALREADY_EXISTS", "it exists")
        self.workspaces.add(body["name"])
        return httpx.Response(201, json={})

    def get_experiments_get_by_name(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        found = self.experiments.get((workspace, body["experiment_name"]))
        if found is None:
            return problem("RESOURCE_DOES_NOT_EXIST", "no such experiment")
        return httpx.Response(200, json={"experiment": {"experiment_id": found, "lifecycle_stage": "active"}})

    def post_experiments_create(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        number = str(len(self.experiments) + 1)
        self.experiments[workspace, body["name"]] = number
        return httpx.Response(200, json={"experiment_id": number})

    def create_run(self, asked: Mapping[str, Any]) -> dict[str, str]:
        run_id = f"run{len(self.runs) + 1}"
        info = {"run_id": run_id, "experiment_id": asked["experiment_id"], "status": "RUNNING", "run_name": asked["run_name"]}
        tags = [{"key": key, "value": value} for key, value in asked["tags"].items()]
        self.runs[run_id] = {"workspace": asked["workspace"], "info": info, "data": {"tags": tags, "metrics": [], "params": []}}
        return {"run_id": run_id}

    def get_runs_get(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        run = self.runs.get(body["run_id"])
        if run is None or run["workspace"] != workspace:
            return problem("RESOURCE_DOES_NOT_EXIST", "no such run")
        return httpx.Response(200, json={"run": run})

    def post_runs_update(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        self.runs[body["run_id"]]["info"] |= {"status": body["status"], "end_time": body["end_time"]}
        return httpx.Response(200, json={})

    def post_logged_models_search(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        run_id = body["filter"].split("'")[1]
        found = [m for m in self.logged if m["workspace"] == workspace and m["info"]["source_run_id"] == run_id]
        return httpx.Response(200, json={"models": found})

    def get_artifacts_list(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"files": [{"path": path} for path in self.artifacts.get(body["run_id"], [])]})

    def post_registered_models_create(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        if (workspace, body["name"]) in self.models:
            return problem("RESOURCE_ALREADY_EXISTS", "it exists")
        self.models.add((workspace, body["name"]))
        return httpx.Response(200, json={})

    def get_registered_models_search(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        found = [{"name": name, "last_updated_timestamp": 1} for place, name in self.models if place == workspace]
        return httpx.Response(200, json={"registered_models": found})

    def get_registered_models_get(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        if (workspace, body["name"]) not in self.models:
            return problem("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={body['name']} not found")
        return httpx.Response(200, json={"registered_model": {"name": body["name"], "last_updated_timestamp": 1}})

    def delete_registered_models_delete(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        self.models.discard((workspace, body["name"]))
        return httpx.Response(200, json={})

    def post_model_versions_create(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        number = 1 + sum(v["workspace"] == workspace and v["name"] == body["name"] for v in self.versions)
        self.versions.append({**body, "workspace": workspace, "version": str(number), "creation_timestamp": number})
        return httpx.Response(200, json={"model_version": self.versions[-1]})

    def get_model_versions_search(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        found = [v for v in self.versions if v["workspace"] == workspace]
        if "filter" in body:
            found = [v for v in found if v["name"] in body["filter"]]
        return httpx.Response(200, json={"model_versions": found})

    def get_model_versions_get(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        for version in self.versions:
            if (version["workspace"], version["name"], version["version"]) == (workspace, body["name"], body["version"]):
                return httpx.Response(200, json={"model_version": version})
        return problem("RESOURCE_DOES_NOT_EXIST", f"Model Version (name={body['name']}, version={body['version']}) not found")

    def delete_model_versions_delete(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        self.versions = [v for v in self.versions if (v["name"], v["version"]) != (body["name"], body["version"])]
        return httpx.Response(200, json={})


def problem(code: str, message: str) -> httpx.Response:
    return httpx.Response(404 if code == "RESOURCE_DOES_NOT_EXIST" else 400, json={"error_code": code, "message": message})
