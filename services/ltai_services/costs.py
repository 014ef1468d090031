"""What one job or endpoint has cost until now."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.engine import Connection

from ltai_hub.domain.usage import rate
from ltai_hub.domain.workloads import Kind
from ltai_hub.metering import store


def cost_of(tx: Connection, kind: Kind, noun_id: str, since: datetime, now: datetime) -> int:
    """Micro-units of currency."""
    found = store.intervals(tx, since, now, noun=(kind, noun_id))
    if not found:
        return 0
    prices = store.price_versions(tx)
    return sum(charge.cost_micro for interval in found for charge in rate(interval, prices, since, now))
