"""From what a model answers to JSON: Open Inference Protocol tensors and plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltai_lab.serving.inputs import TO_V2, Array


def to_v2(result: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Tensors of an infer answer. ``names`` from the signature; without any, "output-0"."""
    if isinstance(result, np.ndarray):
        return [_tensor(names[0] if names else "output-0", result)]
    if isinstance(result, dict):
        return [_tensor(str(name), np.asarray(value)) for name, value in result.items()]
    if hasattr(result, "columns"):
        return [_tensor(str(name), result[name].to_numpy()) for name in result.columns]
    if hasattr(result, "to_numpy"):
        return [_tensor(str(result.name) if result.name is not None else (names[0] if names else "output-0"), result.to_numpy())]
    return [_tensor(names[0] if names else "output-0", _to_array(result))]


def to_lists(result: Any) -> Any:
    """The same as plain JSON: one entry a row."""
    if hasattr(result, "columns"):
        return [{str(key): _plain(value) for key, value in row.items()} for row in result.to_dict(orient="records")]
    if isinstance(result, dict):
        return {str(name): to_lists(value) for name, value in result.items()}
    return _plain(result.to_numpy() if hasattr(result, "to_numpy") else result)


def _to_array(result: Any) -> Array:
    try:
        return np.asarray(result)
    except ValueError:
        array = np.empty(len(result), dtype=object)
        array[:] = [str(value) for value in result]
        return array


def _tensor(name: str, array: Array) -> dict[str, Any]:
    datatype = TO_V2.get(array.dtype.name)
    if datatype is None or datatype == "BYTES":
        datatype, data = "BYTES", [value if isinstance(value, str) else str(value) for value in array.ravel().tolist()]
    else:
        data = array.ravel().tolist()
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": data}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
