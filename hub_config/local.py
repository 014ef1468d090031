"""Local mode: everything on 127.0.0.1, secrets and ports from the data folder, environments as processes."""

from __future__ import annotations

import os
import sys
from typing import Any

from ltai_hub.derived import MLFLOW_CLIENT, derive
from ltai_hub.hub.configure import HubPlaces, HubSecrets, ServicesProcess, configure
from ltai_hub.hub.spawner import LocalSpawner
from ltai_hub.local.keys import load_keys
from ltai_hub.local.plan import services_environment
from ltai_hub.local.ports import LOOPBACK, kept_ports
from ltai_hub.settings import Settings

SERVICES_COMMAND = (sys.executable, "-m", "ltai_hub.local.child", "services")


def configure_mode(c: Any, settings: Settings) -> None:
    root = settings.folder.root
    keys, ports = load_keys(root), kept_ports(root)
    places = HubPlaces(
        public_bind=f"http://{LOOPBACK}:{ports.public}",
        hub_bind=f"http://{LOOPBACK}:{ports.hub}",
        hub_connect=f"http://{LOOPBACK}:{ports.hub}",
        proxy_api=f"http://{LOOPBACK}:{ports.proxy_api}",
        services=f"http://{LOOPBACK}:{ports.services}",
        console=f"http://{LOOPBACK}:{ports.console}",
        hub_database=f"sqlite:///{root / 'hub' / 'jupyterhub.sqlite'}",
    )
    secrets = HubSecrets(
        bytes.fromhex(keys.cookie_secret),
        keys.proxy_token,
        keys.platform_token,
        keys.console_token,
        derive(keys.signing_key, MLFLOW_CLIENT),
    )
    services = ServicesProcess(SERVICES_COMMAND, services_environment(dict(os.environ)))
    configure(c, places, secrets, services, LocalSpawner)
    c.JupyterHub.upgrade_db = True
    c.LocalSpawner.platform_url = f"http://{LOOPBACK}:{ports.public}"
    c.LocalSpawner.forward = [ports.hub, ports.public]
