"""What callers send and get."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ltai_hub.domain.workloads import Phase
from ltai_services.places import Placed

MOST_INSTANCES = 16
LONGEST_RUN = 366 * 86_400


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewEndpoint(Body):
    name: str = Field(description="any text; its address is made from it")
    model: str
    version: str
    tenant: str | None = Field(default=None, description="slug; left out: your default tenant")
    instances: int = Field(default=1, ge=1, le=MOST_INSTANCES)
    most_instances: int | None = Field(default=None, ge=1, le=MOST_INSTANCES, description="up to so many while there is load")
    image: str | None = Field(default=None, description="left out: the image the model was trained in")
    flavor: str | None = Field(default=None, description="left out: the cheapest without accelerators")
    max_seconds: int | None = Field(default=None, ge=1, le=LONGEST_RUN, description="stops by itself after so many seconds of running")


class EndpointChange(Body):
    instances: int | None = Field(default=None, ge=1, le=MOST_INSTANCES)
    most_instances: int | None = Field(default=None, ge=0, le=MOST_INSTANCES, description="0: none are added under load")
    version: str | None = None
    max_seconds: int | None = Field(default=None, ge=0, le=LONGEST_RUN, description="0: no limit")


class EndpointOut(Placed):
    id: int
    name: str
    slug: str
    user: str
    tenant: str
    model: str
    version: str
    image: str
    flavor: str
    instances: int
    most_instances: int | None
    ready_instances: int
    phase: Phase
    address: str
    infer_url: str
    max_seconds: int | None
    stops_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cost_micro: int
    currency: str
    signature: dict[str, Any] | None


class ScalingOut(BaseModel):
    available: bool
    reason: str = Field(description="why no instances are added under load here")


class EndpointWithToken(EndpointOut):
    token: str = Field(description="shown once; only its hash is kept")
