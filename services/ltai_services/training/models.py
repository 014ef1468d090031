"""What callers send and get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ltai_hub.domain.workloads import Phase
from ltai_services.places import Placed
from ltai_services.training.folder import LONGEST_TEXT

Word = Annotated[str, Field(max_length=32_768)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


MOST_NODES = 1024


class NewJob(Body):
    name: str = Field(description="any text; the job's runs are kept in the MLflow experiment of this name")
    command: list[Word] = Field(min_length=1, max_length=1000, description='argv, never a shell line: ["python", "train.py"]')
    profile: str | None = Field(default=None, description="left out: the tenant's first profile")
    image: str | None = Field(default=None, description="another of the profile's images")
    flavor: str | None = Field(default=None, description="another of the profile's flavors")
    tenant: str | None = Field(default=None, description="slug; left out: your default tenant")
    nodes: int = Field(
        default=1, ge=1, le=MOST_NODES, description="replicas that start together, each with the flavor; more than one needs a cluster"
    )
    anywhere: bool = Field(
        default=False,
        description="in whichever cluster has room, where there are several. It then finds an empty home with `folder` in it, wherever it "
        "runs, and none of your files; what it writes there goes with it",
    )
    folder: str | None = Field(
        default=None, max_length=LONGEST_TEXT, description="only with `anywhere`: a zip archive in base64, 256 KiB at most, unpacked in cwd"
    )
    cwd: str = Field(default="", max_length=4096, description="folder inside your home in which the command runs")
    env: dict[str, Word] = Field(default_factory=dict, max_length=200, description="more environment variables")


class JobOut(Placed):
    id: int
    name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    nodes: int
    anywhere: bool
    command: list[str]
    cwd: str
    env: dict[str, str]
    phase: Phase
    exit_code: int | None
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


class SpreadOut(BaseModel):
    most_nodes: int = Field(description="1 where this platform is one machine")
    clusters: list[str] = Field(description="others, in which a job with `anywhere` may run too")


class LoggedModelOut(BaseModel):
    model_id: str
    name: str
    framework: str


class JobMetrics(BaseModel):
    metrics: dict[str, float]
    params: dict[str, str]
    models: list[LoggedModelOut]
