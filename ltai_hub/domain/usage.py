"""Rating: usage intervals × price versions → charges. Pure; money in integer micro-units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Interval:
    """A whole interval in which ``replicas`` of a flavor ran; ``ended_at`` None while it still runs."""

    id: int
    kind: str
    noun_id: str
    name: str
    user: str
    tenant: str
    flavor: str
    replicas: int
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Price:
    """Micro-units an hour for one replica, valid from a moment until the next version of the same flavor."""

    flavor: str
    micro_per_hour: int
    valid_from: datetime


@dataclass(frozen=True)
class Charge:
    """The part of an interval under one price version. seconds is exact to the microsecond; cost rounds half up per charge."""

    interval: int
    started_at: datetime
    ended_at: datetime
    seconds: float
    replicas: int
    price: Price
    cost_micro: int


def cut(interval: Interval, start: datetime, end: datetime) -> tuple[datetime, datetime] | None:
    """The part of the interval inside [start, end); None when they do not meet. A running interval reaches to ``end``."""
    first = max(interval.started_at, start)
    last = min(interval.ended_at or end, end)
    return (first, last) if first < last else None


def rate(interval: Interval, prices: Sequence[Price], start: datetime, end: datetime) -> list[Charge]:
    """Charges of the part of ``interval`` in [start, end): one for each price version it met.

    Time before the first price version of the flavor costs nothing.
    """
    part = cut(interval, start, end)
    if part is None:
        return []
    versions = sorted((p for p in prices if p.flavor == interval.flavor), key=lambda p: p.valid_from)
    free = Price(interval.flavor, 0, datetime.min.replace(tzinfo=interval.started_at.tzinfo))
    versions = [free, *versions]
    charges = []
    for number, price in enumerate(versions):
        until = versions[number + 1].valid_from if number + 1 < len(versions) else part[1]
        first, last = max(part[0], price.valid_from), min(part[1], until)
        if first < last:
            charges.append(make_charge(interval, price, first, last))
    return charges


@dataclass(frozen=True)
class Rated:
    """An interval with its charges; ``seconds`` are replica-seconds."""

    interval: Interval
    charges: tuple[Charge, ...]

    @property
    def seconds(self) -> float:
        return sum(charge.seconds * charge.replicas for charge in self.charges)

    @property
    def cost_micro(self) -> int:
        return sum(charge.cost_micro for charge in self.charges)


def rate_all(intervals: Iterable[Interval], prices: Iterable[Price], start: datetime, end: datetime) -> list[Rated]:
    by_flavor: dict[str, list[Price]] = {}
    for price in prices:
        by_flavor.setdefault(price.flavor, []).append(price)
    return [Rated(i, tuple(rate(i, by_flavor.get(i.flavor, ()), start, end))) for i in intervals]


def make_charge(interval: Interval, price: Price, first: datetime, last: datetime) -> Charge:
    lasted = last - first
    microseconds = (lasted.days * 86_400 + lasted.seconds) * 1_000_000 + lasted.microseconds
    # integer arithmetic, half up: price is an hour's, time is in microseconds
    hour = 3_600_000_000
    cost = (microseconds * interval.replicas * price.micro_per_hour + hour // 2) // hour
    return Charge(interval.id, first, last, microseconds / 1e6, interval.replicas, price, cost)
