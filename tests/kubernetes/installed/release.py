"""The chart installed under a name of its own, with the demo school, and people who use it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.fixtures import Browser
from tests.helm.conftest import CHART
from tests.kubernetes.places import kubectl

ROOT = CHART.parents[1]
SECONDS = 600
HELM_IS_WRONG = "-migrate not ready. status: InProgress"


@dataclass
class Release:
    """Its namespace has its name."""

    name: str
    url: str
    node_port: int
    folder: Path
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    tokens: dict[str, str] = field(default_factory=dict, repr=False)

    # ---- the chart

    def put(self, verb: str, tag: str, **more: Any) -> None:
        """``more``: values over the test's own."""
        values = self.folder / f"{tag}-{len(more)}.yaml"
        values.write_text(yaml.safe_dump(make_values(self.url, self.node_port, tag) | more))
        words = (verb, self.name, str(CHART), "--values", str(values), "--wait", "--timeout", f"{SECONDS}s")
        try:
            self.helm(*words)
        except AssertionError as failed:
            # Helm 4 may read two quick changes of a Job in the wrong order and then give up one that has succeeded
            if HELM_IS_WRONG not in str(failed) or not self._has_migrated():
                raise
            self.helm(*words)

    def _has_migrated(self) -> bool:
        found = self.kubectl("get", "job", f"{self.name}-migrate", "-o", "jsonpath={.status.succeeded}", check=False)
        return found.strip() == "1"

    def helm(self, *words: str) -> str:
        done = subprocess.run(["helm", *words, "--namespace", self.name], capture_output=True, text=True, timeout=SECONDS + 60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def read_passwords(self) -> dict[str, str]:
        found = json.loads(self.kubectl("get", "secret", f"{self.name}-demo", "-o", "json"))["data"]
        return {person: base64.b64decode(password).decode() for person, password in found.items()}

    # ---- people

    def session(self, person: str) -> Browser:
        browser = Browser(self.url)
        reply = browser.sign_in(person, self.passwords[person])
        assert reply.url.path == "/hub/home", (reply.status_code, reply.url)
        return browser

    def client(self, person: str) -> httpx.Client:
        """For the services' REST API as that person."""
        if person not in self.tokens:
            with self.session(person) as browser:
                body = {"note": "test", "expires_in": 7200}
                self.tokens[person] = str(browser.api("POST", f"/users/{person}/tokens", json=body).json()["token"])
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.tokens[person]}"}, timeout=60)

    # ---- the cluster

    def kubectl(self, *words: str, check: bool = True) -> str:
        return kubectl("-n", self.name, *words, check=check)

    def tenant(self, slug: str) -> str:
        """Its namespace."""
        return f"{self.name}-{slug}"

    def pod_of(self, part: str) -> str:
        """One that runs."""
        found = json.loads(self.kubectl("get", "pods", "-l", f"app.kubernetes.io/component={part}", "-o", "json"))["items"]
        names = [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]
        assert names, f"no pod of {part} runs"
        return str(names[0])

    def kill_pod(self, name: str) -> None:
        """As its node would lose it: at once, without a word."""
        self.kubectl("delete", "pod", name, "--grace-period=0", "--force")

    def sql(self, query: str) -> list[list[str]]:
        """Of the platform's own database."""
        options = ["psql", "-h", "/tmp", "-U", "postgres", "-AtF", "\t", "-c", query, "platform"]
        return [line.split("\t") for line in self.kubectl("exec", f"{self.name}-postgresql-0", "--", *options).splitlines()]

    def holder(self, service: str) -> str:
        """The pod that runs its controllers; "" while none does."""
        return "".join(row[0] for row in self.sql(f"SELECT holder FROM leases WHERE name = '{service}' AND until > now()"))

    def intervals(self, kind: str, noun_id: str) -> list[tuple[str, str]]:
        """What is billed: beginning and end, "" while it is open."""
        rows = self.sql(
            f"SELECT started_at, ended_at FROM usage_intervals WHERE kind = '{kind}' AND noun_id = '{noun_id}' ORDER BY started_at"
        )
        return [(row[0], row[1]) for row in rows]


@contextmanager
def a_release(name: str, node_port: int, tag: str, folder: Path) -> Iterator[Release]:
    """Everything is gone afterwards."""
    node = json.loads(kubectl("get", "nodes", "-l", "type!=kwok", "-o", "json"))["items"][0]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    here = Release(name, f"http://{address}:{node_port}", node_port, folder)
    remove(name)
    try:
        kubectl("create", "namespace", name)
        # the API server refuses any pod of the chart that does not keep to it
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        here.put("install", tag)
        here.passwords = here.read_passwords()
        yield here
    finally:
        subprocess.run(["helm", "uninstall", name, "--namespace", name, "--ignore-not-found"], capture_output=True)
        remove(name)


def make_values(url: str, node_port: int, tag: str) -> dict[str, Any]:
    """Small, for one node; the volumes of the cluster's default class unless LTAI_TEST_SHARED_CLASS names one for many nodes."""
    shared = os.environ.get("LTAI_TEST_SHARED_CLASS", "")
    volume = {"storageClass": shared, "accessMode": "ReadWriteMany" if shared else "ReadWriteOnce", "size": "1Gi"}
    return {
        "publicUrl": url,
        "catalog": {"flavors.yaml": small_flavors()},
        "demo": True,
        "image": {"tag": tag},
        "proxy": {"service": {"type": "NodePort", "nodePort": node_port}},
        "services": {"replicas": 1, "replicasOf": {"training": 2, "billing": 2}},
        "console": {"replicas": 2},
        "database": {"size": "1Gi"},
        "data": volume,
        "homes": volume,
        "mlflow": {"artifacts": {"size": "1Gi"}},
    }


def small_flavors() -> str:
    """The catalogue's, so that an environment, a job and an endpoint have room beside one another on two cores."""
    rows = yaml.safe_load((ROOT / "spawner_profiles" / "flavors.yaml").read_text("utf-8"))
    for row in rows["flavors"].values():
        row["cpu"] = row["cpu"] / 5
    return yaml.safe_dump(rows)


def remove(name: str) -> None:
    kubectl("delete", "namespace", "-l", f"ltai.dev/instance={name}", "--wait=false", check=False)
    for kind in ("clusterqueues", "cohorts", "resourceflavors", "workloadpriorityclasses"):
        kubectl("delete", f"{kind}.kueue.x-k8s.io", "-l", f"ltai.dev/instance={name}", "--wait=false", check=False)
    kubectl("delete", "namespace", name, "--ignore-not-found", check=False)


def until(holds: Callable[[], Any], what: str, seconds: float = 90.0) -> float:
    """How long it took; what fails meanwhile has not come true yet."""
    begun = time.monotonic()
    while True:
        with suppress(httpx.HTTPError, KeyError, AssertionError):
            if holds():
                return time.monotonic() - begun
        assert time.monotonic() - begun < seconds, f"after {seconds:g} s it is still not so that {what}"
        time.sleep(0.3)
