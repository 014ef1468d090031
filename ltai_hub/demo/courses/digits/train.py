"""Train a classifier of handwritten digits.

    python train.py --lr 0.1 --epochs 20

Prints a line an epoch. As a job on the platform, parameters, metrics and the model go to MLflow by themselves: the job's
environment says where. Run anywhere else, the model is saved in the folder ``model`` beside this file.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import time
import warnings
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

HERE = Path(__file__).resolve().parent
NEEDED = ("numpy", "scikit-learn", "skops")
TRACKED = bool(os.environ.get("MLFLOW_TRACKING_URI"))
warnings.filterwarnings("ignore", module="mlflow")
logging.getLogger("mlflow").setLevel(logging.ERROR)


def main() -> None:
    options = read_options()
    x_train, x_test, y_train, y_test = load_digits(options.data, options.seed)
    print(f"{len(x_train)} pictures to learn from, {len(x_test)} to test with", flush=True)
    if TRACKED:
        import mlflow

        run = mlflow.start_run()
        mlflow.log_params({"lr": options.lr, "epochs": options.epochs, "alpha": options.alpha, "seed": options.seed})
    with run if TRACKED else nullcontext():
        model = train(options, x_train, x_test, y_train, y_test)
        keep(model, x_test)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate: the size of a step (default 0.1)")
    parser.add_argument("--epochs", type=int, default=20, help="how often all pictures are seen (default 20)")
    parser.add_argument("--alpha", type=float, default=1e-4, help="how strongly large weights are held back (default 0.0001)")
    parser.add_argument("--seed", type=int, default=7, help="seed of everything random (default 7)")
    parser.add_argument("--data", type=Path, default=HERE / "data" / "digits.csv", help="64 grey values (0 to 255) and the digit a line")
    return parser.parse_args()


def load_digits(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pictures as rows of 64 grey values from 0 (black) to 255 (white), and the digits; a fifth of them for the test."""
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    pictures, digits = table[:, :-1], table[:, -1].astype(int)
    x_train, x_test, y_train, y_test = train_test_split(pictures, digits, test_size=0.2, random_state=seed, stratify=digits)
    return x_train, x_test, y_train, y_test


def train(options: argparse.Namespace, x_train: np.ndarray, x_test: np.ndarray, y_train: np.ndarray, y_test: np.ndarray) -> Pipeline:
    """Logistic regression, one step of size ``lr`` a picture."""
    digits = np.arange(10)
    scaler = MinMaxScaler().fit(np.array([[0.0] * 64, [255.0] * 64]))
    classifier = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=options.lr, alpha=options.alpha, random_state=options.seed)
    model = Pipeline([("scale", scaler), ("classify", classifier)])
    x_scaled = scaler.transform(x_train)
    began = time.monotonic()
    for epoch in range(1, options.epochs + 1):
        classifier.partial_fit(x_scaled, y_train, classes=digits)
        metrics = {
            "loss": float(log_loss(y_train, model.predict_proba(x_train), labels=digits)),
            "test_loss": float(log_loss(y_test, model.predict_proba(x_test), labels=digits)),
            "accuracy": float(model.score(x_test, y_test)),
        }
        print(
            f"epoch {epoch:3}/{options.epochs}  loss {metrics['loss']:.4f}  test loss {metrics['test_loss']:.4f}  "
            f"accuracy {metrics['accuracy']:.3f}  {time.monotonic() - began:.1f} s",
            flush=True,
        )
        if TRACKED:
            import mlflow

            mlflow.log_metrics(metrics, step=epoch)
    return model


def keep(model: Pipeline, examples: np.ndarray) -> None:
    """Store the model with its signature, so that whoever serves it knows what goes in and comes out."""
    import mlflow.sklearn
    from mlflow.models import infer_signature

    about = {
        "signature": infer_signature(examples[:5], model.predict(examples[:5])),
        "input_example": examples[:2],
        # said, or MLflow loads the model once more in another process to find out, which takes seconds
        "pip_requirements": [f"{package}=={version(package)}" for package in NEEDED],
    }
    if TRACKED:
        info = mlflow.sklearn.log_model(model, name="digits", **about)
        print(f"model kept as {info.model_uri}", flush=True)
        return
    folder = HERE / "model"
    shutil.rmtree(folder, ignore_errors=True)
    mlflow.sklearn.save_model(model, folder, **about)
    print(f"model saved in {folder}", flush=True)


if __name__ == "__main__":
    main()
