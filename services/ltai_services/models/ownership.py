"""Whose the things in MLflow are. MLflow lets everybody of a workspace write everywhere in it; but an endpoint runs the files of a model
with its owner's rights, so nobody else of the class may change them, nor the run they come from. Pure.

Who made a thing is written down by the proxy: in ``user_id`` of a run, which MLflow never changes, else in a tag nobody can change.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from ltai_hub.errors import BadInput, Denied
from ltai_services.models.rules import Write, rest_of
from ltai_services.tracking import from_pairs

OWNER_TAG = "ltai.owner"
# of versions: the platform writes it too when it registers one from a job
VERSION_OWNER_TAG = "ltai.user"
KEPT_TAGS = {OWNER_TAG, VERSION_OWNER_TAG}
LOGGED_MODEL = re.compile(r"mlflow/logged-models/(?P<id>[^/]+)(?:/.*)?", re.DOTALL)
FILES = re.compile(r"mlflow-artifacts/(?:artifacts|mpu/[a-z]+)/(?P<path>.*)", re.DOTALL)
# MLflow reads JSON as protobuf does, which knows two spellings of a name; runs had another name once
RUN_NAMES = {"run_id", "runId", "run_uuid", "runUuid", "source_run_id", "sourceRunId"}
# MLflow decodes the paths of files again and again, up to ten times
MOST_DECODINGS = 10


class Kind(StrEnum):
    RUN = "run"
    LOGGED_MODEL = "logged model"
    EXPERIMENT = "experiment"
    EXPERIMENT_RUNS = "runs of experiment"
    MODEL = "model"
    ALL_VERSIONS = "versions of model"
    VERSION = "version"
    ALIAS = "alias"
    SEVERAL = "things of several people"


@dataclass(frozen=True)
class Thing:
    """``name``: id or name. ``part``: which version or alias of the model."""

    kind: Kind
    name: str = ""
    part: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.part} of {self.name}" if self.part else f"{self.kind} {self.name}".strip()


SEVERAL = Thing(Kind.SEVERAL)


# ---- which things a request changes


def changed_things(write: Write, method: str, path: str, query: list[tuple[str, str]], body: Mapping[str, Any]) -> set[Thing]:
    """Empty when it changes nobody's. Raises BadInput."""
    if write in (Write.RUN, Write.NEW_LOGGED_MODEL):
        models = {Thing(Kind.LOGGED_MODEL, name) for name in _texts(body, "model_id", "modelId")} if "presigned" in path else set()
        return {Thing(Kind.RUN, name) for name in run_names(body)} | models
    if write is Write.RUN_FILE:
        return {Thing(Kind.RUN, value) for key, value in query if key in RUN_NAMES}
    if write is Write.FILE:
        return _owners_of_file(method, path)
    if write is Write.LOGGED_MODEL:
        found = LOGGED_MODEL.fullmatch(rest_of(path))
        return {Thing(Kind.LOGGED_MODEL, found["id"])} if found else {SEVERAL}
    if write in (Write.EXPERIMENT, Write.WHOLE_EXPERIMENT):
        names = _texts(body, "experiment_id", "experimentId")
        kinds = (Kind.EXPERIMENT, Kind.EXPERIMENT_RUNS) if write is Write.WHOLE_EXPERIMENT else (Kind.EXPERIMENT,)
        return {Thing(kind, name) for kind in kinds for name in names}
    if write is Write.SHARED_AWAY:
        return {SEVERAL}
    return _changed_in_registry(write, body)


def _changed_in_registry(write: Write, body: Mapping[str, Any]) -> set[Thing]:
    name, version, alias = (next(iter(_texts(body, key)), "") for key in ("name", "version", "alias"))
    archives = body.get("archive_existing_versions") or body.get("archiveExistingVersions")
    version_there = {Thing(Kind.VERSION, name, version)} if version else set()
    things: dict[Write, set[Thing]] = {
        Write.MODEL: {Thing(Kind.MODEL, name)},
        Write.WHOLE_MODEL: {Thing(Kind.MODEL, name), Thing(Kind.ALL_VERSIONS, name)},
        Write.VERSION: version_there,
        Write.STAGE: version_there | ({Thing(Kind.ALL_VERSIONS, name)} if archives else set()),
        # who loads a model by its alias runs the version it stands for: it is not taken away from another's version
        Write.ALIAS: version_there | {Thing(Kind.ALIAS, name, alias)},
    }
    return things.get(write, set())


def _owners_of_file(method: str, path: str) -> set[Thing]:
    """EXPERIMENT/models/ID/artifacts/… of a model, EXPERIMENT/RUN/artifacts/… of a run, EXPERIMENT/traces/ID/artifacts/… of a trace."""
    found = FILES.fullmatch(rest_of(path))
    if found is None:
        return {SEVERAL}
    parts = posixpath.normpath(decoded(found["path"])).strip("/").split("/")
    if parts[0] == "workspaces":
        parts = parts[2:]
    if len(parts) >= 3 and parts[1] == "models":
        return {Thing(Kind.LOGGED_MODEL, parts[2])}
    if len(parts) >= 3 and parts[1] == "traces":
        return {SEVERAL} if method == "DELETE" else set()
    if len(parts) >= 3 and parts[2] == "artifacts":
        return {Thing(Kind.RUN, parts[1])}
    return {SEVERAL}


def decoded(path: str) -> str:
    for _ in range(MOST_DECODINGS + 1):
        plain = unquote(path)
        if plain == path:
            return plain
        path = plain
    raise BadInput("the path is encoded too many times")


def run_names(body: Any) -> set[str]:
    """Every run the body names, however deep. Raises BadInput."""
    if isinstance(body, list):
        return set().union(*map(run_names, body))
    if not isinstance(body, dict):
        return set()
    return _texts(body, *RUN_NAMES).union(*map(run_names, body.values()))


def _texts(body: Mapping[str, Any], *names: str) -> set[str]:
    found = {name: body[name] for name in names if body.get(name) not in (None, "")}
    for name, value in found.items():
        if not isinstance(value, str):
            raise BadInput(f"{name} is to be text, not {json.dumps(value)[:40]}")
    return set(found.values())


# ---- who made it, in what is sent


def check_tags(path: str, body: Mapping[str, Any]) -> None:
    """Raises Denied for a change of the tags that say whose something is."""
    keys = {path.rsplit("/", 1)[-1], *_keys(body), *(key for tag in _tags(body) for key in _keys(tag))}
    if named := sorted(keys & KEPT_TAGS):
        raise Denied(f"the tag {named[0]} says whose this is and is set by the platform")


def signed(write: Write, body: dict[str, Any], user: str) -> dict[str, Any]:
    """The body that makes something, saying who makes it, whatever it said before; other bodies as they are."""
    sign = _SIGNERS.get(write)
    return sign(body, user) if sign else body


def _sign_run(body: dict[str, Any], user: str) -> dict[str, Any]:
    rest = {key: value for key, value in body.items() if key != "userId"}
    return {**rest, "user_id": user, "tags": _with_tag(body, "mlflow.user", user)}


def _sign_version(body: dict[str, Any], user: str) -> dict[str, Any]:
    return {**body, "tags": _with_tag(body, VERSION_OWNER_TAG, user)}


def _sign_other(body: dict[str, Any], user: str) -> dict[str, Any]:
    return {**body, "tags": _with_tag(body, OWNER_TAG, user)}


_SIGNERS: dict[Write, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    Write.NEW_RUN: _sign_run,
    Write.NEW_VERSION: _sign_version,
    Write.NEW_LOGGED_MODEL: _sign_other,
    Write.NEW_EXPERIMENT: _sign_other,
    Write.NEW_MODEL: _sign_other,
}


def _with_tag(body: Mapping[str, Any], key: str, value: str) -> list[dict[str, Any]]:
    return [*(tag for tag in _tags(body) if tag.get("key") not in {*KEPT_TAGS, key}), {"key": key, "value": value}]


def _tags(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tags = body.get("tags")
    return (tag for tag in tags if isinstance(tag, dict)) if isinstance(tags, list) else iter(())


def _keys(tag: Mapping[str, Any]) -> set[str]:
    return {tag["key"]} if isinstance(tag.get("key"), str) else set()


# ---- who made it, in what MLflow answers


def run_owner(run: Mapping[str, Any]) -> str:
    """ "" when nobody is known; so below."""
    return str(run.get("info", {}).get("user_id") or "")


def tagged_owner(thing: Mapping[str, Any]) -> str:
    """Of a registered model, an experiment or the info of a logged model."""
    return str(from_pairs(thing.get("tags")).get(OWNER_TAG) or "")
