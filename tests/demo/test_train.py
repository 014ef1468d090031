"""The course's files really run in the image its profile names."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from ltai_hub.catalog import load_catalog
from ltai_hub.catalog.images import build_image
from ltai_hub.demo.courses import make_courses
from ltai_hub.paths import DataFolder, shipped

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = DataFolder(tmp_path_factory.mktemp("images"))
    catalog = load_catalog(shipped("spawner_profiles"))
    return asyncio.run(build_image(data, catalog.images[catalog.profiles["digits"].image]))


@pytest.fixture
def course(tmp_path: Path) -> Path:
    make_courses(DataFolder(tmp_path))
    return tmp_path / "courses" / "digits"


def run(program: Path, *arguments: str, at: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | variables
    done = subprocess.run([program, *arguments], cwd=at, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_train_learns_and_saves_a_model_without_any_server(python: Path, course: Path) -> None:
    output = run(python, "train.py", "--lr", "0.1", "--epochs", "5", at=course)
    last = next(line for line in reversed(output.splitlines()) if line.startswith("epoch"))
    assert last.startswith("epoch   5/5")
    assert float(last.split("accuracy")[1].split()[0]) > 0.9
    model = (course / "model" / "MLmodel").read_text()
    assert "[-1, 64]" in model
    assert "sklearn" in model
    needed = (course / "model" / "requirements.txt").read_text().split()
    assert {"mlflow", "numpy", "scikit-learn", "skops"} == {line.partition("==")[0] for line in needed}
    assert all("==" in line for line in needed)


def test_the_saved_model_knows_a_digit_from_its_picture(python: Path, course: Path) -> None:
    run(python, "train.py", "--epochs", "5", at=course)
    code = (
        "import glob, numpy as np, mlflow.pyfunc; from PIL import Image; model = mlflow.pyfunc.load_model('model'); "
        "paths = sorted(glob.glob('data/png/*/*.png')); "
        "x = np.array([np.asarray(Image.open(p), dtype=float).ravel() for p in paths]); "
        "print(np.mean(model.predict(x) == [int(p.split('/')[2]) for p in paths]))"
    )
    assert float(run(python, "-c", code, at=course)) > 0.9


def test_train_says_what_it_can_do(python: Path, course: Path) -> None:
    output = run(python, "train.py", "--help", at=course)
    assert "--lr" in output
    assert "--epochs" in output


@pytest.mark.parametrize("name", ["digits", "gpu-intro"])
def test_the_notebook_runs(python: Path, course: Path, name: str) -> None:
    folder = course.parent / name
    run(python.parent / "jupyter-execute", "--inplace", f"{name}.ipynb", at=folder)
    cells = json.loads((folder / f"{name}.ipynb").read_text("utf-8"))["cells"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")
    assert not [o for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "error"]
