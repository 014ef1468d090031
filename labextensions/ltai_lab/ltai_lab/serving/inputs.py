"""From numbers people send to what the model takes: checked against the model's signature, refused with a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltai_lab.serving.errors import Refused

Array = np.ndarray[Any, np.dtype[Any]]
# An array, a named set of arrays, or a pandas.DataFrame (not imported here: the array path does without).
Data = Any

FROM_V2 = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
TO_V2 = {name: kind for kind, name in FROM_V2.items()}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a signature; -1 in ``shape`` is any length, the first dimension is the rows."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class InputSpec:
    """What a model takes.

    ``tensors`` of a tensor signature (one unnamed: an array; several or named: a dict of arrays),
    or ``columns`` of a table signature; ``dtype`` is set when all columns are numbers of that one type.
    With neither, the model has no signature; ``width`` is then the number of columns it was fitted on, if known.
    """

    tensors: tuple[Tensor, ...] = ()
    named: bool = False
    columns: tuple[Tensor, ...] = ()
    dtype: np.dtype[Any] | None = None
    width: int | None = None

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def is_matrix(self) -> bool:
        """One array of rows is enough to fill it."""
        return (len(self.tensors) == 1 and not self.named) or self.dtype is not None or not (self.tensors or self.columns)


def from_v2(spec: InputSpec, tensors: Any) -> Data:
    """``inputs`` of an infer request → what the model takes. Raises Refused."""
    if not isinstance(tensors, list) or not tensors:
        raise Refused('\'inputs\' must be a list with at least one tensor: {"name", "shape", "datatype", "data"}')
    if len(tensors) == 1 and spec.is_matrix:
        return conform(spec, _parse_tensor(tensors[0]))
    named = {str(tensor.get("name")) if isinstance(tensor, dict) else "": _parse_tensor(tensor) for tensor in tensors}
    if len(named) != len(tensors):
        raise Refused("two inputs have the same name")
    return conform_named(spec, named)


def conform(spec: InputSpec, array: Array) -> Array:
    """One array of rows for a model that takes one: shape and type as the signature says."""
    if spec.columns:
        assert spec.dtype is not None
        return _cast(_check_width(_as_rows(array), len(spec.columns), spec.column_names), spec.dtype, "the input")
    if spec.tensors:
        return _check_shape(_cast(array, spec.tensors[0].dtype, "the input"), spec.tensors[0])
    if spec.width is not None:
        return _check_width(_as_rows(array), spec.width, ())
    return array


def conform_named(spec: InputSpec, named: Mapping[str, Array]) -> Data:
    """Several named arrays: tensors of the signature, or columns of a table."""
    wanted = {tensor.name: tensor for tensor in spec.columns or spec.tensors}
    if not wanted:
        raise Refused("the model has no signature, so send one tensor with all rows")
    missing = [name for name in wanted if name not in named]
    unknown = [name for name in named if name not in wanted]
    if missing or unknown:
        raise Refused(_names_problem(missing, unknown, list(wanted)))
    if not spec.columns:
        return {name: _check_shape(_cast(named[name], tensor.dtype, f"input {name!r}"), tensor) for name, tensor in wanted.items()}
    return _table(spec, {name: named[name].reshape(-1) for name in wanted})


def _table(spec: InputSpec, columns: Mapping[str, Array]) -> Data:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise Refused(f"the columns have different lengths: {lengths}")
    if spec.dtype is not None:
        return np.column_stack([_cast(column, spec.dtype, f"input {name!r}") for name, column in columns.items()])
    import pandas as pd

    types = {column.name: column.dtype for column in spec.columns}
    return pd.DataFrame(
        {n: c if types[n].kind == "O" else _cast(c, types[n], f"input {n!r}") for n, c in columns.items()}, columns=list(columns)
    )


def _parse_tensor(tensor: Any) -> Array:
    if not isinstance(tensor, dict):
        raise Refused("every input must be an object with name, shape, datatype and data")
    name = tensor.get("name", "")
    dtype = FROM_V2.get(tensor.get("datatype", ""))
    if dtype is None:
        raise Refused(f"input {name!r} has datatype {tensor.get('datatype')!r}; use one of {', '.join(FROM_V2)}")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise Refused(f"input {name!r} needs 'shape', a list of whole numbers, for example [1, 4]")
    if "data" not in tensor:
        raise Refused(f"input {name!r} has no 'data' (the binary tensor extension is not spoken here)")
    try:
        array = np.asarray(tensor["data"], dtype=dtype)
    except (ValueError, TypeError, OverflowError):
        raise Refused(f"the data of input {name!r} are not all {tensor['datatype']} values, or its rows differ in length") from None
    try:
        return array.reshape(shape)
    except ValueError:
        raise Refused(f"input {name!r} has {array.size} values, which do not fill its shape {shape}") from None


def rows_to_array(rows: Any) -> Array:
    """A JSON list of rows (or of numbers: one row) → array. Raises Refused."""
    try:
        array = np.asarray(rows)
    except ValueError:
        raise Refused("the rows differ in length") from None
    if array.dtype == object or array.ndim == 0:
        raise Refused("send a list of rows, every row a list of the same length")
    return array.reshape(1, -1) if array.ndim == 1 else array


def _as_rows(array: Array) -> Array:
    return array.reshape(1, -1) if array.ndim == 1 else array


def _check_width(array: Array, width: int, names: Sequence[str]) -> Array:
    if array.ndim == 2 and array.shape[1] == width:
        return array
    what = f"{width} columns ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})" if names else f"{width} columns"
    raise Refused(f"the input has shape {list(array.shape)} but the model takes rows of {what}")


def _check_shape(array: Array, tensor: Tensor) -> Array:
    wanted, got = tensor.shape, array.shape
    if len(wanted) == len(got) and all(w in (-1, g) for w, g in zip(wanted, got, strict=True)):
        return array
    if len(got) == len(wanted) - 1 and all(w in (-1, g) for w, g in zip(wanted[1:], got, strict=True)):
        return array[np.newaxis]
    raise Refused(f"the input has shape {list(got)} but the model takes {list(wanted)} (-1: any number)")


def _cast(array: Array, dtype: np.dtype[Any], what: str) -> Array:
    """Only when no value changes by it: whole numbers become floats, never the other way round with a loss."""
    if array.dtype == dtype:
        return array
    if dtype.kind in "OUS":
        return array.astype(object) if array.dtype.kind in "OUS" else _refuse_type(array, dtype, what)
    if array.dtype.kind not in "biuf":
        return _refuse_type(array, dtype, what)
    if dtype.kind == "f":
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        cast = array.astype(dtype)
    return cast if np.array_equal(cast, array) else _refuse_type(array, dtype, what)


def _refuse_type(array: Array, dtype: np.dtype[Any], what: str) -> Array:
    raise Refused(f"{what} has values of type {array.dtype}, which do not fit the model's type {dtype} without loss")


def _names_problem(missing: Sequence[str], unknown: Sequence[str], wanted: Sequence[str]) -> str:
    parts = []
    if missing:
        parts.append(f"missing: {', '.join(missing[:8])}")
    if unknown:
        parts.append(f"not known: {', '.join(unknown[:8])}")
    return f"the inputs do not match the model ({'; '.join(parts)}); it takes {', '.join(wanted[:16])}{', …' if len(wanted) > 16 else ''}"
