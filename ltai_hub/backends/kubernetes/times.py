"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import datetime


def moment(text: str | None) -> datetime | None:
    """Aware, UTC; whole seconds."""
    return datetime.fromisoformat(text) if text else None


def earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time), default=None)


def latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time), default=None)
