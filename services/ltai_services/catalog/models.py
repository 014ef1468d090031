"""What callers get. ``title`` and ``description`` hold both languages: {"en": …, "zh-CN": …}."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Words = dict[str, str]


class FlavorOut(BaseModel):
    """cpu in cores, memory and disk in bytes, price in micro-units an hour."""

    name: str
    title: Words
    cpu: float
    memory: int
    disk: int
    accelerator: str
    accelerator_count: int
    accelerator_title: str
    architecture: str
    price_micro_per_hour: int
    currency: str
    simulated: bool
    available_now: bool


class ImageOut(BaseModel):
    name: str
    title: Words
    description: Words
    framework: str
    version: str
    state: Literal["ready", "building", "absent", "failed"]
    progress: float
    message: str
    requirements: list[str]
    container: str


class ProfileOut(BaseModel):
    name: str
    title: Words
    description: Words
    image: str
    flavor: str
    images: list[str]
    flavors: list[str]
    picture: str
    ready: bool
    price_micro_per_hour: int
    currency: str
    tenant: str
