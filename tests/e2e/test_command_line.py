"""The whole thread by the command line only, and by stock clients only (curl, mlflow)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.catalog.images import image_python
from ltai_hub.paths import DataFolder
from tests.fixtures import RunningPlatform

pytestmark = pytest.mark.hub
BIN = Path(sys.executable).parent
Cli = Callable[..., subprocess.CompletedProcess[str]]


def a_cli(platform: RunningPlatform, folder: Path, name: str) -> Cli:
    """``ltai`` with a home of its own, logged in with name and password."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "LANG": "C.UTF-8"}

    def cli(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(BIN / "ltai"), *words], env=env, cwd=folder, input=text, capture_output=True, text=True, timeout=180)

    done = cli("login", platform.url, "--user", name, "--password-stdin", text=platform.accounts[name]["password"] + "\n")
    assert done.returncode == 0, done.stderr
    return cli


def read(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def a_digit(platform: RunningPlatform) -> Path:
    """A scan of a digit; its label is its folder's name."""
    return sorted((platform.data / "courses").rglob("*.png"))[0]


def label_of(picture: Path) -> str:
    return picture.parent.name


def test_from_submit_to_bill_by_command_line(platform: RunningPlatform, tmp_path: Path) -> None:
    cli = a_cli(platform, tmp_path, "student2")
    job = read(
        cli(
            "job",
            "submit",
            "--profile",
            "digits",
            "--name",
            "机器 <1>",
            "--cwd",
            "digits",
            "-o",
            "json",
            "--",
            "python",
            "train.py",
            "--lr",
            "0.1",
        )
    )
    followed = cli("job", "log", "-f", str(job["id"]))
    assert followed.returncode == 0, followed.stderr
    assert "accuracy" in followed.stdout
    shown = read(cli("job", "show", str(job["id"]), "-o", "json"))
    assert (shown["phase"], shown["exit_code"], shown["name"]) == ("succeeded", 0, "机器 <1>")

    version = read(cli("model", "register", "--job", str(job["id"]), "--name", "cli-digits", "-o", "json"))
    assert version["framework"] == "sklearn"
    assert version["metrics"]["accuracy"] > 0.8
    assert version["job_id"] == job["id"]

    made = read(
        cli("endpoint", "create", "--name", "cli digits", "--model", "cli-digits", "--version", str(version["version"]), "-o", "json")
    )
    assert made["token"]
    wait_for(lambda: read(cli("endpoint", "show", str(made["id"]), "-o", "json"))["phase"] == "running")
    picture = a_digit(platform)
    answer = read(cli("endpoint", "predict", str(made["id"]), str(picture), "-o", "json"))
    assert str(answer["predictions"][0]) == label_of(picture)

    bill = read(cli("bill", "show", "-o", "json"))
    kinds = {line["kind"]: line for line in bill["lines"]}
    assert kinds["job"]["seconds"] > 0
    assert kinds["endpoint"]["running"]
    assert read(cli("endpoint", "stop", str(made["id"]), "-o", "json"))["phase"] in ("stopping", "stopped")
    wait_for(lambda: read(cli("endpoint", "show", str(made["id"]), "-o", "json"))["phase"] == "stopped")
    assert cli("endpoint", "delete", str(made["id"]), "--yes").returncode == 0


def test_the_exit_code_of_the_program_is_the_jobs_and_the_commands(platform: RunningPlatform, tmp_path: Path) -> None:
    cli = a_cli(platform, tmp_path, "student2")
    done = cli(
        "job", "submit", "--profile", "digits", "--name", "fails", "--wait", "-o", "json", "--", "python", "-c", "raise SystemExit(7)"
    )
    assert done.returncode == 7, done.stderr


def test_a_refusal_is_one_sentence_without_a_traceback(platform: RunningPlatform, tmp_path: Path) -> None:
    cli = a_cli(platform, tmp_path, "student2")
    done = cli("job", "submit", "--profile", "digits", "--name", "x", "--cwd", "../student1", "--", "python", "x.py")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert cli("user", "list").returncode == 1


def test_the_thread_by_stock_clients_only(platform: RunningPlatform, tmp_path: Path) -> None:
    """mlflow's own client and curl, with a hub token and nothing of ours installed beside them."""
    token = platform.token("student3")
    python = image_python(DataFolder(platform.data), "scikit-learn")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"{platform.url}/services/models/mlflow",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    script = tmp_path / "train.py"
    script.write_text(STOCK_SCRIPT)
    done = subprocess.run([str(python), str(script)], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    version = done.stdout.split()[-1]

    api = f"{platform.url}/services/serving/api/v1/endpoints"
    made = curl(api, token, "POST", {"name": "stock iris", "model": "stock-iris", "version": version, "image": "scikit-learn"})
    wait_for(lambda: curl(f"{api}/{made['id']}", token)["phase"] == "running")
    infer = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}]}
    answer = curl(made["infer_url"], made["token"], "POST", infer)
    assert answer["outputs"][0]["data"] == [0]
    refused = curl(made["infer_url"], "wrong-token", "POST", infer)
    assert "outputs" not in refused
    curl(f"{api}/{made['id']}", token, "DELETE")


STOCK_SCRIPT = """
import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True)
mlflow.set_experiment("stock")
with mlflow.start_run():
    model = LogisticRegression(max_iter=300).fit(X, y)
    mlflow.log_metric("accuracy", model.score(X, y))
    info = mlflow.sklearn.log_model(model, name="model", input_example=X[:2], registered_model_name="stock-iris")
print(info.registered_model_version)
"""


def curl(url: str, token: str, method: str = "GET", body: Any = None) -> Any:
    """The token goes in by standard input, so that no process list shows it."""
    words = ["curl", "-sS", "-X", method, "-H", "@-", "-H", "Content-Type: application/json", url]
    if body is not None:
        words += ["--data-binary", json.dumps(body)]
    done = subprocess.run(words, input=f"Authorization: Bearer {token}\n", capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout) if done.stdout.strip() else None


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen within {seconds:g} s")
        time.sleep(0.3)
