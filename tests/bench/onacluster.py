"""The platform on a cluster with everything a job passes: hub, proxy, MLflow and the training service, here as processes of this machine.

Its jobs go to simulated nodes (KWOK), which are nodes that run nothing: what is measured is the way there.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import JOBSET, POD, WORKLOAD, Cluster, Resource
from ltai_hub.catalog import load_catalog
from ltai_hub.client import Client
from ltai_hub.client.login import sign_in
from ltai_hub.db.engine import Database
from ltai_hub.domain.catalog import Catalog
from ltai_hub.hubapi import ProxyApi
from ltai_hub.local.mlflow_server import make_environment
from ltai_hub.paths import DataFolder
from tests.bench.peers import free_port, running, wait_for
from tests.kubernetes.hubs import ClusterHub, a_cluster_hub
from tests.kubernetes.places import kubectl
from tests.kubernetes.simulated import FOR_EVER

NAME, PERSON, TENANT, OTHER = "kp", "ann", "one", "two"
SELECTOR, TAINT = {"type": "kwok"}, "kwok.x-k8s.io/node"
# a class whose volumes any node can have: else the first pod's node would have to take all of a person's
SHARED_CLASS = os.environ.get("LTAI_TEST_SHARED_CLASS", "")
HOME_ACCESS = "ReadWriteMany" if SHARED_CLASS else "ReadWriteOnce"
START_SECONDS, CLEAN_SECONDS = 90.0, 600.0


@dataclass
class OnACluster:
    hub: ClusterHub
    catalog: Catalog
    folder: Path
    port: int

    @property
    def database(self) -> Database:
        return Database(DataFolder(self.hub.folder).database_url)

    def client(self) -> Client:
        """Of its own connection: one for each thread."""
        return Client(self.hub.url, sign_in(self.hub.url, PERSON, self.hub.passwords[PERSON]).token)

    @contextmanager
    def services(self) -> Iterator[None]:
        """MLflow and the training service, until both answer by the public address."""
        data = DataFolder(self.hub.folder)
        env = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "LTAI_WITH_CONSOLE": "false"} | self.hub.env | self._places()
        child = [sys.executable, "-m", "ltai_hub.local.child", "mlflow"]
        (data.root / "mlflow").mkdir(exist_ok=True)
        data.mlflow_socket.parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(self._route())
        with (
            running(child, self.folder / "mlflow.log", env | make_environment(data, "0" * 64)),
            running([sys.executable, "-m", "ltai_hub.service", "training"], self.folder / "services.log", env),
        ):
            wait_for(f"{self.hub.url}/services/training/api/v1/openapi.json", START_SECONDS)
            wait_for_socket(data.mlflow_socket)
            yield

    def _places(self) -> dict[str, str]:
        token = self.hub.env["CONFIGPROXY_AUTH_TOKEN"]
        return {
            "LTAI_KUBERNETES_HOME_CLASS": SHARED_CLASS,
            "LTAI_KUBERNETES_HOME_ACCESS": HOME_ACCESS,
            "LTAI_SERVICES_BIND": f"127.0.0.1:{self.port}",
            "LTAI_HUB_API_URL": f"http://127.0.0.1:{self.hub.hub}/hub/api",
            "LTAI_HUB_API_TOKEN": f"{token}a",
            "LTAI_PROXY_API_URL": f"http://127.0.0.1:{self.hub.proxy_api}",
            "LTAI_PROXY_API_TOKEN": token,
            "LTAI_SIGNING_KEY": f"{token}c",
        }

    async def _route(self) -> None:
        places = self._places()
        proxy = ProxyApi(places["LTAI_PROXY_API_URL"], places["LTAI_PROXY_API_TOKEN"])
        await proxy.set_route("/services/training", f"http://{places['LTAI_SERVICES_BIND']}")


@contextmanager
def on_a_cluster(folder: Path, shares: Sequence[TenantShare]) -> Iterator[OnACluster]:
    catalog = make_catalog(folder / "catalog")
    with a_cluster_hub(folder / "data", NAME, shares, catalog=catalog) as hub:
        yield OnACluster(hub, load_catalog(catalog), folder, free_port())


def make_catalog(folder: Path) -> Path:
    """One flavor, of the simulated nodes."""
    kubernetes = {"node_selector": SELECTOR, "tolerations": [{"key": TAINT, "operator": "Exists"}], "annotations": FOR_EVER}
    flavor = {"title": "Simulated node", "cpu": 1, "memory": "1Gi", "price": 0.2, "kubernetes": kubernetes}
    image = {"title": "Python", "framework": "scikit-learn", "version": "1.9", "python": "3.11", "requirements": ["scikit-learn==1.9.*"]}
    profiles = {name: {"title": "Lab", "image": "lab", "flavor": "simulated-node"} for name in ("lab", "course")}
    rows = (("flavors", {"simulated-node": flavor}), ("images", {"lab": image | {"container": "python:3"}}), ("profiles", profiles))
    folder.mkdir(parents=True)
    for name, found in rows:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({name: found}))
    return folder


def simulated_nodes() -> int:
    selector = ",".join(f"{name}={value}" for name, value in SELECTOR.items())
    return len(kubectl("get", "nodes", "-l", selector, "-o", "name").split())


def is_there(figure: str, nodes: int) -> bool:
    """Says on stderr what it needs when that is not there."""
    if not os.environ.get("KUBECONFIG"):
        print(f"{figure} needs a cluster with Kueue, JobSet and {nodes} simulated nodes (KWOK): set KUBECONFIG", file=sys.stderr)
        return False
    if simulated_nodes() < nodes:
        print(f"{figure} needs {nodes} simulated nodes (KWOK) with the label type=kwok and the taint {TAINT}", file=sys.stderr)
        return False
    return True


async def remove_jobs(namespace: str) -> None:
    """And waits until nothing of them is left, pods and their finalizers included."""
    cluster = await Cluster.connect()
    until = time.monotonic() + CLEAN_SECONDS
    while left := await cluster.list(JOBSET, namespace):
        await gather(16, [cluster.delete(JOBSET, namespace, one["metadata"]["name"]) for one in left])
        assert time.monotonic() < until, f"{len(left)} jobs are still there"
        await asyncio.sleep(1)
    while any([await count_of(cluster, resource, namespace) for resource in (POD, WORKLOAD)]):
        assert time.monotonic() < until, "pods or workloads are still there"
        await asyncio.sleep(2)
    await cluster.close()


async def count_of(cluster: Cluster, resource: Resource, namespace: str) -> int:
    """Without reading them all: that would keep the API server from its work."""
    page = await cluster.raw("GET", resource.path(namespace), query={"limit": "1"})
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


async def gather(at_once: int, asked: Sequence[Any]) -> list[Any]:
    room = asyncio.Semaphore(at_once)

    async def one(waiting: Any) -> Any:
        async with room:
            return await waiting

    return await asyncio.gather(*(one(waiting) for waiting in asked))


def wait_for_socket(path: Path, seconds: float = START_SECONDS) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return
            except OSError:
                time.sleep(0.1)
    raise RuntimeError(f"nothing answers at {path}")
