"""What breaks while people work: what they are told, that nothing is lost or billed twice, and that it heals without a hand."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.fixtures import Browser
from tests.kubernetes.installed.release import Release, until
from tests.kubernetes.places import kubectl
from tests.kubernetes.rig import killed

pytestmark = pytest.mark.slow

ANN, TENANT = "student1", "ml-101"
JOBS = "/services/training/api/v1/jobs"
AWAY_SECONDS = 30.0
# JobSet ends with every lease it loses, and the node waits longer each time before it starts it again
LONGEST_BACK_OFF = 330.0
ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture
def browser(release: Release) -> Iterator[Browser]:
    with release.session(ANN) as browser:
        yield browser


@pytest.fixture
def client(release: Release) -> Iterator[httpx.Client]:
    with release.client(ANN) as client:
        yield client


@pytest.fixture(scope="module")
def environment(release: Release) -> Iterator[str]:
    """What its usage is noted under; it runs through everything that breaks, and is stopped at the end."""
    with release.session(ANN) as browser:
        browser.api("POST", f"/users/{ANN}/server", json={"profile": "digits"})
        assert browser.wait_for_server(ANN, seconds=180)["ready"], row_of(release)
        yield run_of(release)
        until(lambda: browser.api("DELETE", f"/users/{ANN}/server").status_code in (202, 204, 400), "it is asked to stop")
        until(lambda: row_of(release)["phase"] in ("stopped", "failed"), "it has stopped")


def row_of(release: Release, server: str = "") -> dict[str, str]:
    names = ("id", "generation", "phase", "reason")
    query = f"SELECT {', '.join(names)} FROM environments WHERE \"user\" = '{ANN}' AND server = '{server}'"
    ((*values,),) = release.sql(query)
    return dict(zip(names, values, strict=True))


def run_of(release: Release, server: str = "") -> str:
    """As usage names it."""
    row = row_of(release, server)
    return f"{row['id']}.{row['generation']}"


def pod_uids(release: Release) -> set[str]:
    labels = f"ltai.dev/kind=environment,ltai.dev/user={ANN}"
    found = pods(release.tenant(TENANT), labels)
    return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def answers(browser: Browser, server: str = "") -> bool:
    """The environment itself, through the proxy."""
    with suppress(httpx.HTTPError):
        return browser.get(f"/user/{ANN}/{server}/api".replace("//", "/"), timeout=5).status_code == 200
    return False


def ask_for(browser: Browser, server: str) -> int:
    """400: it starts already."""
    return int(browser.api("POST", f"/users/{ANN}/servers/{server}", json={"profile": "digits"}).status_code)


def submit(client: httpx.Client, code: str = "pass", name: str = "fault") -> httpx.Response:
    return client.post(JOBS, json={"name": name, "command": ["python", "-c", code], "profile": "digits", "tenant": TENANT})


def submitted(client: httpx.Client, code: str = "pass") -> int:
    reply = submit(client, code)
    assert reply.status_code == 201, reply.text
    return int(reply.json()["id"])


def job_of(client: httpx.Client, job: int) -> dict[str, Any]:
    reply = client.get(f"{JOBS}/{job}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def until_phase(client: httpx.Client, job: int, *phases: str, seconds: float = 120) -> dict[str, Any]:
    until(lambda: job_of(client, job)["phase"] in phases, f"job {job} is {' or '.join(phases)}", seconds)
    return job_of(client, job)


def sleeping(seconds: float) -> str:
    return f"import time; time.sleep({seconds})"


def check_billed_once(release: Release, job: int, least: float = 0, most: float = 1e9) -> None:
    ((began, ended),) = release.intervals("job", str(job))
    assert ended
    assert least <= (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds() <= most


def jobsets(release: Release) -> set[str]:
    return set(kubectl("-n", release.tenant(TENANT), "get", "jobsets", "-o", "name").split())


@contextmanager
def scaled_down(namespace: str, what: str, label: str) -> Iterator[None]:
    """Gone, and there again afterwards."""
    before = kubectl("-n", namespace, "get", what, "-o", "jsonpath={.spec.replicas}")
    try:
        kubectl("-n", namespace, "scale", what, "--replicas=0")
        until(lambda: all(is_dead(pod) for pod in pods(namespace, label)), f"{what} is gone")
        yield
    finally:
        kubectl("-n", namespace, "scale", what, f"--replicas={before}")


def pods(namespace: str, label: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl("-n", namespace, "get", "pods", "-l", label, "-o", "json"))["items"]
    return found


def is_dead(pod: dict[str, Any]) -> bool:
    """Past its end, and only its node cannot remove it: two clusters on one machine hold on to each other's network namespaces."""
    end = pod["metadata"].get("deletionTimestamp")
    is_ready = any(one["ready"] for one in pod["status"].get("containerStatuses", []))
    return bool(end) and not is_ready and datetime.now(UTC) - datetime.fromisoformat(end) > timedelta(seconds=5)


def meanwhile(seconds: float, check: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(1)


def still_works(release: Release, browser: Browser, client: httpx.Client, environment: str, uids: set[str]) -> None:
    """The environment is the one it was, known and billed as one run; a new job runs."""
    until(lambda: answers(browser), "the environment answers")
    until(lambda: browser.view(f"/user/{ANN}/lab").url.path == f"/user/{ANN}/lab", "the person is still signed in")
    until(lambda: pod_uids(release) == uids, "its pod is the only one")
    assert row_of(release)["phase"] == "running"
    ((_, ended),) = release.intervals("environment", environment)
    assert ended == ""
    job = submitted(client)
    assert until_phase(client, job, *ENDED)["phase"] == "succeeded"
    check_billed_once(release, job)


# ---- parts of the platform


def test_the_hub_pod_is_killed(release: Release, browser: Browser, client: httpx.Client, environment: str) -> None:
    uids, job = pod_uids(release), submitted(client, sleeping(20))
    until_phase(client, job, "running")
    release.kill_pod(release.pod_of("hub"))
    gone = time.monotonic()

    def hub_answers() -> bool:
        assert_answers(browser)
        return httpx.get(f"{release.url}/hub/health", timeout=5).status_code == 200

    time.sleep(1)
    took = until(hub_answers, "the hub is back")
    assert took < 60, time.monotonic() - gone
    until(lambda: browser.api("GET", f"/users/{ANN}").json()["servers"][""]["ready"], "the hub knows the environment")
    assert until_phase(client, job, *ENDED)["phase"] == "succeeded"
    check_billed_once(release, job, 19, 30)
    still_works(release, browser, client, environment, uids)


def assert_answers(browser: Browser) -> None:
    if not answers(browser):
        raise RuntimeError("the environment does not answer while something else is away")


def test_a_service_pod_is_killed_in_the_middle_of_submits(release: Release, client: httpx.Client) -> None:
    names = [f"cut-{number}" for number in range(12)]
    before = jobsets(release)

    def one(name: str) -> int:
        with suppress(httpx.HTTPError):
            return submit(client, "pass", name).status_code
        return 0

    with ThreadPoolExecutor(4) as pool:
        waiting = {name: pool.submit(one, name) for name in names}
        until(lambda: any(future.done() for future in waiting.values()), "the first is answered")
        release.kill_pod(release.holder("training"))
        told = {name: future.result() for name, future in waiting.items()}
    assert set(told.values()) <= {201, 0, 502, 503, 504}
    assert 201 in told.values()
    made = release.sql("SELECT id, name, phase FROM jobs WHERE name LIKE 'cut-%'")
    counted = Counter(row[1] for row in made)
    # who was told that it is there finds it there, once; who was told nothing may find it there
    assert all(counted[name] == 1 for name, code in told.items() if code == 201)
    assert max(counted.values()) == 1
    for number, _, _ in made:
        assert until_phase(client, int(number), *ENDED, seconds=240)["phase"] == "succeeded"
        check_billed_once(release, int(number))
    assert len(jobsets(release) - before) == len(made)


def test_the_database_is_away(release: Release, browser: Browser, client: httpx.Client, environment: str) -> None:
    uids, job = pod_uids(release), submitted(client, sleeping(15))
    until_phase(client, job, "running")
    # of this one the services have to ask the hub, whose database is away too
    token = browser.api("POST", f"/users/{ANN}/tokens", json={"note": "never used", "expires_in": 600}).json()["token"]
    with scaled_down(release.name, f"statefulset/{release.name}-postgresql", "app.kubernetes.io/component=postgresql"):
        for reply in (client.get(JOBS), submit(client), client.get(JOBS, headers={"Authorization": f"Bearer {token}"})):
            assert reply.status_code == 503
            assert "database does not answer" in reply.json()["detail"]
        meanwhile(AWAY_SECONDS, lambda: assert_answers(browser))
    until(lambda: client.get(JOBS).status_code == 200, "the list of jobs is there again")
    ended = until_phase(client, job, *ENDED)
    assert ended["phase"] == "succeeded"
    # to its end as the cluster tells it, not to when the database was there again
    check_billed_once(release, job, 14, 25)
    still_works(release, browser, client, environment, uids)


def test_an_environment_starts_through_a_database_that_goes_away(release: Release, browser: Browser) -> None:
    with scaled_down(release.name, f"statefulset/{release.name}-postgresql", "app.kubernetes.io/component=postgresql"):
        pass
    # the hub begins anew about now, and who asks it then has to ask again
    until(lambda: ask_for(browser, "late") in (201, 202, 400), "it is asked for")
    with scaled_down(release.name, f"statefulset/{release.name}-postgresql", "app.kubernetes.io/component=postgresql"):
        time.sleep(10)
    until(lambda: answers(browser, "late"), "it runs", 120)
    until(lambda: row_of(release, "late")["phase"] == "running", "and is known to")
    run = run_of(release, "late")
    assert len(release.intervals("environment", run)) == 1
    until(lambda: browser.api("DELETE", f"/users/{ANN}/servers/late").status_code in (202, 204), "it is asked to stop")
    until(lambda: row_of(release, "late")["phase"] == "stopped", "it has stopped")
    ((_, ended),) = release.intervals("environment", run)
    assert ended


# ---- the cluster


def takes_jobs(release: Release) -> bool:
    """Whether the webhooks answer that look at a new one."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    replicated = [{"name": "main", "template": {"spec": {"template": {"spec": pod}}}}]
    jobset = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "tried", "namespace": release.tenant(TENANT)},
        "spec": {"replicatedJobs": replicated},
    }
    return "tried" in kubectl("create", "--dry-run=server", "-o", "name", "-f", "-", body=json.dumps(jobset), check=False)


@pytest.mark.parametrize("process", ["kube-apiserver", "etcd"])
def test_the_control_plane_is_away(release: Release, browser: Browser, client: httpx.Client, environment: str, process: str) -> None:
    uids, job = pod_uids(release), submitted(client, sleeping(15))
    until_phase(client, job, "running")
    with killed(process):
        during = submit(client, "pass", "meanwhile")
        assert during.status_code in (201, 503), during.text
        assert client.get(f"{JOBS}/{job}").status_code == 200
        assert client.get(JOBS).status_code == 200
        meanwhile(AWAY_SECONDS, lambda: assert_answers(browser))
    until(lambda: takes_jobs(release), "JobSet and Kueue are there again", LONGEST_BACK_OFF)
    if during.status_code == 201:
        assert until_phase(client, during.json()["id"], *ENDED)["phase"] == "succeeded"
        check_billed_once(release, during.json()["id"])
    else:
        assert "cluster" in during.json()["detail"]
    assert until_phase(client, job, *ENDED)["phase"] == "succeeded"
    check_billed_once(release, job, 14, 25)
    still_works(release, browser, client, environment, uids)


def test_the_nodes_containerd_is_killed(release: Release, browser: Browser, client: httpx.Client, environment: str) -> None:
    uids, job = pod_uids(release), submitted(client, sleeping(15))
    until_phase(client, job, "running")
    with killed("containerd"):
        meanwhile(AWAY_SECONDS, lambda: assert_answers(browser))
    assert until_phase(client, job, *ENDED)["phase"] == "succeeded"
    # that it had ended could only be seen when containerd was there again
    check_billed_once(release, job, 14, 60)
    still_works(release, browser, client, environment, uids)


def test_the_queue_is_away(release: Release, browser: Browser, client: httpx.Client, environment: str) -> None:
    uids = pod_uids(release)
    with scaled_down("kueue-system", "deployment/kueue-controller-manager", "control-plane=controller-manager"):
        job = submitted(client)
        until(lambda: "cluster" in job_of(client, job)["reason"], "the reason is told")
        assert job_of(client, job)["phase"] == "queued"
        # the platform's own pods need no queue
        release.kill_pod(release.pod_of("hub"))
        until(lambda: httpx.get(f"{release.url}/hub/health", timeout=5).status_code == 200, "the hub is back", 60)
        browser.api("POST", f"/users/{ANN}/servers/waits", json={"profile": "digits"})
        time.sleep(5)
        assert_answers(browser)
    try:
        assert until_phase(client, job, *ENDED, seconds=180)["phase"] == "succeeded"
        check_billed_once(release, job)
        assert browser.wait_for_server(ANN, "waits", 180)["ready"]
    finally:
        browser.api("DELETE", f"/users/{ANN}/servers/waits", json={"remove": True})
    still_works(release, browser, client, environment, uids)


# ---- behind the platform's back


def test_a_job_that_somebody_deleted_in_the_cluster(release: Release, client: httpx.Client) -> None:
    before = jobsets(release)
    job = submitted(client, sleeping(600))
    until_phase(client, job, "running")
    (name,) = jobsets(release) - before
    kubectl("-n", release.tenant(TENANT), "delete", name, "--wait=false")
    ended = until_phase(client, job, *ENDED)
    assert ended["phase"] == "failed"
    assert ended["reason"]
    check_billed_once(release, job, 0, 60)


def test_a_tenants_namespace_that_somebody_deleted(release: Release, browser: Browser, client: httpx.Client, environment: str) -> None:
    job = submitted(client, sleeping(600))
    until_phase(client, job, "running")
    uid = kubectl("get", "namespace", release.tenant(TENANT), "-o", "jsonpath={.metadata.uid}")
    kubectl("delete", "namespace", release.tenant(TENANT), "--wait=false")
    ended = until_phase(client, job, *ENDED)
    assert (ended["phase"], bool(ended["reason"])) == ("failed", True)
    check_billed_once(release, job, 0, 90)
    until(lambda: row_of(release)["phase"] in ("stopped", "failed"), "the environment's owner is told")
    assert row_of(release)["reason"] == "its pod was deleted in the cluster; start it again"
    ((_, closed),) = release.intervals("environment", environment)
    assert closed
    path = "jsonpath={.metadata.uid}"
    until(lambda: kubectl("get", "namespace", release.tenant(TENANT), "-o", path, check=False) not in ("", uid), "it is made again", 180)
    again = submitted(client)
    assert until_phase(client, again, *ENDED, seconds=180)["phase"] == "succeeded"
    browser.api("POST", f"/users/{ANN}/server", json={"profile": "digits"})
    assert browser.wait_for_server(ANN, seconds=180)["ready"]
