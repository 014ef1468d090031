"""The one function through which an environment, a job or an endpoint changes its phase.

It writes the event and, in the same transaction, opens or closes the usage interval and gives back the reservation,
so that bills, quotas and history can never tell different stories.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy.engine import Connection

from ltai_hub.domain.quotas import amounts_of
from ltai_hub.domain.workloads import Kind, Phase, Resources
from ltai_hub.metering import store
from ltai_hub.tenancy.admission import release

# so much of a bill a machine that goes down can take with it
SEEN_SECONDS = 15


class Watched(Protocol):
    @property
    def seen_at(self) -> datetime | None: ...


Row = TypeVar("Row", bound=Watched)


def to_note_seen(rows: Sequence[Row], phases: Iterable[Phase], now: datetime) -> list[Row]:
    """Those that run and whose ``seen_at`` is old: should the machine go down now, their usage ends there."""
    running = [row for row, phase in zip(rows, phases, strict=True) if phase is Phase.RUNNING]
    return [row for row in running if row.seen_at is None or (now - row.seen_at).total_seconds() > SEEN_SECONDS]


@dataclass(frozen=True)
class Subject:
    """Who and what changes: ``noun_id`` names one run of it (a job's id, an environment's id and generation)."""

    kind: Kind
    noun_id: str
    name: str
    user: str
    tenant: str
    flavor: str
    resources: Resources
    replicas: int = 1


def change_phase(
    tx: Connection, subject: Subject, old: Phase | None, new: Phase, reason: str, at: datetime, actor: str = "platform"
) -> list[tuple[Kind, str]]:
    """Record ``old`` → ``new``; ``old`` is None for what was just made. ``at`` is when it really happened, which may be before now.

    Returns who may start now because something was given back. Repeating a change (old == new) writes no event and
    leaves open what is open: safe to call again after a crash.
    """
    if old is not new:
        store.insert_event(tx, at, subject.kind, subject.noun_id, subject.name, subject.user, subject.tenant, actor, old, new, reason)
    if new.is_metered:
        amounts = amounts_of(subject.resources, subject.replicas)
        store.open_interval(
            tx, subject.kind, subject.noun_id, subject.name, subject.user, subject.tenant, subject.flavor, subject.replicas, amounts, at
        )
        return []
    if old is not None:
        store.close_interval(tx, subject.kind, subject.noun_id, at)
    return release(tx, subject.kind, subject.noun_id, at) if new.is_final else []


def change_replicas(tx: Connection, subject: Subject, at: datetime) -> None:
    """A running workload went on with another number of replicas or flavor: the interval ends, a new one begins."""
    if store.close_interval(tx, subject.kind, subject.noun_id, at):
        amounts = amounts_of(subject.resources, subject.replicas)
        store.open_interval(
            tx, subject.kind, subject.noun_id, subject.name, subject.user, subject.tenant, subject.flavor, subject.replicas, amounts, at
        )
