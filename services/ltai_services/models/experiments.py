"""MLflow's experiment 0 ("Default") exists in its first workspace only; here every tenant has one of that name."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

DEFAULT_EXPERIMENT = "Default"
DEFAULT_ID = "0"
PATHS = re.compile(r".*/mlflow/(experiments/get|runs/create|runs/search|logged-models|logged-models/search)")


def uses_experiment(path: str) -> bool:
    """Requests whose body or query may name experiment 0."""
    return PATHS.fullmatch(path) is not None


def names_default(query: str, content: bytes) -> bool:
    return ("experiment_id", DEFAULT_ID) in parse_qsl(query) or _replace(load_object(content), DEFAULT_ID) is not None


def in_query(query: str, number: str) -> str:
    return urlencode([(key, number if (key, value) == ("experiment_id", DEFAULT_ID) else value) for key, value in parse_qsl(query)])


def in_body(content: bytes, number: str) -> bytes:
    replaced = _replace(load_object(content), number)
    return content if replaced is None else json.dumps(replaced).encode()


def load_object(content: bytes) -> dict[str, Any]:
    """{} for what is no JSON object; MLflow itself says what is wrong with it."""
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _replace(body: dict[str, Any], number: str) -> dict[str, Any] | None:
    """The body with ``number`` for experiment 0; None when it does not name it."""
    if str(body.get("experiment_id")) == DEFAULT_ID:
        return {**body, "experiment_id": number}
    many = body.get("experiment_ids")
    if isinstance(many, list) and DEFAULT_ID in map(str, many):
        return {**body, "experiment_ids": [number if str(one) == DEFAULT_ID else one for one in many]}
    return None
