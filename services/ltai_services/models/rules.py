"""What a request to MLflow may do. Pure: method and path in, the needed action out.

MLflow itself trusts whoever reaches it, so everything it should not do for people is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ltai_hub.errors import BadInput, Denied, NotFound
from ltai_services.tracking import PREFIX

API = re.compile(r"/(?:ajax-)?api/\d\.\d/(?P<rest>.*)")
READING_METHODS = {"GET", "HEAD", "OPTIONS"}
# POST because their arguments are long, not because they change anything.
READING_POSTS = re.compile(
    r"graphql|mlflow/traces/(?:metrics|search.*|batchGetInfos|calculate-filter-correlation)|mlflow/registered-models/get-latest-versions"
    r"|mlflow/(?:[a-z-]+/)+search(?:-datasets)?"
)
# Gateway and webhooks: the server calls addresses with its own keys. Assistant, jobs, invoke: it runs programs for whoever is on its
# machine, and behind us everybody looks so. Users and roles: MLflow's own accounts, which are not used.
CLOSED = re.compile(
    r"mlflow/(?:gateway|webhooks|users|roles|assistant|jobs|mcp|demo|prompt-optimization|ui-telemetry)\b.*"
    r"|mlflow/(?:.*/)?(?:invoke|create-promptlab-run|online-config)|(?:gateway|assistant|jobs|mcp)\b.*"
)
WORKSPACES = re.compile(r"mlflow/workspaces(?:/(?P<name>[^/]*))?$")
DELETES = re.compile(r"mlflow/(registered-models|model-versions)/delete$")


@dataclass(frozen=True)
class Needs:
    """``action`` of the permission table. ``workspaces``: "list", or the name of the one asked for. ``deletes``: a model or version."""

    action: str
    workspaces: str = ""
    deletes: bool = False


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
    return Needs("models:write", deletes=bool(DELETES.match(rest)))


def rest_of(path: str) -> str:
    """The path without the prefix and the version of the API."""
    below = path.removeprefix(PREFIX)
    found = API.fullmatch(below)
    return found["rest"] if found else below.lstrip("/")


def is_reading(method: str, rest: str) -> bool:
    return method in READING_METHODS or (method == "POST" and READING_POSTS.fullmatch(rest) is not None)
