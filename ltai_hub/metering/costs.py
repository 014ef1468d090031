"""What something has cost so far: its intervals up to now, rated."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from ltai_hub.domain.usage import rate_all
from ltai_hub.metering import store

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def costs_of(tx: Connection, kind: str, noun_ids: Iterable[str], now: datetime) -> dict[str, int]:
    """noun_id → micro-units, for everything of one kind; what never ran is left out."""
    wanted = set(noun_ids)
    if not wanted:
        return {}
    costs: dict[str, int] = {}
    for rated in rate_all(store.intervals_of(tx, kind, wanted), store.price_versions(tx), BEGINNING, now):
        noun_id = rated.interval.noun_id
        costs[noun_id] = costs.get(noun_id, 0) + rated.cost_micro
    return costs


def hourly_prices(tx: Connection, now: datetime) -> dict[str, int]:
    """Flavor → micro-units an hour for one replica now; those before their first price version are left out."""
    return {p.flavor: p.micro_per_hour for p in store.price_versions(tx) if p.valid_from <= now}
