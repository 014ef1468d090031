"""A disk without room: starting there is refused in one line; when it fills while people work, they are told and nothing is half done."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ltai_hub.client import Client
from tests.faults.test_kill import wait_for
from tests.faults.whole import make_whole
from tests.fixtures import RunningPlatform, free_port, launch, start_platform
from tests.hub.test_faults import build_image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.hub
def test_a_full_disk_is_refused_in_one_line(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 4096))
    output = tmp_path / "out"
    process = launch(small_disk / "data", output, "--demo", "--port", str(free_port()))
    assert process.wait(30) == 2
    (line,) = output.read_text().strip().splitlines()
    assert "full" in line or "room" in line or "free" in line
    assert [p.name for p in (small_disk / "data").rglob("*") if p.is_file()] in ([], ["lock"])


def test_a_disk_that_fills_while_people_work_refuses_and_recovers(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    for whole in make_whole(small_disk, monkeypatch):
        whole.a_job("sam")
        ballast = small_disk / "ballast"
        fill(ballast)
        asked = {"name": "fit", "command": ["python", "train.py", "x" * 30_000]}
        replies = [whole.call("sam", "POST", "training", "/jobs", json=asked) for _ in range(20)]
        refused = [reply for reply in replies if reply.status_code != 201]
        assert refused
        assert {reply.status_code for reply in refused} == {503}
        assert "the disk of the platform's database is full; free some space" in refused[-1].json()["detail"]
        accepted = 1 + len(replies) - len(refused)
        assert whole.call("sam", "GET", "training", "/jobs").json()["total"] == accepted
        ballast.unlink()
        assert whole.call("sam", "POST", "training", "/jobs", json=asked).status_code == 201
        assert whole.call("sam", "GET", "training", "/jobs").json()["total"] == accepted + 1
        with whole.platform.database.reading() as tx:
            reserved = tx.exec_driver_sql("SELECT count(*), count(DISTINCT noun_id) FROM reservations").one()
        assert tuple(reserved) == (accepted + 1, accepted + 1)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


# ---- the whole platform

# goes on whatever happens to what it writes, and tells at the end what was refused
TRAINS = """
import mlflow, os, time
refused, step = set(), 0
with mlflow.start_run():
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    while not os.path.exists("enough"):
        step += 1
        try:
            print("step", step, "x" * 2000, flush=True)
        except OSError as problem:
            refused.add(problem.strerror)
        try:
            mlflow.log_metric("step", step, step=step)
        except Exception as problem:
            refused.add("metric")
        time.sleep(0.05)
    mlflow.log_metric("last", step)
print("refused", sorted(refused), flush=True)
raise SystemExit(7)
"""
ENDS = "import os, time\nwhile not os.path.exists('end'): time.sleep(0.1)\nraise SystemExit(5)"
MLFLOW = "/services/models/mlflow/api/2.0/mlflow"


@pytest.fixture
def room(platform: RunningPlatform, tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 MiB, with the images another platform has built."""
    place = tmp_path / "disk"
    images = place / "data" / "images"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "tmpfs", str(place)], check=True)
    images.mkdir(parents=True)
    build_image(platform)
    subprocess.run(["mount", "--bind", str(platform.data / "images"), str(images)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(images)], check=True)
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.hub
def test_a_disk_that_fills_under_a_running_platform(room: Path) -> None:
    running = start_platform(room / "data", "--demo", "--simulated-gpus", "2")
    try:
        fill_and_free(running, room / "ballast")
    finally:
        running.stop()


def fill_and_free(running: RunningPlatform, ballast: Path) -> None:
    token = running.token("student1")
    client, http = Client(running.url, token), httpx.Client(base_url=running.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    trains = client.jobs.submit("trains", ["python", "-c", TRAINS], profile="digits", cwd="digits")["id"]
    ends = client.jobs.submit("ends", ["python", "-c", ENDS], profile="digits", cwd="digits")["id"]
    try:
        wait_for(lambda: client.jobs.metrics(trains)["metrics"].get("step", 0) > 2, 30)
    except AssertionError:
        print(client.jobs.get(trains), "".join(client.jobs.log(trains))[-3000:])
        raise
    wait_for(lambda: client.jobs.get(ends)["phase"] == "running")
    run = http.get(f"{MLFLOW}/runs/get", params={"run_id": client.jobs.get(trains)["run_id"]}).json()["run"]["info"]

    made: list[dict[str, httpx.Response]] = []

    def nothing_is_under_way() -> bool:
        fill(ballast)
        made.append(ask_for_everything(http, run))
        return "is pending" not in made[-1]["environment"].text

    for _ in range(4):  # what was free inside the databases' own files is used up too
        nothing_is_under_way()
    # an environment that was begun while there was room may still be ending
    wait_for(nothing_is_under_way)
    for name in ("job", "environment", "tag", "run", "file"):
        answer = made[-1][name]
        assert (answer.status_code, len(sentence(answer)) > 10) == (503, True), (name, answer.text)
    for name in ("job", "tag", "run", "file"):
        assert "is full; free some space" in sentence(made[-1][name]), (name, made[-1][name].text)
    for path in (
        "/services/training/api/v1/jobs",
        "/services/billing/api/v1/bills",
        f"{MLFLOW}/experiments/search?max_results=9",
        "/hub/api/user",
    ):
        assert http.get(path).status_code == 200, path
    (running.data / "homes" / "student1" / "digits" / "end").touch()
    time.sleep(2)

    ballast.unlink()
    wait_for(lambda: client.jobs.get(ends)["phase"] == "failed")
    assert client.jobs.get(ends)["exit_code"] == 5, "it ended while nothing could be written"
    answers = wait_for(lambda: (seen := ask_for_everything(http, run)) and all(a.is_success for a in seen.values()) and seen)
    made.append(answers)
    (running.data / "homes" / "student1" / "digits" / "enough").touch()
    assert client.jobs.wait(trains, timeout=60)["exit_code"] == 7
    log = "".join(client.jobs.log(trains))
    assert "refused ['No space left on device', 'metric']" in log
    assert client.jobs.metrics(trains)["metrics"]["last"] > 2
    asked = [answer for answers in made if (answer := answers["job"]).is_success]
    listed = client.jobs.list(limit=1000)
    assert sorted(job["id"] for job in listed if job["name"] == "n") == sorted(answer.json()["id"] for answer in asked), "no half of a job"
    for answer in asked:
        assert client.jobs.wait(answer.json()["id"], timeout=60)["phase"] == "succeeded"


def ask_for_everything(http: httpx.Client, run: dict[str, str]) -> dict[str, httpx.Response]:
    folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    job = {"name": "n", "profile": "digits", "command": ["python", "-c", "pass", "x" * 30_000]}
    return {
        "job": http.post("/services/training/api/v1/jobs", json=job),
        "environment": http.post("/services/environments/api/v1/environments", json={"name": "other", "profile": "digits"}),
        "tag": http.post(f"{MLFLOW}/runs/set-tag", json={"run_id": run["run_id"], "key": str(time.time()), "value": "x" * 5000}),
        "run": http.post(f"{MLFLOW}/runs/create", json={"experiment_id": "0", "tags": [{"key": "a", "value": "x" * 5000}]}),
        "file": http.put(f"/services/models/mlflow/api/2.0/mlflow-artifacts/artifacts/{folder}/file.bin", content=bytes(1 << 20)),
    }


def sentence(answer: httpx.Response) -> str:
    return str(answer.json().get("detail", ""))
