"""What the parts in a cluster need besides ``ltai_hub.settings`` (prefix ``LTAI_CLUSTER_``); the chart sets all of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClusterSettings(BaseSettings):
    """Each part is given only what it needs; the rest is empty there."""

    model_config = SettingsConfigDict(env_prefix="LTAI_CLUSTER_", extra="ignore", frozen=True)

    hub_url: str = Field(default="", description="The hub as every pod reaches it, e.g. http://ltai-hub.ltai.svc.cluster.local:8081.")
    console_url: str = Field(default="", description="Where the console answers.")
    service_urls: dict[str, str] = Field(default_factory=dict, description="Where each REST service answers.")
    hub_database_url: str = Field(default="", description="JupyterHub's own database.", repr=False)
    cookie_secret: str = Field(default="", description="Signs the hub's cookies; 32 bytes hex.", repr=False)
    console_token: str = Field(default="", description="The console's token for the hub's API.", repr=False)
    mlflow_database_url: str = Field(default="", description="MLflow's own database.", repr=False)
    mlflow_artifacts: str = Field(default="/artifacts", description="Where MLflow keeps files: a folder or a URL such as s3://bucket.")
    mlflow_key: str = Field(default="", description="Encrypts what MLflow keeps secret.", repr=False)
    demo_passwords: Path = Field(default=Path("/run/secrets/demo"), description="A file for each person of the demo school.")
    image: str = Field(default="", description="The platform's own image, for the pods that fill the demo's course volumes.")
