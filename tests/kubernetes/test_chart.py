"""The life of an installation on a real cluster, as docs/how-to/install-on-kubernetes.md has it."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.fixtures import FETCH, Browser
from tests.helm.conftest import CHART
from tests.kubernetes.places import kubectl

pytestmark = pytest.mark.slow

RELEASE = NAMESPACE = "chart"
NODE_PORT = 30681
SECONDS = 600


def helm(*words: str) -> str:
    done = subprocess.run(["helm", *words, "--namespace", NAMESPACE], capture_output=True, text=True, timeout=SECONDS + 60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass
class Installation:
    url: str
    folder: Path
    passwords: dict[str, str] = field(default_factory=dict, repr=False)

    def values(self, tag: str, **more: Any) -> Path:
        path = self.folder / f"{tag}-{len(more)}.yaml"
        path.write_text(yaml.safe_dump(make_values(self.url, tag) | more))
        return path

    def put(self, verb: str, tag: str, **more: Any) -> None:
        options = ["--values", str(self.values(tag, **more)), "--wait", "--timeout", f"{SECONDS}s"]
        helm(*shlex.split(verb), RELEASE, str(CHART), "--create-namespace", *options)

    def read_passwords(self) -> dict[str, str]:
        found = json.loads(kubectl("-n", NAMESPACE, "get", "secret", f"{RELEASE}-demo", "-o", "json"))["data"]
        return {name: base64.b64decode(password).decode() for name, password in found.items()}

    def session(self, name: str) -> Browser:
        browser = Browser(self.url)
        reply = browser.sign_in(name, self.passwords[name])
        assert reply.url.path == "/hub/home", (reply.status_code, reply.url)
        return browser


def make_values(url: str, tag: str) -> dict[str, Any]:
    """Small, for one node; the volumes of the cluster's default class unless LTAI_TEST_SHARED_CLASS names one for many nodes."""
    shared = os.environ.get("LTAI_TEST_SHARED_CLASS", "")
    access = "ReadWriteMany" if shared else "ReadWriteOnce"
    volume = {"storageClass": shared, "accessMode": access, "size": "1Gi"}
    return {
        "publicUrl": url,
        "demo": True,
        "image": {"tag": tag},
        "proxy": {"service": {"type": "NodePort", "nodePort": NODE_PORT}},
        "services": {"replicas": 1, "replicasOf": {"training": 2, "billing": 2}},
        "console": {"replicas": 2},
        "database": {"size": "1Gi"},
        "data": volume,
        "homes": volume,
        "mlflow": {"artifacts": {"size": "1Gi"}},
    }


def remove_everything() -> None:
    kubectl("delete", "namespace", "-l", f"ltai.dev/instance={RELEASE}", "--wait=false", check=False)
    for kind in ("clusterqueues", "cohorts", "resourceflavors", "workloadpriorityclasses"):
        kubectl("delete", f"{kind}.kueue.x-k8s.io", "-l", f"ltai.dev/instance={RELEASE}", "--wait=false", check=False)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", check=False)


@pytest.fixture(scope="module")
def installed(tags: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    node = json.loads(kubectl("get", "nodes", "-l", "type!=kwok", "-o", "json"))["items"][0]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    here = Installation(f"http://{address}:{NODE_PORT}", tmp_path_factory.mktemp("chart"))
    remove_everything()
    try:
        kubectl("create", "namespace", NAMESPACE)
        # the API server refuses any pod of the chart that does not keep to it
        kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        here.put("install", tags[0])
        here.passwords = here.read_passwords()
        yield here
    finally:
        subprocess.run(["helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found"], capture_output=True)
        remove_everything()


def test_every_part_answers(installed: Installation) -> None:
    assert "Succeeded" in helm("test", RELEASE)


def test_people_sign_in_and_see_the_console(installed: Installation) -> None:
    with installed.session("student1") as browser:
        page = browser.view("/services/console/")
        assert page.status_code == 200
        assert page.url.path == "/services/console/"
        # through the console to a service and its database
        xsrf = next(c.value or "" for c in browser.cookies.jar if c.name == "_xsrf" and c.path.startswith("/services/console"))
        me = browser.get("/services/console/api/tenancy/api/v1/me", headers=FETCH | {"X-XSRFToken": xsrf})
        assert me.json()["name"] == "student1"
        assert {tenant["slug"] for tenant in me.json()["tenants"]} >= {"ml-101", "gpu-lab"}


def test_an_administrator_gets_a_link(installed: Installation) -> None:
    link = kubectl("-n", NAMESPACE, "exec", f"deployment/{RELEASE}-hub", "--", "ltai", "invite-admin")
    assert link.startswith(f"{installed.url}/hub/invite/")


def test_the_course_files_are_in_the_tenants_volume(installed: Installation) -> None:
    until = time.monotonic() + 120
    state = ""
    while state != "Completed" and time.monotonic() < until:
        state = kubectl("-n", f"{RELEASE}-ml-101", "get", "jobset", "course-files", "-o", "jsonpath={.status.terminalState}", check=False)
        gone = not state and "course-files" not in kubectl("-n", f"{RELEASE}-ml-101", "get", "jobsets", "-o", "name")
        # it removes itself after a minute
        if gone:
            break
        time.sleep(1)
    assert "Bound" in kubectl("-n", f"{RELEASE}-ml-101", "get", "pvc", "courses")


def test_one_pod_of_a_service_runs_its_controllers_and_another_goes_on_when_it_is_killed(installed: Installation) -> None:
    first = holder("training")
    assert first.startswith(f"{RELEASE}-training-")
    kubectl("-n", NAMESPACE, "delete", "pod", first, "--grace-period=0", "--force")
    killed = time.monotonic()
    while holder("training") in (first, ""):
        assert time.monotonic() - killed < 20
        time.sleep(0.5)


def holder(service: str) -> str:
    query = f"SELECT holder FROM leases WHERE name = '{service}' AND until > now()"
    pod = f"{RELEASE}-postgresql-0"
    return kubectl("-n", NAMESPACE, "exec", pod, "--", "psql", "-h", "/tmp", "-U", "postgres", "-Atc", query, "platform").strip()


def test_the_database_and_the_tracker_are_out_of_a_tenants_reach(installed: Installation) -> None:
    """A pod of a tenant may speak to the proxy and the hub; what is refused is dropped, so the attempt times out."""
    answers = {
        f"{RELEASE}-proxy-public.{NAMESPACE}:80": True,
        f"{RELEASE}-postgresql.{NAMESPACE}:5432": False,
        f"{RELEASE}-mlflow.{NAMESPACE}:5000": False,
        f"{RELEASE}-proxy-api.{NAMESPACE}:8001": False,
        f"{RELEASE}-training.{NAMESPACE}:8090": False,
    }
    seen = knock(f"{RELEASE}-ml-101", list(answers))
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


def knock(namespace: str, places: list[str]) -> dict[str, bool]:
    image = kubectl("-n", NAMESPACE, "get", "deployment", f"{RELEASE}-hub", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
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


def test_a_service_is_replaced_without_a_failed_request(installed: Installation) -> None:
    visitor = Visitor(f"{installed.url}/services/billing/api/v1/openapi.json")
    visitor.start()
    kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{RELEASE}-billing")
    kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{RELEASE}-billing", "--timeout=120s")
    time.sleep(5)
    assert visitor.stop() == []
    assert visitor.asked > 20


def test_an_upgrade_keeps_people_signed_in_passwords_and_running_environments(installed: Installation, tags: tuple[str, str]) -> None:
    browser = installed.session("student1")
    browser.api("POST", "/users/student1/server", json={"profile": "digits"})
    browser.wait_for_server("student1", seconds=180)
    before = environments_of("student1")
    assert len(before) == 1
    try:
        installed.put("upgrade", tags[1], currency="EUR")
        assert installed.read_passwords() == installed.passwords
        check_the_same(browser, before)
        helm("test", RELEASE)
        # and back again
        helm("rollback", RELEASE, "--wait", "--timeout", f"{SECONDS}s")
        check_the_same(browser, before)
    finally:
        browser.api("DELETE", "/users/student1/server")


def check_the_same(browser: Browser, before: set[str]) -> None:
    assert environments_of("student1") == before
    # the hub knows it, the proxy leads to it, the session is the old one
    until = time.monotonic() + 30
    while browser.view("/user/student1/lab").status_code != 200 and time.monotonic() < until:
        time.sleep(0.5)
    page = browser.view("/user/student1/lab")
    assert (page.status_code, page.url.path) == (200, "/user/student1/lab")


def environments_of(user: str) -> set[str]:
    """The pods' uids."""
    labels = f"ltai.dev/kind=environment,ltai.dev/user={user}"
    found = json.loads(kubectl("-n", f"{RELEASE}-ml-101", "get", "pods", "-l", labels, "-o", "json"))["items"]
    return {pod["metadata"]["uid"] for pod in found}


def test_uninstalled_and_installed_again_everything_is_there(installed: Installation, tags: tuple[str, str]) -> None:
    helm("uninstall", RELEASE, "--wait")
    left = kubectl("-n", NAMESPACE, "get", "pvc", "-o", "name")
    assert {f"persistentvolumeclaim/data-{RELEASE}-postgresql-0", f"persistentvolumeclaim/{RELEASE}-mlflow"} <= set(left.split())
    assert "Bound" in kubectl("-n", f"{RELEASE}-ml-101", "get", "pvc", "courses")
    assert not kubectl("-n", NAMESPACE, "get", "deployments", "-o", "name")
    installed.put("install", tags[0])
    assert installed.read_passwords() == installed.passwords
    with installed.session("student1") as browser:
        assert browser.view("/services/console/").status_code == 200
