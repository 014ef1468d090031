"""The life of an installation on a real cluster, as docs/how-to/install-on-kubernetes.md has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import ARTIFACTS
from tests.fixtures import FETCH, Browser
from tests.kubernetes.installed.release import ROOT, SECONDS, Release
from tests.kubernetes.places import kubectl

pytestmark = pytest.mark.slow


def test_every_part_answers(release: Release) -> None:
    assert "Succeeded" in release.helm("test", release.name)


def test_people_sign_in_and_see_the_console(release: Release) -> None:
    with release.session("student1") as browser:
        page = browser.view("/services/console/")
        assert page.status_code == 200
        assert page.url.path == "/services/console/"
        # through the console to a service and its database
        xsrf = next(c.value or "" for c in browser.cookies.jar if c.name == "_xsrf" and c.path.startswith("/services/console"))
        me = browser.get("/services/console/api/tenancy/api/v1/me", headers=FETCH | {"X-XSRFToken": xsrf})
        assert me.json()["name"] == "student1"
        assert {tenant["slug"] for tenant in me.json()["tenants"]} >= {"ml-101", "gpu-lab"}


def test_an_administrator_gets_a_link(release: Release) -> None:
    link = release.kubectl("exec", f"deployment/{release.name}-hub", "--", "ltai", "invite-admin")
    assert link.startswith(f"{release.url}/hub/invite/")


def test_the_course_files_are_in_the_tenants_volume(release: Release) -> None:
    until = time.monotonic() + 120
    state = ""
    while state != "Completed" and time.monotonic() < until:
        state = kubectl(
            "-n", release.tenant("ml-101"), "get", "jobset", "course-files", "-o", "jsonpath={.status.terminalState}", check=False
        )
        gone = not state and "course-files" not in kubectl("-n", release.tenant("ml-101"), "get", "jobsets", "-o", "name")
        # it removes itself after a minute
        if gone:
            break
        time.sleep(1)
    assert "Bound" in kubectl("-n", release.tenant("ml-101"), "get", "pvc", "courses")


def test_one_pod_of_a_service_runs_its_controllers_and_another_goes_on_when_it_is_killed(release: Release) -> None:
    first = release.holder("training")
    assert first.startswith(f"{release.name}-training-")
    release.kubectl("delete", "pod", first, "--grace-period=0", "--force")
    killed = time.monotonic()
    while release.holder("training") in (first, ""):
        assert time.monotonic() - killed < 20
        time.sleep(0.5)


def test_the_database_and_the_tracker_are_out_of_a_tenants_reach(release: Release) -> None:
    """A pod of a tenant may speak to the proxy and the hub; what is refused is dropped, so the attempt times out."""
    answers = {
        f"{release.name}-proxy-public.{release.name}:80": True,
        f"{release.name}-postgresql.{release.name}:5432": False,
        f"{release.name}-mlflow.{release.name}:5000": False,
        f"{release.name}-proxy-api.{release.name}:8001": False,
        f"{release.name}-training.{release.name}:8090": False,
    }
    seen = knock(release, release.tenant("ml-101"), list(answers))
    assert seen == answers


KNOCK = """
import json, socket, sys
def knock(place):
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 3).close()
        return True
    except OSError:
        return False
print(json.dumps({place: knock(place) for place in sys.argv[1:]}))
"""


def knock(release: Release, namespace: str, places: list[str]) -> dict[str, bool]:
    image = release.kubectl("get", "deployment", f"{release.name}-hub", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "knock", "image": image, "args": ["python", "-c", KNOCK, *places], "securityContext": security}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "knock", "namespace": namespace, "labels": {"ltai.dev/kind": "environment"}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
    try:
        kubectl("apply", "-f", "-", body=json.dumps(pod))
        kubectl("-n", namespace, "wait", "pod/knock", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
        found: dict[str, bool] = json.loads(kubectl("-n", namespace, "logs", "knock"))
        return found
    finally:
        kubectl("-n", namespace, "delete", "pod", "knock", "--wait=false", "--ignore-not-found", check=False)


class Visitor(threading.Thread):
    """Asks a page every 0.1 s until told to stop; counts what failed."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.ended = url, threading.Event()
        self.asked, self.failed = 0, list[str]()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            self.asked += 1
            try:
                reply = httpx.get(self.url, timeout=10)
                if reply.status_code >= 500:
                    self.failed.append(str(reply.status_code))
            except httpx.HTTPError as error:
                self.failed.append(type(error).__name__)

    def stop(self) -> list[str]:
        self.ended.set()
        self.join()
        return self.failed


def test_a_service_is_replaced_without_a_failed_request(release: Release) -> None:
    visitor = Visitor(f"{release.url}/services/billing/api/v1/openapi.json")
    visitor.start()
    release.kubectl("rollout", "restart", f"deployment/{release.name}-billing")
    release.kubectl("rollout", "status", f"deployment/{release.name}-billing", "--timeout=120s")
    time.sleep(5)
    assert visitor.stop() == []
    assert visitor.asked > 20


def test_the_thread_in_a_browser(release: Release, tmp_path: Path) -> None:
    """The test of one machine, with the same code and another base URL."""
    accounts = [{"name": name, "password": password} for name, password in release.passwords.items()]
    (tmp_path / "ready.json").write_text(json.dumps({"url": release.url, "pid": 0, "accounts": accounts}))
    env = {**os.environ, "LTAI_TEST_DATA": str(tmp_path), "LTAI_TEST_ARTIFACTS": str(ARTIFACTS / "kubernetes")}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "tests/e2e/test_browser.py"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_an_upgrade_keeps_people_signed_in_passwords_and_running_environments(release: Release, tags: tuple[str, str]) -> None:
    browser = release.session("student1")
    browser.api("POST", "/users/student1/server", json={"profile": "digits"})
    browser.wait_for_server("student1", seconds=180)
    before = environments_of(release, "student1")
    assert len(before) == 1
    try:
        release.put("upgrade", tags[1], currency="EUR")
        assert release.read_passwords() == release.passwords
        check_the_same(release, browser, before)
        release.helm("test", release.name)
        # and back again
        release.helm("rollback", release.name, "--wait", "--timeout", f"{SECONDS}s")
        check_the_same(release, browser, before)
    finally:
        browser.api("DELETE", "/users/student1/server")


def check_the_same(release: Release, browser: Browser, before: set[str]) -> None:
    assert environments_of(release, "student1") == before
    # the hub knows it, the proxy leads to it, the session is the old one
    until = time.monotonic() + 30
    while browser.view("/user/student1/lab").status_code != 200 and time.monotonic() < until:
        time.sleep(0.5)
    page = browser.view("/user/student1/lab")
    assert (page.status_code, page.url.path) == (200, "/user/student1/lab")


def environments_of(release: Release, user: str) -> set[str]:
    """The pods' uids."""
    labels = f"ltai.dev/kind=environment,ltai.dev/user={user}"
    found = json.loads(kubectl("-n", release.tenant("ml-101"), "get", "pods", "-l", labels, "-o", "json"))["items"]
    return {pod["metadata"]["uid"] for pod in found}


def test_uninstalled_and_installed_again_everything_is_there(release: Release, tags: tuple[str, str]) -> None:
    release.helm("uninstall", release.name, "--wait")
    left = release.kubectl("get", "pvc", "-o", "name")
    assert {f"persistentvolumeclaim/data-{release.name}-postgresql-0", f"persistentvolumeclaim/{release.name}-mlflow"} <= set(left.split())
    assert "Bound" in kubectl("-n", release.tenant("ml-101"), "get", "pvc", "courses")
    assert not release.kubectl("get", "deployments", "-o", "name")
    release.put("install", tags[0])
    assert release.read_passwords() == release.passwords
    with release.session("student1") as browser:
        assert browser.view("/services/console/").status_code == 200
