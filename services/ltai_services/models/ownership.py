"""Whose a logged model is. MLflow lets everybody of a workspace write everywhere in it; but an endpoint runs the files of a model with
its owner's rights, so nobody else of the class may change them. Pure.

The owner is a tag which the proxy sets when the model is made; only the owner can change the model's tags.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ltai_hub.errors import BadInput
from ltai_services.models.experiments import load_object
from ltai_services.models.rules import rest_of

OWNER_TAG = "ltai.owner"
MODEL = re.compile(r"mlflow/logged-models/(?P<id>[^/]+)(?:/.*)?")
FILES = re.compile(r"mlflow-artifacts/(?:artifacts|mpu/[a-z]+)/(?P<path>.*)", re.DOTALL)
SEVERAL = "*"
# MLflow decodes the paths of files again and again, up to ten times
MOST_DECODINGS = 10


def makes_model(method: str, path: str) -> bool:
    return method == "POST" and rest_of(path) == "mlflow/logged-models"


def with_owner(content: bytes, user: str) -> bytes:
    """The body that makes a model, with the tag of its owner and no other tag of that name."""
    body = load_object(content)
    tags = body.get("tags")
    kept = [tag for tag in tags if isinstance(tag, dict) and tag.get("key") != OWNER_TAG] if isinstance(tags, list) else []
    return json.dumps({**body, "tags": [*kept, {"key": OWNER_TAG, "value": user}]}).encode()


def model_written(method: str, path: str) -> str:
    """The id of the logged model a writing request changes, SEVERAL when it may be more than one, "" for none. Raises BadInput."""
    rest = rest_of(path)
    if found := MODEL.fullmatch(rest):
        return found["id"]
    found = FILES.fullmatch(rest)
    if found is None:
        return ""
    parts = posixpath.normpath(decoded(found["path"])).strip("/").split("/")
    if parts[0] == "workspaces":
        parts = parts[2:]
    # EXPERIMENT/models/ID/artifacts/… of a model, EXPERIMENT/RUN/artifacts/… of a run
    if len(parts) >= 3:
        return parts[2] if parts[1] == "models" else ""
    return SEVERAL if method == "DELETE" else ""


def decoded(path: str) -> str:
    for _ in range(MOST_DECODINGS + 1):
        plain = unquote(path)
        if plain == path:
            return plain
        path = plain
    raise BadInput("the path is encoded too many times")


def owner_of(model: Mapping[str, Any]) -> str:
    """Of MLflow's answer about a logged model; "" when nobody is known."""
    tags = model.get("info", {}).get("tags") or []
    return next((str(tag.get("value", "")) for tag in tags if tag.get("key") == OWNER_TAG), "")
