"""Which part of a list somebody asks for, and whose things are in it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ltai_hub.errors import BadInput
from ltai_hub.slugs import shown

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """``sort`` is the name of a field, with "-" in front for the largest first; "" is the list's usual order."""

    limit: int = 100
    offset: int = 0
    text: str = ""
    sort: str = ""


@dataclass(frozen=True)
class Sight:
    """What is ``own``, and what is others' in the tenants ``others_in``; of that only ``inside`` some tenants, or one user's."""

    own: str
    others_in: Collection[str]
    inside: Collection[str] | None = None
    user: str | None = None


@dataclass(frozen=True)
class Order:
    field: str
    falling: bool


def read_order(sort: str, fields: Collection[str]) -> Order | None:
    """ "-name" → name, falling; None for "". Raises BadInput for a field the list cannot be sorted by."""
    field = sort.removeprefix("-")
    if field and field not in fields:
        raise BadInput(f"the list cannot be sorted by {shown(field)}; choose one of {', '.join(sorted(fields))}")
    return Order(field, sort.startswith("-")) if field else None


def in_order(items: Iterable[T], sort: str, keys: Mapping[str, Callable[[T], Any]]) -> list[T]:
    """What has no value comes last either way; equal ones keep their order. Raises BadInput."""
    found, order = list(items), read_order(sort, keys)
    if order is None:
        return found
    key = keys[order.field]
    without = [item for item in found if key(item) is None]
    return [*sorted((item for item in found if key(item) is not None), key=key, reverse=order.falling), *without]
