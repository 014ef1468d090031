"""What a request to MLflow may do. Pure: method and path in, the needed action out.

MLflow itself trusts whoever reaches it, so everything it should not do for people is refused here. What changes something stands in
``WRITES`` with what it changes (routes: ``mlflow.server.handlers.get_endpoints``); what does not stand there is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ltai_hub.errors import BadInput, Denied, NotFound
from ltai_services.tracking import PREFIX

API = re.compile(r"/(?:ajax-)?api/\d\.\d/(?P<rest>.*)")
READING_METHODS = {"GET", "HEAD", "OPTIONS"}
# POST because their arguments are long, not because they change anything.
READING_POSTS = re.compile(
    r"graphql|mlflow/traces/(?:metrics|search.*|batchGetInfos|calculate-filter-correlation)|mlflow/registered-models/get-latest-versions"
    r"|mlflow/artifacts/presigned-download-url"
    r"|mlflow/(?:[a-z-]+/)+search(?:-datasets)?"
)
# Gateway and webhooks: the server calls addresses with its own keys. Assistant, jobs, invoke: it runs programs for whoever is on its
# machine, and behind us everybody looks so. Users and roles: MLflow's own accounts, which are not used.
CLOSED = re.compile(
    r"mlflow/(?:gateway|webhooks|users|roles|assistant|jobs|mcp|demo|prompt-optimization|ui-telemetry)\b.*"
    r"|mlflow/(?:.*/)?(?:invoke|create-promptlab-run|online-config)|(?:gateway|assistant|jobs|mcp)\b.*"
)
WORKSPACES = re.compile(r"mlflow/workspaces(?:/(?P<name>[^/]*))?$")


class Write(StrEnum):
    """What a writing request changes."""

    NEW_RUN = "a new run"
    NEW_LOGGED_MODEL = "a new logged model"
    NEW_EXPERIMENT = "a new experiment"
    NEW_MODEL = "a new registered model"
    NEW_VERSION = "a new version"
    RUN = "a run"
    RUN_FILE = "a file of the run in the query"
    FILE = "files of what the path names"
    LOGGED_MODEL = "the logged model in the path"
    EXPERIMENT = "an experiment"
    WHOLE_EXPERIMENT = "an experiment with its runs"
    EXPERIMENT_TAG = "a tag of an experiment"
    MODEL = "a registered model"
    WHOLE_MODEL = "a registered model with its versions"
    VERSION = "a version"
    STAGE = "the stage of a version"
    ALIAS = "an alias"
    SHARED = "what belongs to the whole tenant"
    SHARED_AWAY = "what belongs to the whole tenant, and is gone then"

    @property
    def is_json(self) -> bool:
        """Its body is a JSON object that says what is changed; other bodies are streamed."""
        return self not in (Write.FILE, Write.RUN_FILE, Write.SHARED, Write.SHARED_AWAY)


RUN_VERBS = "update|delete|restore|log-metric|log-parameter|log-batch|log-model|log-inputs|outputs|set-tag|delete-tag"
WRITES: tuple[tuple[str, str, Write], ...] = (
    ("POST", "runs/create", Write.NEW_RUN),
    ("POST", f"runs/(?:{RUN_VERBS})", Write.RUN),
    ("POST", "traces/link-to-run|artifacts/presigned-upload-url", Write.RUN),
    ("POST", "upload-artifact", Write.RUN_FILE),
    ("PUT|DELETE", "-artifacts/artifacts/.+", Write.FILE),
    ("POST", "-artifacts/mpu/(?:create|complete|abort)/.+", Write.FILE),
    ("POST", "logged-models", Write.NEW_LOGGED_MODEL),
    ("PATCH|DELETE", "logged-models/[^/]+", Write.LOGGED_MODEL),
    ("POST", "logged-models/[^/]+/params", Write.LOGGED_MODEL),
    ("PATCH", "logged-models/[^/]+/tags", Write.LOGGED_MODEL),
    ("DELETE", "logged-models/[^/]+/tags/[^/]+", Write.LOGGED_MODEL),
    ("POST", "experiments/create", Write.NEW_EXPERIMENT),
    ("POST", "experiments/(?:update|restore)", Write.EXPERIMENT),
    ("POST", "experiments/delete", Write.WHOLE_EXPERIMENT),
    ("POST", "experiments/(?:set|delete)-experiment-tag", Write.EXPERIMENT_TAG),
    ("POST", "registered-models/create", Write.NEW_MODEL),
    ("PATCH", "registered-models/update", Write.MODEL),
    ("POST", "registered-models/(?:rename|set-tag)", Write.MODEL),
    ("DELETE", "registered-models/delete-tag", Write.MODEL),
    ("DELETE", "registered-models/delete", Write.WHOLE_MODEL),
    ("POST|DELETE", "registered-models/alias", Write.ALIAS),
    ("POST", "model-versions/create", Write.NEW_VERSION),
    ("PATCH", "model-versions/update", Write.VERSION),
    ("POST", "model-versions/set-tag", Write.VERSION),
    ("DELETE", "model-versions/delete(?:-tag)?", Write.VERSION),
    ("POST", "model-versions/transition-stage", Write.STAGE),
    # a trace or a set of questions has no owner: everybody adds to it, leaders take it away
    ("POST", "traces|traces/link-prompts|traces/[^/]+/assessments", Write.SHARED),
    ("PATCH", "traces/[^/]+(?:/tags|/assessments/[^/]+)?", Write.SHARED),
    ("DELETE", "traces/[^/]+/(?:tags|assessments/[^/]+)", Write.SHARED),
    ("POST", "traces/delete-traces", Write.SHARED_AWAY),
    ("POST", "datasets/(?:create|[^/]+/(?:add-experiments|remove-experiments|records))", Write.SHARED),
    ("PATCH", "datasets/[^/]+/tags", Write.SHARED),
    ("DELETE", "datasets/[^/]+(?:/records|/tags/[^/]+)?", Write.SHARED_AWAY),
)
_WRITES = [(methods.split("|"), re.compile(f"mlflow(?:/|(?=-))(?:{paths})", re.DOTALL), write) for methods, paths, write in WRITES]
OPENTELEMETRY = "v1/traces"


@dataclass(frozen=True)
class Needs:
    """``action`` of the permission table. ``workspaces``: "list", or the name of the one asked for. ``write``: what is changed."""

    action: str
    workspaces: str = ""
    write: Write | None = None


def classify(method: str, path: str) -> Needs:
    """``path`` decoded, with the prefix. Raises BadInput, Denied."""
    below = path.removeprefix(PREFIX)
    if "//" in below or "\\" in below or "\0" in below or any(part in (".", "..") for part in below.split("/")):
        raise BadInput("the path has '//', '.' or '..' in it")
    rest = rest_of(path)
    if CLOSED.fullmatch(rest):
        # MLflow's pages ask for some of it and take "not there" quietly
        raise (
            NotFound("this part of MLflow is not open here")
            if method in READING_METHODS
            else Denied("this part of MLflow is not open here")
        )
    named = WORKSPACES.match(rest)
    if named:
        if method not in READING_METHODS:
            raise Denied("workspaces are the tenants of the platform: they are made and named there")
        return Needs("models:read", workspaces=named["name"] or "list")
    if is_reading(method, rest):
        return Needs("models:read")
    return Needs("models:write", write=find_write(method, rest))


def find_write(method: str, rest: str) -> Write:
    """Raises Denied for what is not in the table."""
    if (method, rest) == ("POST", OPENTELEMETRY):
        return Write.SHARED
    for methods, path, write in _WRITES:
        if method in methods and path.fullmatch(rest):
            return write
    raise Denied("this part of MLflow is not open here")


def rest_of(path: str) -> str:
    """The path without the prefix and the version of the API."""
    below = path.removeprefix(PREFIX)
    found = API.fullmatch(below)
    return found["rest"] if found else below.lstrip("/")


def is_reading(method: str, rest: str) -> bool:
    return method in READING_METHODS or (method == "POST" and READING_POSTS.fullmatch(rest) is not None)
