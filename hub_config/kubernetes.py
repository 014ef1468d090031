"""Kubernetes mode: every part is a Deployment of the chart helm/ltai, which sets places and secrets; environments are pods."""

from __future__ import annotations

from typing import Any

from ltai_hub.cluster.settings import ClusterSettings
from ltai_hub.derived import MLFLOW_CLIENT, derive
from ltai_hub.hub.configure import HubPlaces, HubSecrets, ServicesProcess, configure
from ltai_hub.hub.kubespawner import KubernetesSpawner
from ltai_hub.settings import Settings


def configure_mode(c: Any, settings: Settings) -> None:
    own = ClusterSettings()
    places = HubPlaces(
        public_bind="http://0.0.0.0:8000",
        hub_bind="http://0.0.0.0:8081",
        hub_connect=own.hub_url,
        proxy_api=settings.proxy_api_url,
        services="",
        console=own.console_url,
        hub_database=own.hub_database_url,
        service_urls=own.service_urls,
    )
    secrets = HubSecrets(
        bytes.fromhex(own.cookie_secret),
        settings.proxy_api_token,
        settings.hub_api_token,
        own.console_token,
        derive(settings.signing_key, MLFLOW_CLIENT),
    )
    configure(c, places, secrets, ServicesProcess(), KubernetesSpawner)
    c.JupyterHub.upgrade_db = True
    # environments are pods of their own: they outlive the hub
    c.JupyterHub.cleanup_servers = False
    # one that still waits in the queue must not hold up the hub's start
    c.JupyterHub.init_spawners_timeout = 1
