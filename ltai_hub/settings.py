"""All settings of the hub side; the only file that reads the environment (prefix ``LTAI_``)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ltai_hub.paths import DataFolder, shipped

CLUSTER_NAME = re.compile("[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


class Settings(BaseSettings):
    """One instance a process, made at its entry and handed down."""

    model_config = SettingsConfigDict(env_prefix="LTAI_", extra="ignore", frozen=True)

    data: Path = Field(default=Path(".ltai"), description="Data folder; everything the platform keeps lies below it.")
    backend: str = Field(default="local", description="Name of the backend (entry-point group ltai.backends).")
    database_url: str = Field(default="", description="SQLAlchemy URL of the platform's database; empty: sqlite in the data folder.")
    catalog: Path = Field(
        default_factory=lambda: shipped("spawner_profiles"), description="Folder of flavors.yaml, images.yaml and profiles.yaml."
    )
    public_url: str = Field(default="http://127.0.0.1:8000", description="Address people use, without a slash at the end.")
    services_bind: str = Field(default="127.0.0.1:8090", description="Address and port on which the services process listens.")
    with_console: bool = Field(default=True, description="Whether the services process serves the console's pages too.")
    hub_api_url: str = Field(default="", description="The hub's API as the services reach it, e.g. http://127.0.0.1:8081/hub/api.")
    hub_api_token: str = Field(default="", description="The services' token for the hub's API.", repr=False)
    proxy_api_url: str = Field(default="", description="configurable-http-proxy's admin API.")
    proxy_api_token: str = Field(default="", description="Token of the proxy's admin API.", repr=False)
    inside_url: str = Field(
        default="",
        description="The proxy as people's programs reach it; empty: the public address, by loopback if it is plain http.",
    )
    homes: Path | None = Field(default=None, description="Where people's programs see their homes; empty: homes/ in the data folder.")
    mlflow_url: str = Field(default="", description="Where MLflow's server answers; empty: a socket in the data folder.")
    signing_key: str = Field(default="", description="Key for tokens the platform makes itself, 32 bytes hex.", repr=False)
    simulated_gpus: int = Field(default=0, ge=0, description="GPUs the local backend pretends to have; shown as simulated everywhere.")
    network: str = Field(
        default="private",
        pattern="^(private|shared)$",
        description="private: users' processes have their own loopback; shared: they see the machine's.",
    )
    currency: str = Field(default="CNY", description="ISO 4217 code shown with prices.")
    demo: bool = Field(default=False, description="Made with --demo: a demo school with random passwords, loopback only.")

    @cached_property
    def folder(self) -> DataFolder:
        return DataFolder(self.data.absolute(), self.homes)

    @property
    def database(self) -> str:
        return self.database_url or self.folder.database_url


class KubernetesSettings(BaseSettings):
    """What the kubernetes backend and spawner need besides (prefix ``LTAI_KUBERNETES_``)."""

    model_config = SettingsConfigDict(env_prefix="LTAI_KUBERNETES_", extra="ignore", frozen=True)

    namespace: str = Field(default="ltai", description="Namespace of the platform itself.")
    instance: str = Field(
        default="ltai",
        pattern="^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$",
        description="Name of this installation: begins the name of every tenant's namespace and queue; its label tells what is ours.",
    )
    image_prefix: str = Field(default="", description="Put before every container of the catalogue, e.g. 'registry.lan/mirror/'.")
    image_pull_policy: str = Field(default="IfNotPresent", description="Of people's pods.")
    image_pull_secrets: list[str] = Field(default_factory=list, description="Secrets copied to tenants.")
    home_class: str = Field(default="", description="StorageClass of homes; empty: the cluster's default.")
    home_access: str = Field(default="ReadWriteMany", description="Access mode of homes: ReadWriteMany, or ReadWriteOnce on one node.")
    home_size: str = Field(default="10Gi", description="Size a home is made with.")
    courses_class: str = Field(default="", description="StorageClass of a tenant's course files; empty: as homes.")
    courses_size: str = Field(default="10Gi", description="Size of a tenant's course files.")
    user_id: int = Field(default=1000, gt=0, description="User id people's programs run as.")
    group_id: int = Field(default=100, gt=0, description="Group id people's programs run as; owns their volumes.")
    kept_seconds: int = Field(default=3600, gt=0, description="How long an ended job's objects stay in the cluster.")
    node_ports: bool = Field(default=False, description="For tests from outside of the cluster: addresses of endpoints are node ports.")
    extra_tolerations: list[dict[str, str]] = Field(default_factory=list, description="On every pod of people, e.g. of simulated nodes.")
    outside: list[str] = Field(
        default_factory=lambda: ["0.0.0.0/0"],
        description="Networks people's programs may reach besides the platform; empty: none. On a cluster with IPv6 add '::/0'.",
    )
    private_ranges: list[str] = Field(
        default_factory=lambda: [
            *("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
            *("fc00::/7", "fe80::/10"),
        ],
        description="But not these: the cluster's own networks and their neighbours, and the addresses clouds hand out credentials on.",
    )
    cluster_domain: str = Field(default="cluster.local", description="DNS domain of the cluster.")
    clusters: dict[str, str] = Field(
        default_factory=dict,
        description='More clusters that jobs may run in, as JSON: name → path of a kubeconfig, e.g. {"east": "/etc/ltai/clusters/east"}.',
    )
    kueue_namespace: str = Field(default="kueue-system", description="Where Kueue runs; it reads the kubeconfigs of more clusters there.")
    lost_seconds: int = Field(default=300, gt=0, description="A cluster that has not answered for so long is lost.")
    lost_jobs: Literal["move", "fail"] = Field(
        default="move", description="What becomes of the jobs in a lost cluster: 'move' begins them again in another, 'fail' ends them."
    )

    @field_validator("clusters")
    @classmethod
    def _have_names(cls, clusters: dict[str, str]) -> dict[str, str]:
        if wrong := next((name for name in clusters if not CLUSTER_NAME.fullmatch(name)), None):
            raise ValueError(f"{wrong!r} cannot be the name of a cluster: use up to 20 of a-z, 0-9 and '-', beginning with a letter")
        return clusters
