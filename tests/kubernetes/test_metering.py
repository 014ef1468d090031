"""Usage of jobs is what their pods' own times say, whatever happens to platform, watch, pods and nodes meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ltai_services.training import store as jobs
from ltai_services.training.controller import JobController
from ltai_services.training.store import Job
from ltai_services.training.workload import make_subject

from ltai_hub.backends.kubernetes.jobs import job_name
from ltai_hub.backends.kubernetes.names import home_claim
from ltai_hub.backends.kubernetes.times import moment
from ltai_hub.db.migrate import migrate
from ltai_hub.domain.tenants import Person
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.metering import store as metering
from ltai_hub.metering.phases import change_phase
from ltai_hub.paths import DataFolder
from ltai_hub.service import Platform
from ltai_hub.tenancy.admission import Ask, admit
from ltai_hub.units import utc_now
from tests.factories import a_school
from tests.kubernetes.controller_process import ELSEWHERE, PLACE, TINY, a_backend, a_controller, a_platform
from tests.kubernetes.places import a_tenant_in_the_cluster, kubectl
from tests.kubernetes.ways import a_way_to_the_api_server

INSTANCE = f"kg-{os.getpid()}"
TENANT, USER = "ml", "sam"
SLEEP = "import sys, time; time.sleep(float(sys.argv[1]))"
REPOSITORY = Path(__file__).parents[2]
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)

Span = tuple[datetime | None, datetime | None]


@dataclass
class Place:
    folder: Path
    namespace: str
    platform: Platform
    names: dict[int, str] = field(default_factory=dict)

    @property
    def controller(self) -> JobController:
        """Another one each time, as after a restart."""
        return a_controller(self.platform)

    def submit(self, seconds: float, flavor: str = TINY) -> int:
        command = ("python", "-c", SLEEP, str(seconds))
        row, now = jobs.NewRow("metered", USER, TENANT, "", "python", flavor, command, "", {}, None), utc_now()
        with self.platform.database.transaction() as tx:
            job = jobs.insert_job(tx, row, now)
            subject = make_subject(job, self.platform.catalog)
            ask = Ask(Kind.JOB, job.noun_id, USER, TENANT, flavor, subject.resources)
            admit(tx, Person(USER, False), "jobs:create", ask, now, self.platform.left_to_queue)
            change_phase(tx, subject, None, Phase.QUEUED, "", now, USER)
        return job.id

    def job(self, number: int) -> Job:
        with self.platform.database.reading() as tx:
            return jobs.get(tx, number)

    def has_ended(self, *numbers: int) -> bool:
        return all(self.job(number).phase.is_final for number in numbers)

    def metered(self, number: int) -> list[Span]:
        with self.platform.database.reading() as tx:
            found = metering.intervals(tx, datetime(2000, 1, 1, tzinfo=UTC), FOREVER, noun=(Kind.JOB, str(number)))
        return [(one.started_at, one.ended_at) for one in found]

    def pods(self, number: int) -> list[dict[str, Any]]:
        selector = f"jobset.sigs.k8s.io/jobset-name={job_name(f'job-{number}')}"
        found: list[dict[str, Any]] = json.loads(kubectl("get", "pods", "-n", self.namespace, "-l", selector, "-o", "json"))["items"]
        return found

    def pods_own(self, number: int) -> Span:
        """As the cluster reports it of the one pod there is; (None, None) before it began."""
        states = [status["state"] for pod in self.pods(number) for status in pod["status"].get("containerStatuses", [])]
        if not states:
            return None, None
        (state,) = states
        end = state.get("terminated", {})
        return moment(end.get("startedAt") or state.get("running", {}).get("startedAt")), moment(end.get("finishedAt"))


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with a_tenant_in_the_cluster(INSTANCE, TENANT) as name:
        yield name


@pytest.fixture
async def place(namespace: str, tmp_path: Path) -> AsyncIterator[Place]:
    migrate(DataFolder(tmp_path).database_url)
    backend = a_backend(tmp_path, INSTANCE)
    platform = a_platform(tmp_path, INSTANCE, backend)
    with platform.database.transaction() as tx:
        a_school(tx)
    yield Place(tmp_path, namespace, platform)
    kubectl("delete", "jobset", "--all", "-n", namespace, "--wait=false")
    platform.database.close()
    await backend.close()


@contextmanager
def a_controller_process(place: Place) -> Iterator[None]:
    """Killed at the end as a machine's out-of-memory killer does."""
    command = [sys.executable, "-m", "tests.kubernetes.controller_process", str(place.folder), INSTANCE]
    with (place.folder / "controller.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY)
    try:
        yield
        assert process.poll() is None, (place.folder / "controller.log").read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], object], what: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"after {seconds:g} s it is still not so that {what}"
        time.sleep(0.2)


async def passes_until(controller: JobController, holds: Callable[[], object], what: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"after {seconds:g} s it is still not so that {what}"
        await controller.pass_once()
        await asyncio.sleep(0.2)


# ---- the process that looks is killed


def test_what_runs_on_and_ends_while_nobody_looks_is_metered_by_its_pods_own_times(place: Place) -> None:
    short, long = place.submit(6), place.submit(25)
    with a_controller_process(place):
        wait_until(lambda: all(place.metered(number) for number in (short, long)), "both are metered")
    wait_until(lambda: place.pods_own(short)[1], "the short one has ended")
    assert place.metered(short)[0][1] is None
    with a_controller_process(place):
        wait_until(lambda: place.has_ended(short), "its end is known")
    with a_controller_process(place):
        wait_until(lambda: place.has_ended(long), "the long one's end is known")
    for number in (short, long):
        assert place.job(number).phase is Phase.SUCCEEDED
        assert place.metered(number) == [place.pods_own(number)]


def test_what_began_and_ended_while_nobody_looked_is_metered(place: Place) -> None:
    number = place.submit(2)
    with a_controller_process(place):
        wait_until(lambda: place.job(number).backend_state, "the cluster has it")
    # whether it was seen to run by then is chance
    wait_until(lambda: place.pods_own(number)[1], "it has ended")
    with a_controller_process(place):
        wait_until(lambda: place.has_ended(number), "its end is known")
    assert place.metered(number) == [place.pods_own(number)]


def test_killed_again_and_again_nothing_is_metered_twice_or_left_out(place: Place) -> None:
    numbers = [place.submit(seconds) for seconds in (1, 2, 4, 7, 11)]
    for lives in range(1, 7):
        with a_controller_process(place):
            time.sleep(1 + lives * 0.45)
    with a_controller_process(place):
        wait_until(lambda: place.has_ended(*numbers), "all have ended")
    for number in numbers:
        assert place.metered(number) == [place.pods_own(number)]


# ---- the watch breaks


async def test_an_end_that_no_watch_told_of_is_found_by_listing_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_way_to_the_api_server(tmp_path) as way:
        # read once, when the library is imported
        monkeypatch.setattr("kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(way.kubeconfig))
        number, controller = place.submit(4), place.controller
        await passes_until(controller, lambda: place.metered(number), "it is metered")
        await way.close()
        kubeconfig = os.environ["KUBECONFIG"]
        await asyncio.to_thread(wait_until, lambda: place.pods_own(number)[1], f"it has ended, as {kubeconfig} says")
        await controller.pass_once()
        assert place.metered(number)[0][1] is None
        await way.open()
        await passes_until(controller, lambda: place.has_ended(number), "its end is known")
    assert place.metered(number) == [place.pods_own(number)]


# ---- pods and nodes are lost


async def test_a_pod_removed_behind_the_platforms_back_ends_one_run_and_begins_another(place: Place) -> None:
    number, controller = place.submit(6), place.controller
    await passes_until(controller, lambda: place.metered(number), "it is metered")
    first = place.pods_own(number)[0]
    kubectl("delete", "pods", "--all", "-n", place.namespace, "--wait=true")
    removed = utc_now()
    await passes_until(controller, lambda: place.has_ended(number), "it has ended")
    before, after = place.metered(number)
    assert before[0] == first
    assert before[1] is not None
    assert before[1] <= removed + timedelta(seconds=1)
    assert after == place.pods_own(number)


async def test_a_run_that_began_again_while_the_platform_was_away_is_metered_from_its_own_start(place: Place) -> None:
    number = place.submit(6)
    await passes_until(place.controller, lambda: place.metered(number), "it is metered")
    kubectl("delete", "pods", "--all", "-n", place.namespace, "--wait=true")
    removed = utc_now()
    await asyncio.to_thread(wait_until, lambda: place.pods_own(number)[1], "it has begun again and ended")
    await passes_until(place.controller, lambda: place.has_ended(number), "its end is known")
    before, after = place.metered(number)
    assert before[1] is not None
    assert before[1] <= removed + timedelta(seconds=1)
    assert after == place.pods_own(number)


async def test_a_job_is_metered_to_the_moment_its_node_was_lost_and_from_its_new_start(
    namespace: str, tmp_path: Path, place: Place
) -> None:
    """The node is one that nobody stands behind: the test reports for its kubelet, and then reports no more."""
    with a_volume_for_any_node(namespace) as storage, a_silent_node(f"{INSTANCE}-a"):
        place.platform = a_platform(tmp_path, INSTANCE, backend := a_backend(tmp_path, INSTANCE, storage))
        number, controller = place.submit(600, ELSEWHERE), place.controller
        await passes_until(controller, lambda: is_placed(place, number), "its pod is on the node")
        began = utc_now().replace(microsecond=0)
        report(place, number, {"running": {"startedAt": stamp(began)}}, "Running")
        await passes_until(controller, lambda: place.metered(number), "it is metered")
        assert place.metered(number) == [(began, None)]
        # the cluster notices by itself: no sign of life, then the pods are told to go, and nobody lets them go
        await passes_until(controller, lambda: place.job(number).phase is Phase.STARTING, "the node is lost", 240)
        assert "its node does not answer any more" in place.job(number).reason
        lost = not_ready_since(place, number)
        assert place.metered(number) == [(began, lost)]
        # again by another process: the same
        controller = place.controller
        for _ in range(3):
            await controller.pass_once()
        assert place.metered(number) == [(began, lost)]
        give_up(place, number)
        with a_silent_node(f"{INSTANCE}-b"):
            await passes_until(controller, lambda: is_placed(place, number), "its next pod is on the other node")
            again = utc_now().replace(microsecond=0)
            report(place, number, {"running": {"startedAt": stamp(again)}}, "Running")
            await passes_until(controller, lambda: len(place.metered(number)) == 2, "it is metered again")
            ended = again + timedelta(seconds=1)
            report(place, number, {"terminated": {"startedAt": stamp(again), "finishedAt": stamp(ended), "exitCode": 0}}, "Succeeded")
            await passes_until(controller, lambda: place.has_ended(number), "it has ended")
        assert place.metered(number) == [(began, lost), (again, ended)]
        assert place.job(number).phase is Phase.SUCCEEDED
        await backend.close()


@contextmanager
def a_silent_node(name: str) -> Iterator[None]:
    """Ready once, and never heard of again."""
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi"}
    labels = {PLACE: INSTANCE, "kubernetes.io/hostname": name}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    now = stamp(utc_now())
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now}
    status = {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [condition]}}
    kubectl("create", "-f", "-", body=json.dumps(node))
    try:
        kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
        yield
    finally:
        kubectl("delete", "node", name, "--ignore-not-found", check=False)


@contextmanager
def a_volume_for_any_node(namespace: str) -> Iterator[str]:
    """The person's home on a class that is nowhere provisioned; the name of the class."""
    name = f"{INSTANCE}-home"
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": name,
        "hostPath": {"path": f"/tmp/{name}"},
        "claimRef": {"namespace": namespace, "name": home_claim(USER)},
    }
    kubectl("delete", "jobset,pods,pvc", "--all", "-n", namespace, "--wait=true")
    kubectl(
        "create", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    )
    try:
        yield name
    finally:
        kubectl("delete", "pv", name, "--wait=false", check=False)


def is_placed(place: Place, number: int) -> bool:
    return any(pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"] for pod in place.pods(number))


def report(place: Place, number: int, state: dict[str, Any], phase: str) -> None:
    """As the kubelet of its node would."""
    (pod,) = place.pods(number)
    image = pod["spec"]["containers"][0]["image"]
    status = {"name": "main", "image": image, "imageID": image, "ready": phase == "Running", "restartCount": 0, "state": state}
    ready = {"type": "Ready", "status": str(phase == "Running"), "lastTransitionTime": stamp(utc_now())}
    body = {"status": {"phase": phase, "containerStatuses": [status], "conditions": [*pod["status"].get("conditions", []), ready]}}
    patch_status(place, pod, body)


def give_up(place: Place, number: int) -> None:
    """As the cluster's garbage collector does with the pods of a node that was removed."""
    (pod,) = place.pods(number)
    kubectl("delete", "node", pod["spec"]["nodeName"])
    gone = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "lastTransitionTime": stamp(utc_now())}
    others = [one for one in pod["status"]["conditions"] if one["type"] != "DisruptionTarget"]
    patch_status(place, pod, {"status": {"phase": "Failed", "conditions": [*others, gone]}})
    kubectl("delete", "pod", pod["metadata"]["name"], "-n", place.namespace, "--grace-period=0", "--force", "--wait=false")


def patch_status(place: Place, pod: dict[str, Any], body: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    kubectl("patch", "pod", name, "-n", place.namespace, "--subresource=status", "--type=merge", "-p", json.dumps(body))


def not_ready_since(place: Place, number: int) -> datetime | None:
    (pod,) = place.pods(number)
    (condition,) = [one for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    assert condition["status"] == "False", condition
    return moment(condition["lastTransitionTime"])


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
