"""An MLflow model, loaded and ready to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltai_lab.serving.errors import ModelFailed, Refused
from ltai_lab.serving.inputs import Array, Data, InputSpec, Tensor

# Flavors whose models answer every row by itself; a model of one's own (pyfunc) may not.
ROW_WISE_FLAVORS = {"sklearn", "xgboost", "lightgbm", "catboost", "pytorch", "tensorflow", "keras", "onnx", "paddle", "statsmodels"}
# What a model raises about its input rather than about itself.
INPUT_FAULTS = (ValueError, TypeError, KeyError, IndexError, OverflowError)


@dataclass(frozen=True)
class Model:
    """``predict`` takes what ``inputs`` describes; ``probabilities``, when it has them, gives one number a class, in their order."""

    flavor: str
    flavor_version: str
    inputs: InputSpec
    outputs: tuple[Tensor, ...]
    schema: Any
    row_wise: bool
    predict: Callable[[Data], Any]
    predict_with: Callable[[Data, dict[str, Any]], Any]
    probabilities: Callable[[Data], Array] | None = None
    classes: tuple[Any, ...] = ()
    parameters: tuple[str, ...] = ()
    pyfunc: Any = None


def load_model(uri: str) -> Model:
    """Downloads when needed (MLFLOW_TRACKING_URI, MLFLOW_TRACKING_TOKEN). Raises whatever MLflow raises."""
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(uri)
    signature = loaded.metadata.signature
    flavor, version = _flavor(loaded.metadata.flavors)
    estimator = getattr(loaded._model_impl, "sklearn_model", None) if flavor == "sklearn" else None
    inputs = make_input_spec(signature, estimator)
    return Model(
        flavor=flavor,
        flavor_version=version,
        inputs=inputs,
        outputs=_tensors(signature.outputs, "output") if signature is not None and signature.outputs is not None else (),
        schema=signature.inputs if signature is not None else None,
        row_wise=flavor in ROW_WISE_FLAVORS,
        predict=_guard(_make_predict(loaded, estimator, inputs)),
        predict_with=_guard_two(lambda data, parameters: loaded.predict(_as_table(inputs, data), params=parameters)),
        probabilities=_make_probabilities(estimator, inputs),
        classes=tuple(_plain(c) for c in getattr(estimator, "classes_", ())) if estimator is not None else (),
        parameters=tuple(p.name for p in signature.params.params) if signature is not None and signature.params else (),
        pyfunc=loaded,
    )


def make_input_spec(signature: Any, estimator: Any = None) -> InputSpec:
    """MLflow's signature in our words."""
    if signature is None or signature.inputs is None:
        return InputSpec(width=getattr(estimator, "n_features_in_", None))
    schema = signature.inputs
    tensors = _tensors(schema)
    if schema.is_tensor_spec():
        return InputSpec(tensors=tensors, named=schema.has_input_names())
    if not schema.has_input_names():
        return InputSpec(width=len(tensors))
    kinds = {tensor.dtype for tensor in tensors}
    only = next(iter(kinds)) if len(kinds) == 1 else None
    every_one_needed = all(getattr(column, "required", True) for column in schema.inputs)
    return InputSpec(columns=tensors, dtype=only if only is not None and only.kind in "biuf" and every_one_needed else None)


def _tensors(schema: Any, side: str = "input") -> tuple[Tensor, ...]:
    if schema.is_tensor_spec():
        return tuple(Tensor(spec.name or f"{side}-{at}", np.dtype(spec.type), tuple(spec.shape)) for at, spec in enumerate(schema.inputs))
    return tuple(Tensor(str(spec.name or f"{side}-{at}"), _column_dtype(spec.type), (-1,)) for at, spec in enumerate(schema.inputs))


def _column_dtype(kind: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(kind.to_numpy())
    except (AttributeError, TypeError):  # arrays, objects, maps
        return np.dtype(object)
    return dtype if dtype.kind in "biuf" else np.dtype(object)


def _flavor(flavors: dict[str, Any]) -> tuple[str, str]:
    for name, details in flavors.items():
        if name != "python_function":
            return name, str(details.get(f"{name}_version", ""))
    return "python_function", str(flavors.get("python_function", {}).get("python_version", ""))


def _make_predict(loaded: Any, estimator: Any, inputs: InputSpec) -> Callable[[Data], Any]:
    """scikit-learn models are asked directly: ``inputs`` has made the checks pyfunc would make again (measured: 250 µs a call)."""
    if estimator is None or not inputs.is_matrix:
        return lambda data: loaded.predict(_as_table(inputs, data))
    ask = loaded._model_impl.predict
    if inputs.columns:
        return lambda data: ask(_as_table(inputs, data))
    return lambda data: ask(data)


def _make_probabilities(estimator: Any, inputs: InputSpec) -> Callable[[Data], Array] | None:
    if not hasattr(estimator, "predict_proba"):
        return None
    return lambda data: np.asarray(estimator.predict_proba(_as_table(inputs, data)))


def _as_table(inputs: InputSpec, data: Data) -> Data:
    """Rows of a table travel as one array inside; the model gets the DataFrame it was trained on."""
    if not inputs.columns or not isinstance(data, np.ndarray):
        return data
    import pandas as pd

    return pd.DataFrame(data, columns=inputs.column_names)


def _guard(predict: Callable[[Data], Any]) -> Callable[[Data], Any]:
    def guarded(data: Data) -> Any:
        try:
            return predict(data)
        except Exception as error:
            raise _to_problem(error) from error

    return guarded


def _guard_two(predict: Callable[[Data, dict[str, Any]], Any]) -> Callable[[Data, dict[str, Any]], Any]:
    def guarded(data: Data, parameters: dict[str, Any]) -> Any:
        return _guard(lambda rows: predict(rows, parameters))(data)

    return guarded


def _to_problem(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    text = " ".join(str(getattr(error, "message", error)).split())[:500]
    if isinstance(error, INPUT_FAULTS) or type(error).__name__ == "MlflowException":
        return Refused(f"the model refused the input: {text}")
    return ModelFailed(f"the model failed on this input: {type(error).__name__}: {text}")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
