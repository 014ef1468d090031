"""What happened to one thing, as its service and the pages show it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy.engine import Connection

from ltai_hub.domain.lists import Part
from ltai_hub.domain.workloads import Kind
from ltai_hub.metering import store

LONGEST = 500


class EventOut(BaseModel):
    at: datetime
    from_phase: str | None
    to_phase: str
    reason: str
    actor: str


def history_of(tx: Connection, kind: Kind, noun_id: str) -> list[EventOut]:
    """Newest first."""
    found, _ = store.list_events(tx, Part(LONGEST), noun=kind, noun_id=noun_id)
    return [EventOut(at=e.at, from_phase=e.from_phase, to_phase=e.to_phase, reason=e.reason, actor=e.actor) for e in found]
