"""A real hub and proxy on this machine whose environments are pods of the cluster: an installation of its own, school → one, two."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from ltai_hub.accounts.service import Accounts
from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import CLUSTER_QUEUE, Cluster
from ltai_hub.backends.kubernetes.mirror import mirror
from ltai_hub.backends.kubernetes.names import INSTANCE, KIND, tenant_name
from ltai_hub.catalog import load_catalog
from ltai_hub.db.engine import Database
from ltai_hub.db.migrate import migrate
from ltai_hub.domain.permissions import Role
from ltai_hub.domain.tenants import TenantKind
from ltai_hub.domain.workloads import Kind
from ltai_hub.environments import store as environments
from ltai_hub.environments.store import Environment
from ltai_hub.local.plan import find_node, proxy_bundle
from ltai_hub.paths import DataFolder, shipped
from ltai_hub.settings import KubernetesSettings
from ltai_hub.tenancy import store as tenancy
from ltai_hub.units import utc_now
from tests.fixtures import Browser, environment, free_port
from tests.kubernetes.places import kubectl
from tests.kubernetes.tenants_fixtures import condition_of

IMAGE = os.environ.get("LTAI_TEST_LAB_IMAGE", "ltai/scikit-learn:1.9")
PEOPLE = {"ann": "one", "bob": "two", "cas": "one"}
CONFIG = """
from ltai_hub.hub.configure import HubPlaces, HubSecrets, ServicesProcess, configure
from ltai_hub.hub.kubespawner import KubernetesSpawner

c = get_config()  # noqa: F821
places = HubPlaces(
    public_bind="http://{address}:{public}",
    hub_bind="http://0.0.0.0:{hub}",
    hub_connect="http://{address}:{hub}",
    proxy_api="http://127.0.0.1:{proxy_api}",
    services="http://127.0.0.1:1",
    console="http://127.0.0.1:1",
    hub_database="sqlite:///{folder}/hub.sqlite",
)
secrets = HubSecrets(bytes.fromhex("{cookie}"), "{token}", "{token}a", "{token}b", "{token}c")
configure(c, places, secrets, ServicesProcess(), KubernetesSpawner)
c.JupyterHub.cleanup_servers = False
c.JupyterHub.init_spawners_timeout = 1
c.JupyterHub.services = [s for s in c.JupyterHub.services if s["name"] == "ltai"]
c.JupyterHub.upgrade_db = True
c.KubernetesSpawner.failing_seconds = 5
# so seldom that what is told within five seconds is not told by it
c.KubernetesSpawner.poll_interval = 20
"""


@dataclass
class ClusterHub:
    folder: Path
    instance: str
    address: str
    public: int
    hub: int
    proxy_api: int
    env: dict[str, str] = field(repr=False)
    passwords: dict[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.public}"

    @property
    def settings(self) -> KubernetesSettings:
        return KubernetesSettings(instance=self.instance)

    @property
    def log(self) -> Path:
        return self.folder / "hub.log"

    # ---- the processes

    def start(self) -> None:
        """Returns when people can sign in."""
        command = [sys.executable, "-c", "from ltai_hub.hub.app import main; main()", "-f", str(self.folder / "config.py")]
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=self.env, cwd=self.folder)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/hub/health", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the hub does not answer:\n{self.log.read_text()[-3000:]}")

    def end(self, number: int = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait(60)

    # ---- what people and the platform see

    @contextmanager
    def session(self, name: str) -> Iterator[Browser]:
        with Browser(self.url) as browser:
            reply = browser.sign_in(name, self.passwords[name])
            assert reply.url.path == "/hub/home", (reply.status_code, reply.url)
            yield browser

    def row(self, user: str, server: str = "") -> Environment:
        database = Database(DataFolder(self.folder).database_url)
        with database.reading() as tx:
            row = environments.find(tx, user, server)
        database.close()
        assert row is not None
        return row

    # ---- what the cluster sees

    def namespace(self, tenant: str) -> str:
        return tenant_name(self.instance, tenant)

    def pods(self, tenant: str) -> list[dict[str, Any]]:
        labels = f"{INSTANCE}={self.instance},{KIND}={Kind.ENVIRONMENT.value}"
        found = json.loads(kubectl("get", "pods", "-n", self.namespace(tenant), "-l", labels, "-o", "json"))
        items: list[dict[str, Any]] = found["items"]
        return items


@contextmanager
def a_cluster_hub(
    folder: Path, instance: str, shares: Sequence[TenantShare], cpu: float = 0.4, catalog: Path | None = None
) -> Iterator[ClusterHub]:
    """``cpu`` of the flavor small, where no other catalogue is given. Everything is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    catalog = catalog or make_catalog(folder / "catalog", cpu)
    hub = make_hub(folder, catalog, instance)
    make_school(folder, hub.passwords)
    asyncio.run(mirror_tenants(hub, catalog, shares))
    proxy = [find_node(), str(proxy_bundle()), f"--ip={hub.address}", f"--port={hub.public}", f"--api-port={hub.proxy_api}"]
    default = f"http://127.0.0.1:{hub.hub}"
    proxy += ["--api-ip=127.0.0.1", f"--default-target={default}", f"--error-target={default}/hub/error", "--log-level=warn"]
    with (folder / "proxy.log").open("ab") as log:
        running = subprocess.Popen(proxy, stdout=log, stderr=log, env=hub.env)
    try:
        hub.start()
        yield hub
    finally:
        if hub.process and hub.process.poll() is None:
            hub.end()
        running.kill()
        running.wait()
        remove_everything(instance)


def make_hub(folder: Path, catalog: Path, instance: str) -> ClusterHub:
    address, token = node_address(), secrets.token_hex(16)
    public, hub, proxy_api = free_port(), free_port(), free_port()
    cookie = secrets.token_hex(32)
    text = CONFIG.format(address=address, public=public, hub=hub, proxy_api=proxy_api, folder=folder, cookie=cookie, token=token)
    (folder / "config.py").write_text(text)
    env = environment() | {
        "LTAI_DATA": str(folder),
        "LTAI_BACKEND": "kubernetes",
        "LTAI_CATALOG": str(catalog),
        "LTAI_HOMES": "/home",
        "LTAI_PUBLIC_URL": f"http://{address}:{public}",
        "LTAI_INSIDE_URL": f"http://{address}:{public}",
        "LTAI_KUBERNETES_INSTANCE": instance,
        "LTAI_KUBERNETES_HOME_ACCESS": "ReadWriteOnce",
        "CONFIGPROXY_AUTH_TOKEN": token,
        "PYTHONUNBUFFERED": "1",
    }
    return ClusterHub(folder, instance, address, public, hub, proxy_api, env, {name: secrets.token_hex(8) for name in (*PEOPLE, "admin")})


def make_catalog(folder: Path, cpu: float) -> Path:
    """Flavors small enough for any cluster, the usual image, and one that nobody has."""
    shutil.copytree(shipped("spawner_profiles"), folder, dirs_exist_ok=True)
    small: dict[str, Any] = {"title": "Small", "cpu": cpu, "memory": "512Mi", "price": 0.2}
    flavors = {"small": small, "more": {**small, "title": "More", "cpu": cpu * 1.5}, "huge": {**small, "title": "Huge", "cpu": 4000}}
    image = {
        "title": "scikit-learn",
        "framework": "scikit-learn",
        "version": "1.9",
        "python": "3.11",
        "requirements": ["scikit-learn==1.9.*"],
    }
    images = {"lab": {**image, "container": IMAGE}, "missing": {**image, "container": "ltai/nobody-has-it:1"}}
    profile = {"title": "Lab", "image": "lab", "flavor": "small", "images": ["lab", "missing"], "flavors": ["small", "more", "huge"]}
    profiles = {"lab": profile, "course": {**profile, "title": "Course", "copy": [{"source": "digits", "target": "digits"}]}}
    for name, rows in (("flavors", flavors), ("images", images), ("profiles", profiles)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({name: rows}))
    return folder


def make_school(folder: Path, passwords: dict[str, str]) -> None:
    database = Database(DataFolder(folder).database_url)
    migrate(DataFolder(folder).database_url)
    accounts, now = Accounts(database), utc_now()
    for name, password in passwords.items():
        accounts.create(name, admin=name == "admin", password=password)
    with database.transaction() as tx:
        school = tenancy.insert_tenant(tx, "school", "School", TenantKind.ORGANISATION, None, now)
        for slug in ("one", "two"):
            tenant = tenancy.insert_tenant(tx, slug, slug.capitalize(), TenantKind.COURSE, school, now)
            for profile in ("lab", "course"):
                tenancy.assign_profile(tx, tenant, profile)
            for person in (name for name, place in PEOPLE.items() if place == slug):
                tenancy.put_member(tx, tenant, person, Role.MEMBER, now)
    database.close()


async def mirror_tenants(hub: ClusterHub, catalog: Path, shares: Sequence[TenantShare]) -> None:
    """Until the queues take what is put into them."""
    cluster = await Cluster.connect()
    until = time.monotonic() + 120
    while True:
        troubles = await mirror(cluster, hub.settings, load_catalog(catalog), shares)
        queues = [await cluster.find(CLUSTER_QUEUE, "", hub.namespace(share.tenant)) for share in shares]
        if not troubles and all(condition_of(queue, "Active") == "True" for queue in queues):
            break
        assert time.monotonic() < until, troubles
        await asyncio.sleep(0.5)
    await cluster.close()


def node_address() -> str:
    """Of a node that is no simulation: its network is the pods'."""
    address = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    return kubectl("get", "nodes", "-l", "type!=kwok", "-o", address).split()[0]


def remove_everything(instance: str) -> None:
    ours = f"{INSTANCE}={instance}"
    kubectl("delete", "namespace", "-l", ours, "--wait=true", "--timeout=120s", check=False)
    for kind in ("localqueue", "clusterqueue", "cohort", "resourceflavor", "workloadpriorityclass"):
        kubectl("delete", kind, "-l", ours, "--wait=false", check=False)
