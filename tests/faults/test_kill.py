"""kill -9 of the platform while an environment, a job and an endpoint run: the next start finds all three."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from ltai_hub.backends.local.records import all_records
from ltai_hub.client import Client
from tests.e2e.test_command_line import a_digit, label_of
from tests.fixtures import RunningPlatform, free_port, start_platform
from tests.hub.test_faults import borrow_images

pytestmark = pytest.mark.hub
OPTIONS = ("--demo", "--simulated-gpus", "2")
# says something each half second and ends with an exit code of its own after the platform is gone
JOB = "import time\nfor n in range(12): print('line', n, flush=True); time.sleep(0.5)\nraise SystemExit(4)"


@pytest.fixture
def data(tmp_path: Path, platform: RunningPlatform) -> Iterator[Path]:
    (tmp_path / "data").mkdir()
    borrow_images(platform, tmp_path / "data")
    yield tmp_path / "data"
    for record in all_records(tmp_path / "data" / "run" / "workloads"):
        if record.is_running and record.process:
            psutil.Process(record.process.pid).kill()


def test_environment_job_and_endpoint_are_found_again_with_log_exit_code_and_usage(data: Path) -> None:
    port = free_port()
    first = start_platform(data, *OPTIONS, port=port)
    client = client_of(first)
    trained = client.jobs.submit("train", ["python", "train.py"], profile="digits", cwd="digits")
    assert client.jobs.wait(trained["id"], timeout=120)["phase"] == "succeeded"
    client.models.register(trained["id"], "digits")
    endpoint = client.endpoints.create("digits", "digits", "1", instances=2)
    environment = client.environments.create(profile="digits")
    wait_for(lambda: client.endpoints.get(endpoint["id"])["ready_instances"] == 2)
    wait_for(lambda: client.environments.get(environment["id"])["phase"] == "running")
    job = client.jobs.submit("outlives", ["python", "-c", JOB], profile="digits")
    wait_for(lambda: client.jobs.get(job["id"])["phase"] == "running")
    before = {"environment": client.environments.get(environment["id"]), "endpoint": client.endpoints.get(endpoint["id"])}

    kill_nine(first)
    ended = wait_for(lambda: job_end(data, job["id"]))

    second = start_platform(data, *OPTIONS, port=port)
    client = client_of(second)
    found = wait_for(lambda: (seen := client.jobs.get(job["id"]))["phase"] == "failed" and seen)
    assert (found["exit_code"], found["reason"]) == (4, "exit code 4")
    assert "".join(client.jobs.log(job["id"])).splitlines() == [f"line {n}" for n in range(12)]
    assert abs((moment(found["ended_at"]) - ended).total_seconds()) < 0.01
    assert client.environments.get(environment["id"])["started_at"] == before["environment"]["started_at"]
    assert client.environments.get(environment["id"])["phase"] == "running"
    wait_for(lambda: client.endpoints.get(endpoint["id"])["ready_instances"] == 2)
    picture = a_digit(second)
    answer = wait_for(lambda: client.endpoints.predict(endpoint["id"], picture))
    assert str(answer["predictions"][0]) == label_of(picture)

    bill = {line["kind"] + ":" + line["name"]: line for line in client.bills.get()["lines"]}
    assert bill["job:outlives"]["seconds"] == pytest.approx((ended - moment(found["started_at"])).total_seconds(), abs=0.01)
    # one interval without gap or double, still open
    assert (bill["endpoint:digits"]["intervals"], bill["endpoint:digits"]["running"]) == (1, True)
    assert [(line["intervals"], line["running"]) for key, line in bill.items() if key.startswith("environment:")] == [(1, True)]

    second.stop(signal.SIGINT)
    assert alive(data) == []


def client_of(platform: RunningPlatform) -> Client:
    return Client(platform.url, platform.token("student1"))


def kill_nine(platform: RunningPlatform) -> None:
    """The supervisor gets no chance; its parts die with it, what people run does not."""
    assert platform.process
    parts = [p for p in psutil.Process(platform.process.pid).children(recursive=True) if "ltai_hub.local.child" in " ".join(p.cmdline())]
    platform.process.kill()
    platform.process.wait()
    _, left = psutil.wait_procs(parts, timeout=10)
    assert left == []


def job_end(data: Path, job: int) -> datetime | None:
    for record in all_records(data / "run" / "workloads"):
        if record.spec.name.startswith(f"job-{job}") and not record.is_running:
            return moment(record.exit.ended_at) if record.exit else None
    return None


def alive(data: Path) -> list[str]:
    """Whatever still runs of this data folder."""
    lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    running = [r.spec.name for r in all_records(data / "run" / "workloads") if r.is_running]
    return running + [line for line in lines if str(data) in line]


def moment(text: str | None) -> datetime:
    assert text
    return datetime.fromisoformat(text)


def wait_for(look: Callable[[], Any], seconds: float = 90) -> Any:
    until = time.monotonic() + seconds
    while True:
        try:
            if seen := look():
                return seen
        except Exception as error:  # the service is still coming up; the last error is shown at the end
            last: object = error
        else:
            last = "not yet"
        if time.monotonic() > until:
            raise AssertionError(f"it did not happen within {seconds:g} s: {last}")
        time.sleep(0.3)
