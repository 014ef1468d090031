"""What callers send and get. Money is in integer micro-units of ``currency``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Group = Literal["none", "user", "tenant"]


class UsageOut(BaseModel):
    """Seconds are replica-seconds: two instances for a minute are 120."""

    user: str | None
    tenant: str | None
    kind: str | None
    flavor: str | None
    seconds: float
    cost_micro: int
    currency: str


class BillLine(BaseModel):
    """One environment start, job or endpoint; ``key`` opens its intervals."""

    key: str
    kind: str
    noun_id: str
    name: str
    user: str
    tenant: str
    flavor: str
    seconds: float
    cost_micro: int
    intervals: int
    running: bool


class Bill(BaseModel):
    tenant: str | None
    user: str | None
    month: str
    started_at: datetime
    ended_at: datetime
    total_micro: int
    currency: str
    lines: list[BillLine]


class IntervalOut(BaseModel):
    started_at: datetime
    ended_at: datetime
    running: bool
    seconds: float
    replicas: int
    flavor: str
    price_micro_per_hour: int
    price_valid_from: datetime | None
    cost_micro: int
    currency: str


class NewPrice(BaseModel):
    model_config = ConfigDict(extra="forbid")

    flavor: str
    price_micro_per_hour: int = Field(ge=0, le=10**15)
    valid_from: datetime | None = Field(default=None, description="from when on; now when left out, never in the past")


class PriceOut(BaseModel):
    flavor: str
    price_micro_per_hour: int
    currency: str
    valid_from: datetime
