"""configurable-http-proxy on fixed ports; its token comes as CONFIGPROXY_AUTH_TOKEN."""

from __future__ import annotations

import os

from ltai_hub.cluster.settings import ClusterSettings
from ltai_hub.local.plan import find_node, proxy_bundle

PUBLIC_PORT, API_PORT = 8000, 8001


def make_command(node: str, bundle: str, hub_url: str) -> list[str]:
    return [
        node,
        bundle,
        "--ip=0.0.0.0",
        f"--port={PUBLIC_PORT}",
        "--api-ip=0.0.0.0",
        f"--api-port={API_PORT}",
        f"--default-target={hub_url}",
        f"--error-target={hub_url}/hub/error",
        "--log-level=warn",
    ]


def main() -> None:
    command = make_command(find_node(), str(proxy_bundle()), ClusterSettings().hub_url)
    os.execv(command[0], command)
