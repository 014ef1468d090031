"""Small models as MLflow stores them, made once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc import PythonModel
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

KEEP = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}


def save_digits(folder: Path) -> Path:
    """64 columns 0–255, a tensor signature; as the demo course trains it."""
    digits = load_digits()
    x = np.round(digits.images.reshape(-1, 64) * 255 / 16)
    model = LogisticRegression(max_iter=300).fit(x / 255, digits.target)
    model.coef_ /= 255
    mlflow.sklearn.save_model(model, str(folder), signature=infer_signature(x, model.predict(x)), **KEEP)
    return folder


def save_iris_table(folder: Path) -> Path:
    """A DataFrame of four named columns."""
    x, y = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(max_iter=500).fit(x, y)
    mlflow.sklearn.save_model(model, str(folder), signature=infer_signature(x, model.predict(x)), **KEEP)
    return folder


def save_without_signature(folder: Path) -> Path:
    x, y = load_iris(return_X_y=True)
    mlflow.sklearn.save_model(LogisticRegression(max_iter=500).fit(x, y), str(folder), **KEEP)
    return folder


class Mixed(PythonModel):  # type: ignore[misc]
    """A table of text and numbers; the answer depends on all rows, and one word breaks it."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        if (model_input["word"] == "boom").any():
            raise RuntimeError("this word breaks me")
        return model_input["word"].str.len() * model_input["times"] + len(model_input) * 100


def save_mixed(folder: Path) -> Path:
    example = pd.DataFrame({"word": ["a", "bc"], "times": np.array([1, 2], dtype="int64")})
    mlflow.pyfunc.save_model(str(folder), python_model=Mixed(), signature=infer_signature(example, np.array([1, 2])), pip_requirements=[])
    return folder
