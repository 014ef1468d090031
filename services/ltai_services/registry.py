"""MLflow's model registry in the platform's words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from ltai_hub.errors import BadInput, Conflict, NotFound
from ltai_services.tracking import Tracking, from_pairs, to_pairs

LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]+)")
MODEL_FILES = (".joblib", ".skops", ".pkl", ".pickle", ".pt", ".pth", ".onnx", ".keras", ".h5", ".safetensors", ".cbm", ".bst", ".ubj")
MANY = 10_000


@dataclass(frozen=True)
class Framework:
    name: str = ""
    version: str = ""


@dataclass(frozen=True)
class Version:
    """One version; ``tags`` hold the lineage (``ltai.*``) and ``framework``, ``framework_version``."""

    name: str
    version: str
    source: str
    run_id: str
    description: str
    status: str
    created_at: datetime
    updated_at: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def number(self) -> int:
        return int(self.version)

    @property
    def model_id(self) -> str | None:
        found = LOGGED_MODEL.fullmatch(self.source)
        return found[1] if found else None

    @property
    def owner(self) -> str | None:
        return self.tags.get("ltai.user") or None


@dataclass(frozen=True)
class RegisteredModel:
    name: str
    description: str
    updated_at: datetime
    versions: tuple[Version, ...] = field(default=())

    @property
    def latest(self) -> Version | None:
        return self.versions[0] if self.versions else None


class Registry:
    """``workspace`` is a tenant's slug."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        # what was logged does not change any more
        self._frameworks: dict[tuple[str, str], Framework] = {}

    async def list_models(self, workspace: str) -> list[RegisteredModel]:
        await self._tracking.ensure_workspace(workspace)
        models, versions = await asyncio.gather(
            self._tracking.call(workspace, "GET", "2.0/mlflow/registered-models/search", {"max_results": 1000}),
            self._tracking.call(workspace, "GET", "2.0/mlflow/model-versions/search", {"max_results": MANY}),
        )
        by_name: dict[str, list[Version]] = {}
        for raw in versions.get("model_versions", []):
            by_name.setdefault(str(raw["name"]), []).append(make_version(raw))
        return [make_model(raw, by_name.get(str(raw["name"]), ())) for raw in models.get("registered_models", [])]

    async def get_model(self, workspace: str, name: str) -> RegisteredModel:
        """With all versions, newest first. Raises NotFound."""
        await self._tracking.ensure_workspace(workspace)
        found = await self._tracking.call(workspace, "GET", "2.0/mlflow/registered-models/get", {"name": name})
        query = {"max_results": MANY} | named(name)
        versions = await self._tracking.call(workspace, "GET", "2.0/mlflow/model-versions/search", query)
        aliases = _aliases(found["registered_model"])
        made = [make_version(raw, aliases) for raw in versions.get("model_versions", []) if raw["name"] == name]
        return make_model(found["registered_model"], made)

    async def get_version(self, workspace: str, name: str, version: str) -> Version:
        """Raises NotFound."""
        await self._tracking.ensure_workspace(workspace)
        found = await self._tracking.call(workspace, "GET", "2.0/mlflow/model-versions/get", {"name": name, "version": version})
        return make_version(found["model_version"])

    async def register(self, workspace: str, name: str, model_id: str, run_id: str, description: str, tags: Mapping[str, str]) -> Version:
        """The next version of ``name``, which is made when it is new."""
        with suppress(Conflict):
            await self._tracking.call(workspace, "POST", "2.0/mlflow/registered-models/create", {"name": name})
        body = {
            "name": name,
            "source": f"models:/{model_id}",
            "model_id": model_id,
            "run_id": run_id,
            "description": description,
            "tags": to_pairs(tags),
        }
        made = await self._tracking.call(workspace, "POST", "2.0/mlflow/model-versions/create", body)
        return make_version(made["model_version"])

    async def delete_version(self, workspace: str, name: str, version: str) -> None:
        await self._tracking.call(workspace, "DELETE", "2.0/mlflow/model-versions/delete", {"name": name, "version": version})

    async def delete_model(self, workspace: str, name: str) -> None:
        await self._tracking.call(workspace, "DELETE", "2.0/mlflow/registered-models/delete", {"name": name})

    async def set_alias(self, workspace: str, name: str, alias: str, version: str) -> None:
        body = {"name": name, "alias": alias, "version": version}
        await self._tracking.call(workspace, "POST", "2.0/mlflow/registered-models/alias", body)

    async def delete_alias(self, workspace: str, name: str, alias: str) -> None:
        await self._tracking.call(workspace, "DELETE", "2.0/mlflow/registered-models/alias", {"name": name, "alias": alias})

    async def framework(self, workspace: str, version: Version) -> Framework:
        """By the version's own tags, else by the MLmodel file it points to."""
        if version.tags.get("framework"):
            return Framework(version.tags["framework"], version.tags.get("framework_version", ""))
        return await self.framework_of(workspace, version.model_id) if version.model_id else Framework()

    async def framework_of(self, workspace: str, model_id: str) -> Framework:
        known = self._frameworks.get((workspace, model_id))
        if known is None:
            known = framework_in(await self.read_mlmodel(workspace, model_id))
            self._frameworks[workspace, model_id] = known
        return known

    async def read_mlmodel(self, workspace: str, model_id: str) -> dict[str, Any]:
        """The logged model's MLmodel file; {} when there is none."""
        path = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
        try:
            text = await self._tracking.read_artifact(workspace, path, {"artifact_file_path": "MLmodel"})
            found = yaml.safe_load(text)
        except (NotFound, BadInput, yaml.YAMLError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    async def model_files(self, workspace: str, run_id: str) -> list[str]:
        """Files among the run's artifacts that look like a model saved by hand."""
        try:
            found = await self._tracking.call(workspace, "GET", "2.0/mlflow/artifacts/list", {"run_id": run_id})
        except NotFound:
            return []
        return [str(f["path"]) for f in found.get("files", []) if str(f["path"]).lower().endswith(MODEL_FILES)]


def check_model_name(name: str) -> str:
    """MLflow's rule. Raises BadInput."""
    if "/" in name or ":" in name:
        raise BadInput("the name of a model cannot have '/' or ':' in it")
    return name


def check_version(text: str) -> str:
    """Raises BadInput."""
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise BadInput(f"a version is a number from 1 on, not {text[:20]!r}")
    return text


def make_model(raw: Mapping[str, Any], versions: Sequence[Version]) -> RegisteredModel:
    ordered = tuple(sorted(versions, key=lambda v: -v.number))
    updated = max([_time(raw.get("last_updated_timestamp", 0)), *(v.created_at for v in ordered)])
    return RegisteredModel(str(raw["name"]), str(raw.get("description", "")), updated, ordered)


def make_version(raw: Mapping[str, Any], aliases: Mapping[str, Sequence[str]] | None = None) -> Version:
    number = str(raw["version"])
    return Version(
        name=str(raw["name"]),
        version=number,
        source=str(raw.get("source", "")),
        run_id=str(raw.get("run_id", "")),
        description=str(raw.get("description", "")),
        status=str(raw.get("status", "READY")),
        created_at=_time(raw.get("creation_timestamp", 0)),
        updated_at=_time(raw.get("last_updated_timestamp", 0)),
        aliases=tuple(aliases.get(number, ()) if aliases is not None else raw.get("aliases", ())),
        tags=from_pairs(raw.get("tags")),
    )


def framework_in(mlmodel: Mapping[str, Any]) -> Framework:
    """The first flavor that is not the generic one: sklearn 1.9.1."""
    flavors = flavors_in(mlmodel)
    for name, details in flavors.items():
        if name != "python_function":
            return Framework(name[:100], _word(details.get(f"{name}_version")) if isinstance(details, dict) else "")
    return Framework("python_function" if flavors else "", _word(mlmodel.get("mlflow_version")) if flavors else "")


def flavors_in(mlmodel: Mapping[str, Any]) -> dict[str, Any]:
    """{} where somebody wrote something else there by hand."""
    found = mlmodel.get("flavors")
    return {name: details for name, details in found.items() if isinstance(name, str)} if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    return str(value)[:100] if isinstance(value, str | int | float) else ""


def named(name: str) -> dict[str, str]:
    """A filter for versions of the model. MLflow's language of filters knows no escapes: without one for a name with both quotes."""
    quote = next((quote for quote in ("'", '"') if quote not in name), None)
    return {"filter": f"name = {quote}{name}{quote}"} if quote else {}


def _aliases(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias in raw.get("aliases", []):
        found.setdefault(str(alias["version"]), []).append(str(alias["alias"]))
    return found


def _time(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
