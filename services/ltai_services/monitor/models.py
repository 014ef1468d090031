"""What callers get."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel


class Noun(StrEnum):
    ENVIRONMENT = "environment"
    JOB = "job"
    ENDPOINT = "endpoint"


class AcceleratorOut(BaseModel):
    """utilisation and fan in percent, memory in bytes, temperature in °C, power in W."""

    index: str
    name: str
    utilisation: float
    memory_used: int
    memory_total: int
    fan: float | None
    temperature: float | None
    power: float | None
    simulated: bool


class MetricsOut(BaseModel):
    """cpu in cores, memory and disk in bytes; limits 0 where there is none."""

    at: datetime
    cpu_cores: float
    cpu_limit: float
    memory: int
    memory_limit: int
    disk: int
    disk_limit: int
    accelerators: list[AcceleratorOut]


class NodeOut(BaseModel):
    """Amounts are {"used", "total"}, cpu in cores, the others in bytes. ``allocated``: a cluster's node, whose "used" is what its pods
    have asked for. ``devices``: by the name of the resource, counted. ``reason``: why it takes nothing new."""

    name: str
    cpu: dict[str, float]
    memory: dict[str, float]
    disk: dict[str, float]
    accelerators: list[AcceleratorOut]
    isolation: dict[str, Any] | None = None
    allocated: bool = False
    devices: dict[str, dict[str, float]] = {}
    ready: bool = True
    reason: str = ""


class Counts(BaseModel):
    environments: int = 0
    jobs: int = 0
    endpoints: int = 0


class OverviewOut(BaseModel):
    running: Counts
    waiting: Counts
    cost_this_month_micro: int
    currency: str
