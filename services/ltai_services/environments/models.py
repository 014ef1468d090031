"""What callers send and get."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from ltai_hub.domain.workloads import Phase


class NewEnvironment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="default", description="any text; several environments a person have different names")
    profile: str = ""
    image: str = ""
    flavor: str = ""
    tenant: str = ""


class EnvironmentOut(BaseModel):
    id: int
    name: str
    display_name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    phase: Phase
    reason: str
    url: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    queue_position: int | None
    price_micro_per_hour: int
    currency: str
