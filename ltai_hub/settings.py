"""All settings of the hub side; the only file that reads the environment (prefix ``LTAI_``)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from ltai_hub.paths import DataFolder, shipped


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
        return DataFolder(self.data.absolute())

    @property
    def database(self) -> str:
        return self.database_url or self.folder.database_url
