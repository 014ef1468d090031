"""The platform's own calls to MLflow: workspaces, runs of jobs, the model registry.

MLflow listens where only the platform can reach it (in local mode a unix socket) and trusts the header ``X-MLFLOW-WORKSPACE``;
REST API: https://mlflow.org/docs/latest/rest-api.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from ltai_hub.errors import BadInput, Conflict, NotFound, Problem, Unavailable
from ltai_hub.mlflow_app import RUNS
from ltai_hub.settings import Settings
from ltai_hub.trust import certificates
from ltai_services.together import Together

PREFIX = "/services/models/mlflow"
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
# Host and no Origin: MLflow's own check against DNS rebinding lets loopback through.
HOST = "127.0.0.1"
NO_SOCKET = Path()
ENDED = ("FINISHED", "FAILED", "KILLED")
MANY = 1000
# an idle connection is let go before uvicorn does so, after 5 s
KEPT_SECONDS = 2.0
# people write these files; the platform reads small ones only
LARGEST_ARTIFACT = 4 << 20

PROBLEMS: dict[str, type[Problem]] = {
    "RESOURCE_DOES_NOT_EXIST": NotFound,
    "RESOURCE_ALREADY_EXISTS": Conflict,
    "INVALID_PARAMETER_VALUE": BadInput,
    "BAD_REQUEST": BadInput,
    "INVALID_STATE": Conflict,
}


@dataclass(frozen=True)
class MlflowServer:
    """Where MLflow answers: a unix socket of the data folder, or ``url`` where it is a server of its own."""

    socket: Path
    url: str = f"http://{HOST}"

    def transport(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        return httpx.AsyncHTTPTransport(uds=self._uds, retries=1, limits=limits, verify=certificates())

    def quick_transport(self) -> httpx.AsyncBaseTransport:
        """For many small calls: a quarter of the processor."""
        limits = httpx.Limits(max_connections=100, keepalive_expiry=KEPT_SECONDS)
        return AiohttpTransport(uds=self._uds, limits=limits, verify=certificates())

    @property
    def _uds(self) -> str | None:
        return None if self.socket == NO_SOCKET else str(self.socket)


def mlflow_server(settings: Settings) -> MlflowServer:
    return MlflowServer(NO_SOCKET, settings.mlflow_url) if settings.mlflow_url else MlflowServer(settings.folder.mlflow_socket)


@dataclass(frozen=True)
class NewRun:
    """A run to be made; ``experiment`` is a name."""

    workspace: str
    experiment: str
    name: str
    user: str
    tags: Mapping[str, str]
    started_at: datetime


@dataclass(frozen=True)
class Run:
    run_id: str
    experiment_id: str


class Tracking:
    """Every method is one conversation with MLflow. Raises Unavailable when it does not answer."""

    def __init__(self, server: MlflowServer, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(transport=transport or server.quick_transport(), base_url=server.url + PREFIX, timeout=30)
        self._runs_url = server.url + RUNS
        self._runs = Together(self._create_runs)
        self._workspaces: set[str] = set()
        self._experiments: dict[tuple[str, str], str] = {}

    async def check(self) -> None:
        """Raises Unavailable when MLflow does not answer."""
        await self.call("default", "GET", "3.0/mlflow/server-info")

    async def ensure_workspace(self, name: str) -> None:
        """One workspace a tenant, made when first needed."""
        if name in self._workspaces:
            return
        with suppress(Conflict):
            await self.call("default", "POST", "3.0/mlflow/workspaces", {"name": name})
        self._workspaces.add(name)

    async def create_run(self, new: NewRun) -> Run:
        try:
            return await self._create_run(new)
        except (NotFound, Conflict, BadInput):
            # The experiment was deleted or its workspace is new: what was remembered is not true any more.
            self._experiments.pop((new.workspace, new.experiment), None)
            self._workspaces.discard(new.workspace)
            return await self._create_run(new)

    async def end_run(self, workspace: str, run_id: str, status: str, at: datetime) -> None:
        """Unless the user's own code has ended it; a run that was deleted is fine."""
        try:
            info = (await self.get_run(workspace, run_id))["info"]
            if info["status"] not in ENDED:
                body = {"run_id": run_id, "status": status, "end_time": int(at.timestamp() * 1000)}
                await self.call(workspace, "POST", "2.0/mlflow/runs/update", body)
        except (NotFound, Conflict, BadInput):
            return

    async def get_run(self, workspace: str, run_id: str) -> dict[str, Any]:
        """ "info", "data" (metrics, params, tags), "outputs". Raises NotFound."""
        run: dict[str, Any] = (await self.call(workspace, "GET", "2.0/mlflow/runs/get", {"run_id": run_id}))["run"]
        return run

    async def delete_run(self, workspace: str, run_id: str) -> None:
        try:
            await self.call(workspace, "POST", "2.0/mlflow/runs/delete", {"run_id": run_id})
        except (NotFound, Conflict, BadInput):
            return

    async def logged_models(self, workspace: str, experiment_id: str, run_id: str) -> list[dict[str, Any]]:
        """Models the run logged ("info", "data"), newest first."""
        body = {"experiment_ids": [experiment_id], "filter": f"source_run_id = '{run_id}'", "max_results": 50}
        found: list[dict[str, Any]] = (await self.call(workspace, "POST", "2.0/mlflow/logged-models/search", body)).get("models", [])
        return sorted(found, key=lambda model: -int(model["info"]["creation_timestamp_ms"]))

    async def call(self, workspace: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One REST call below ``/api``; ``body`` is the query for GET. Raises NotFound, Conflict, BadInput, Unavailable."""
        kind = "params" if method == "GET" else "json"
        found: dict[str, Any] = await self._ask(method, f"/api/{path}", headers={WORKSPACE_HEADER: workspace}, **{kind: body})
        return found

    async def _ask(self, method: str, url: str, **more: Any) -> Any:
        try:
            reply = await self._client.request(method, url, **more)
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            raise Unavailable("the experiment tracker (MLflow) does not answer; try again in a moment") from error
        if reply.is_success:
            return reply.json() if reply.content else {}
        raise mlflow_problem(reply)

    async def read_artifact(self, workspace: str, path: str, query: Mapping[str, str]) -> bytes:
        """A small file of a run or model; ``path`` as the UI asks for it, below the prefix. Raises BadInput for a large one."""
        content = b""
        try:
            async with self._client.stream("GET", path, params=query, headers={WORKSPACE_HEADER: workspace}) as reply:
                if not reply.is_success:
                    await reply.aread()
                    raise mlflow_problem(reply)
                async for chunk in reply.aiter_bytes():
                    content += chunk
                    if len(content) > LARGEST_ARTIFACT:
                        raise BadInput(f"the file {path} is larger than {LARGEST_ARTIFACT >> 20} MiB")
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            raise Unavailable(f"the experiment tracker (MLflow) does not answer ({type(error).__name__})") from error
        return content

    async def close(self) -> None:
        await self._client.aclose()

    async def _create_run(self, new: NewRun) -> Run:
        experiment = await self.ensure_experiment(new.workspace, new.experiment)
        asked = {
            "workspace": new.workspace,
            "experiment_id": experiment,
            "run_name": new.name,
            "start_time": int(new.started_at.timestamp() * 1000),
            "tags": {"mlflow.user": new.user, "mlflow.runName": new.name, **new.tags},
        }
        made = await self._runs.ask(asked)
        if "run_id" not in made:
            raise make_problem(made)
        return Run(made["run_id"], experiment)

    async def _create_runs(self, asked: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, str]]:
        made: list[dict[str, str]] = await self._ask("POST", self._runs_url, json=list(asked))
        return made

    async def ensure_experiment(self, workspace: str, name: str) -> str:
        """The experiment's id; made when it is not there, restored when it was deleted."""
        known = self._experiments.get((workspace, name))
        if known is None:
            await self.ensure_workspace(workspace)
            known = self._experiments[workspace, name] = await self._find_or_make(workspace, name)
        return known

    async def _find_or_make(self, workspace: str, name: str) -> str:
        try:
            found = (await self.call(workspace, "GET", "2.0/mlflow/experiments/get-by-name", {"experiment_name": name}))["experiment"]
        except NotFound:
            return str((await self.call(workspace, "POST", "2.0/mlflow/experiments/create", {"name": name}))["experiment_id"])
        if found.get("lifecycle_stage") == "deleted":
            await self.call(workspace, "POST", "2.0/mlflow/experiments/restore", {"experiment_id": found["experiment_id"]})
        return str(found["experiment_id"])


def mlflow_problem(reply: httpx.Response) -> Problem:
    try:
        error = reply.json()
    except ValueError:
        error = {}
    otherwise = NotFound if reply.status_code == 404 else Unavailable
    return make_problem(error, otherwise, f"the experiment tracker (MLflow) answered {reply.status_code}")


def make_problem(error: Mapping[str, Any], otherwise: type[Problem] = Unavailable, words: str = "") -> Problem:
    """``error`` in MLflow's form."""
    return PROBLEMS.get(str(error.get("error_code", "")), otherwise)(str(error.get("message") or words))


def metrics_of(run: Mapping[str, Any]) -> dict[str, float]:
    """The latest of each, without those that are no number: a loss that grew beyond all bounds is NaN, and JSON has none."""
    found = run.get("data", {}).get("metrics", [])
    return {str(m["key"]): float(m["value"]) for m in found if is_finite(m["value"])}


def is_finite(value: Any) -> bool:
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError):
        return False


def to_pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """MLflow's form of a mapping."""
    return [{"key": key, "value": value} for key, value in values.items()]


def from_pairs(pairs: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {str(pair["key"]): pair.get("value", "") for pair in pairs or ()}


def make_tracking(settings: Settings) -> Tracking:
    """One client a server in this process: the services share its connections and what it remembers."""
    server = mlflow_server(settings)
    if server not in _SHARED:
        _SHARED[server] = Tracking(server)
    return _SHARED[server]


_SHARED: dict[MlflowServer, Tracking] = {}
