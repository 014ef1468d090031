"""configurable-http-proxy on fixed ports; its token comes as CONFIGPROXY_AUTH_TOKEN."""

from __future__ import annotations

import os

from ltai_hub.cluster.settings import ClusterSettings
from ltai_hub.local.plan import ProxyPlaces, find_node, make_proxy_command, proxy_bundle

PUBLIC_PORT, API_PORT = 8000, 8001


def main() -> None:
    places = ProxyPlaces("0.0.0.0", PUBLIC_PORT, "0.0.0.0", API_PORT, ClusterSettings().hub_url)
    command = make_proxy_command(find_node(), str(proxy_bundle()), places)
    os.execv(command[0], command)
