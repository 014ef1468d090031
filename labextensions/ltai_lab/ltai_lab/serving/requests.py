"""Bodies of ``/invocations`` and ``/predict`` → rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from ltai_lab.serving.errors import Refused, WrongType
from ltai_lab.serving.images import image_to_rows
from ltai_lab.serving.inputs import Data, conform, from_v2, rows_to_array
from ltai_lab.serving.loading import Model
from ltai_lab.serving.tables import csv_to_rows

MLFLOW_KEYS = ("instances", "inputs", "dataframe_split", "dataframe_records")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Asked:
    """Rows to predict; ``parameters`` are the model's own (its signature names them)."""

    data: Data
    parameters: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def load_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is no JSON: {error}") from None


def parse_infer(model: Model, body: bytes) -> tuple[Asked, dict[str, Any]]:
    """An infer request of the Open Inference Protocol; also the request itself (id, outputs)."""
    request = load_json(body)
    if not isinstance(request, dict):
        raise Refused('the body must be an object: {"inputs": [{"name", "shape", "datatype", "data"}]}')
    parameters = request.get("parameters") if model.parameters else None
    own = {name: parameters[name] for name in model.parameters if name in parameters} if isinstance(parameters, dict) else {}
    return Asked(from_v2(model.inputs, request.get("inputs")), own), request


def parse_invocation(model: Model, content_type: str, body: bytes) -> Asked:
    """The formats of MLflow's scoring server."""
    kind = _media_type(content_type)
    if kind == "application/json":
        return _mlflow_json(model, load_json(body))
    if kind == "text/csv":
        return Asked(*_csv(model, body))
    raise WrongType(f"/invocations takes application/json or text/csv, not {kind or 'a body without Content-Type'}")


def parse_upload(model: Model, content_type: str, body: bytes) -> Asked:
    """A file as the page sends it: multipart with a ``file``, or the file itself."""
    kind, name = _media_type(content_type), ""
    if kind == "multipart/form-data":
        name, kind, body = find_file(content_type, body)
    kind = sniff(kind, name, body)
    if kind == "image":
        return Asked(image_to_rows(model.inputs, body))
    if kind == "csv":
        return Asked(*_csv(model, body))
    return _any_json(model, load_json(body))


def sniff(kind: str, name: str, body: bytes) -> str:
    """ "image", "csv" or "json", by the media type, else the file's name. Raises WrongType."""
    lower = name.lower()
    if kind.startswith("image/") or lower.endswith(IMAGE_ENDINGS):
        return "image"
    if kind in ("application/json", "text/json") or lower.endswith(".json"):
        return "json"
    if kind in ("text/csv", "application/csv", "application/vnd.ms-excel", "text/plain") or lower.endswith(".csv"):
        return "csv"
    if body[:8] == b"\x89PNG\r\n\x1a\n" or body[:3] == b"\xff\xd8\xff":
        return "image"
    raise WrongType(f"send a PNG or JPEG picture, a CSV file or JSON, not {kind or 'something without Content-Type'}")


def find_file(content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """File name, media type and content of the part ``file`` (else the first part with a file name). RFC 7578."""
    boundary = next(
        (p.split("=", 1)[1].strip().strip('"') for p in content_type.split(";") if p.strip().lower().startswith("boundary=")), ""
    )
    if not boundary:
        raise Refused("the multipart body has no boundary")
    found: list[tuple[str, str, bytes]] = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        if not separator:
            continue
        headers = _part_headers(head)
        disposition = headers.get("content-disposition", "")
        entry = (_parameter(disposition, "filename"), _media_type(headers.get("content-type", "")), content)
        if _parameter(disposition, "name") == "file":
            return entry
        if entry[0]:
            found.append(entry)
    if not found:
        raise Refused("the form has no 'file'")
    return found[0]


def _part_headers(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", "replace").split("\r\n")
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if value}


def _parameter(header: str, name: str) -> str:
    for part in header.split(";")[1:]:
        key, _, value = part.strip().partition("=")
        if key.lower() == name:
            return value.strip('"')
    return ""


def _media_type(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower()


def _csv(model: Model, body: bytes) -> tuple[Data, dict[str, Any], list[str]]:
    rows, left_out = csv_to_rows(model.inputs, body)
    return rows, {}, left_out


def _any_json(model: Model, value: Any) -> Asked:
    """Infer requests, MLflow's formats, a list of rows, or one row as an object of columns."""
    if isinstance(value, list):
        return _rows(model, value)
    if not isinstance(value, dict):
        raise Refused("send a list of rows, or an object with 'inputs', 'instances' or 'dataframe_records'")
    inputs = value.get("inputs")
    if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) and "datatype" in inputs[0]:
        return Asked(from_v2(model.inputs, inputs))
    if any(key in value for key in MLFLOW_KEYS):
        return _mlflow_json(model, value)
    return _rows(model, [value])


def _rows(model: Model, rows: list[Any]) -> Asked:
    if rows and isinstance(rows[0], dict):
        return _mlflow_json(model, {"dataframe_records": rows})
    if not rows:
        raise Refused("the list of rows is empty")
    if not model.inputs.is_matrix:
        return _mlflow_json(model, {"instances": rows})
    return Asked(conform(model.inputs, rows_to_array(rows)))


def _mlflow_json(model: Model, value: Any) -> Asked:
    """Parsed by MLflow itself, so every shape its clients send is understood the same way."""
    if not isinstance(value, dict) or sum(key in value for key in MLFLOW_KEYS) != 1:
        raise Refused(f"the body must be an object with exactly one of {', '.join(MLFLOW_KEYS)}")
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    parameters = value.get("params") or {}
    if not isinstance(parameters, dict):
        raise Refused("'params' must be an object")
    try:
        data = infer_and_parse_data({k: v for k, v in value.items() if k in MLFLOW_KEYS}, model.schema)
    except MlflowException as error:
        raise Refused(" ".join(error.message.split())[:500]) from None
    except Exception as error:  # MLflow's parser lets pandas' and numpy's own errors through
        raise Refused(f"the rows cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from None
    return Asked(_settle(model, data), parameters)


def _settle(model: Model, data: Any) -> Data:
    """A table or array as MLflow made it → the form our own checks and batches use, where one exists."""
    import numpy as np

    inputs = model.inputs
    if isinstance(data, np.ndarray) and data.dtype != object and inputs.is_matrix:
        return conform(inputs, data)
    if inputs.dtype is not None and hasattr(data, "columns"):
        missing = [name for name in inputs.column_names if name not in data.columns]
        if missing:
            raise Refused(f"columns are missing: {', '.join(missing[:8])}")
        return conform(inputs, data[inputs.column_names].to_numpy())
    if inputs.tensors and not inputs.named and hasattr(data, "columns"):
        return conform(inputs, data.to_numpy())
    return data
