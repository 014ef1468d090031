"""What callers send and get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ltai_hub.domain.workloads import Phase

Word = Annotated[str, Field(max_length=32_768)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewJob(Body):
    name: str = Field(description="any text; the job's runs are kept in the MLflow experiment of this name")
    command: list[Word] = Field(min_length=1, max_length=1000, description='argv, never a shell line: ["python", "train.py"]')
    profile: str | None = Field(default=None, description="left out: the tenant's first profile")
    image: str | None = Field(default=None, description="another of the profile's images")
    flavor: str | None = Field(default=None, description="another of the profile's flavors")
    tenant: str | None = Field(default=None, description="slug; left out: your default tenant")
    nodes: int = Field(
        default=1, ge=1, le=1024, description="replicas that start together, each with the flavor; more than one needs a cluster"
    )
    cwd: str = Field(default="", max_length=4096, description="folder inside your home in which the command runs")
    env: dict[str, Word] = Field(default_factory=dict, max_length=200, description="more environment variables")


class JobOut(BaseModel):
    # of one that waits in a cluster's queue: the backend is asked where
    _state: dict[str, Any] | None = PrivateAttr(default=None)

    id: int
    name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    nodes: int
    command: list[str]
    cwd: str
    env: dict[str, str]
    phase: Phase
    reason: str
    exit_code: int | None
    queue_position: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    run_id: str | None
    experiment_id: str | None
    run_url: str | None
    attempt: int
    rerun_of: int | None
    max_seconds: int | None
    cost_micro: int
    currency: str


class LoggedModelOut(BaseModel):
    model_id: str
    name: str
    framework: str


class JobMetrics(BaseModel):
    metrics: dict[str, float]
    params: dict[str, str]
    models: list[LoggedModelOut]
