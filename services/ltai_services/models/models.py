"""What callers send and get."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewVersion(Body):
    job: int = Field(description="the job whose run logged the model")
    name: str = Field(description="name of the model; a new one is made, an existing one gets its next version")
    model_id: str | None = Field(default=None, description="which of the models the run logged; left out: the last one")
    description: str = Field(default="", max_length=5000)


class AliasChange(Body):
    version: str


class ModelOut(BaseModel):
    name: str
    tenant: str
    latest_version: str | None
    versions: int
    framework: str
    description: str
    updated_at: datetime


class VersionOut(BaseModel):
    version: str
    name: str
    tenant: str
    framework: str
    framework_version: str
    metrics: dict[str, float]
    params: dict[str, str]
    source: str
    run_id: str | None
    job_id: int | None
    image: str
    flavor: str
    user: str
    command: str
    description: str
    status: str
    created_at: datetime
    aliases: list[str]
    endpoints: list[int]


class ModelDetails(ModelOut):
    version_list: list[VersionOut]
