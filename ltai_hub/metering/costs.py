"""What something has cost so far: its intervals up to now, rated."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from ltai_hub.domain.usage import rate
from ltai_hub.metering import store

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def costs_of(tx: Connection, kind: str, noun_ids: Iterable[str], now: datetime) -> dict[str, int]:
    """noun_id → micro-units, for everything of one kind; what never ran is left out."""
    wanted = set(noun_ids)
    if not wanted:
        return {}
    prices = store.price_versions(tx)
    costs: dict[str, int] = {}
    for interval in store.intervals_of(tx, kind, wanted):
        cost = sum(charge.cost_micro for charge in rate(interval, prices, BEGINNING, now))
        costs[interval.noun_id] = costs.get(interval.noun_id, 0) + cost
    return costs


def hourly_price(tx: Connection, flavor: str, now: datetime) -> int:
    """Micro-units an hour for one replica of the flavor now; 0 before its first price version."""
    valid = [p for p in store.price_versions(tx) if p.flavor == flavor and p.valid_from <= now]
    return max(valid, key=lambda p: p.valid_from).micro_per_hour if valid else 0
