"""The peers: started fresh for a run, from this interpreter's environment or one of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from ltai_hub.paths import PACKAGE

# of both: "stock" is everybody's password
STOCK = """
c = get_config()  # noqa
c.JupyterHub.bind_url = "http://{address}:{port}"
c.JupyterHub.hub_bind_url = "http://{every_address}:{hub_port}"
c.JupyterHub.hub_connect_url = "http://{address}:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.command = {proxy}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "stock"
c.Authenticator.allow_all = True
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 300
c.JupyterHub.log_level = "WARN"
"""

STOCK_PROCESSES = """
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/homes/{{username}}"
c.Spawner.args = {args}
c.JupyterHub.concurrent_spawn_limit = 100
# thirty at once take it longer than the 30 s it allows by itself
c.Spawner.http_timeout = 300
"""

STOCK_PODS = """
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = "{namespace}"
c.KubeSpawner.image = "{image}"
c.KubeSpawner.uid = 1000
c.KubeSpawner.fs_gid = 100
# as large as ours, and with a home too
c.KubeSpawner.cpu_guarantee = c.KubeSpawner.cpu_limit = {cpu}
c.KubeSpawner.mem_guarantee = c.KubeSpawner.mem_limit = "512M"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_capacity = "1Gi"
c.KubeSpawner.volumes = [{{"name": "home", "persistentVolumeClaim": {{"claimName": "{{pvc_name}}"}}}}]
c.KubeSpawner.volume_mounts = [{{"name": "home", "mountPath": "/home/jovyan"}}]
c.KubeSpawner.working_dir = "/home/jovyan"
c.KubeSpawner.environment = {{"HOME": "/home/jovyan"}}
c.Spawner.http_timeout = 120
"""


@dataclass(frozen=True)
class PodHub:
    """``address`` of this machine as pods reach it."""

    folder: Path
    node: str
    address: str
    namespace: str
    image: str
    cpu: float


@contextmanager
def stock_hub(folder: Path, node: str) -> Iterator[str]:
    """JupyterHub as it comes, with LocalProcessSpawner (the "simple" one: same start, no system accounts); yields its address."""
    args = ["--ServerApp.jpserver_extensions={'ltai_lab': False}", *(["--allow-root"] if os.getuid() == 0 else [])]
    with stock(folder, node, "127.0.0.1", "127.0.0.1", STOCK_PROCESSES.format(folder=folder, args=args)) as url:
        yield url


@contextmanager
def stock_pods(hub: PodHub) -> Iterator[str]:
    """JupyterHub as it comes, with KubeSpawner as it comes; yields its address. The namespace is made and removed by the caller."""
    hub.folder.mkdir(parents=True)
    with stock(hub.folder, hub.node, hub.address, "0.0.0.0", STOCK_PODS.format(**asdict(hub))) as url:
        yield url


@contextmanager
def stock(folder: Path, node: str, address: str, every_address: str, spawner: str) -> Iterator[str]:
    port, hub_port, api_port = free_port(), free_port(), free_port()
    proxy = [node, str(PACKAGE / "_web" / "proxy" / "lib" / "chp.mjs")]
    config = folder / "jupyterhub_config.py"
    places = {"folder": folder, "address": address, "every_address": every_address, "proxy": proxy}
    config.write_text(STOCK.format(**places, port=port, hub_port=hub_port, api_port=api_port) + spawner)
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with running([sys.executable, "-m", "jupyterhub", "-f", str(config)], folder / "stock.log", env, folder):
        wait_for(f"http://{address}:{port}/hub/health")
        yield f"http://{address}:{port}"


@contextmanager
def running(command: list[str], log: Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process group that is gone afterwards."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=env, cwd=cwd, start_new_session=True)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                continue


def wait_for(url: str, seconds: float = 60) -> float:
    """Seconds until it answers 200."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return time.perf_counter() - start
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {seconds:g} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
