"""The one door for everything that runs: permission, then quota at every level, then a reservation or a place in the queue.

Call it inside the transaction that inserts the row of the workload: both are there, or neither.

``left``: resources whose limits of tenants are left to a cluster's own queue (``backends.base.left_to_queue``). What can never fit
under them is still refused at once; else the reservation is held as far as they are concerned, and the cluster lets wait.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from ltai_hub.domain.quotas import LEAVE_NONE, Decision, Limit, Waiting, amounts_of, decide, too_big
from ltai_hub.domain.tenants import Person
from ltai_hub.domain.workloads import Kind, Resources
from ltai_hub.errors import OverQuota
from ltai_hub.tenancy import store
from ltai_hub.tenancy.permit import permit


@dataclass(frozen=True)
class Ask:
    kind: Kind
    noun_id: str
    user: str
    tenant: str
    flavor: str
    resources: Resources
    replicas: int = 1


@dataclass(frozen=True)
class Admission:
    """``held``: may start now. Else ``position`` in the queue (1 is next) and why it waits."""

    held: bool
    position: int | None = None
    reason: str = ""


def admit(tx: Connection, person: Person, action: str, ask: Ask, now: datetime, left: frozenset[str] = LEAVE_NONE) -> Admission:
    """Reserve or queue. A second call for the same open ask changes nothing and tells where it stands.

    Raises Denied, NotFound, or OverQuota when the ask can never fit.
    """
    permit(tx, person, action, ask.tenant, owner=ask.user)
    existing = waiting(tx, ask.kind, ask.noun_id, left)
    if existing is not None:
        return existing
    tenant_id = store.get_tenant_id(tx, ask.tenant)
    amounts = amounts_of(ask.resources, ask.replicas)
    over = too_big(amounts, [_limit(row, ask.user, 0) for row in store.quotas_for(tx, tenant_id, ask.user)])
    if over is not None:
        raise OverQuota(over.never_fits(amounts[over.resource]), tenant=over.tenant, resource=over.resource, limit=over.limit)
    store.insert_reservation(tx, ask.kind, ask.noun_id, ask.user, tenant_id, ask.flavor, ask.replicas, amounts, now)
    if (ask.kind, ask.noun_id) in admit_waiting(tx, now, left):
        return Admission(held=True)
    answer = waiting(tx, ask.kind, ask.noun_id, left)
    if answer is None:
        raise AssertionError("the reservation just made is not there")
    return answer


def limits_for(tx: Connection, tenant_id: int, user: str, left: frozenset[str] = LEAVE_NONE) -> tuple[Limit, ...]:
    """Every limit that binds the user in the tenant, with what is held of it now; without those of tenants that are ``left``.

    What is held is summed up anew each time, so nothing is summed up that is not asked for.
    """
    rows = [row for row in store.quotas_for(tx, tenant_id, user) if row.user or row.resource not in left]
    return tuple(_limit(row, user, store.used(tx, row.tenant_id, user if row.user else "", row.resource)) for row in rows)


def _limit(row: store.QuotaRow, user: str, used: float) -> Limit:
    return Limit(row.tenant, row.tenant_name, user if row.user else "", row.resource, row.limit, used, row.guaranteed)


def release(tx: Connection, kind: Kind, noun_id: str, now: datetime) -> list[tuple[Kind, str]]:
    """Give back what it held and admit who waits; returns who may start now. Releasing twice is fine.

    Here every limit counts: who waits only for one that is left to a cluster is held at the next look at the queue.
    """
    return admit_waiting(tx, now) if store.release_open(tx, kind, noun_id, now) else []


def admit_waiting(tx: Connection, now: datetime, left: frozenset[str] = LEAVE_NONE) -> list[tuple[Kind, str]]:
    """Hold everything of the queue that fits now; returns what was newly held."""
    queue = {r.id: r for r in store.waiting_reservations(tx)}
    held = []
    for decision in decide(_with_limits(tx, queue, left)):
        if decision.held:
            reservation = queue[decision.reservation]
            store.hold(tx, reservation, now)
            held.append((Kind(reservation.kind), reservation.noun_id))
    return held


def waiting(tx: Connection, kind: Kind, noun_id: str, left: frozenset[str] = LEAVE_NONE) -> Admission | None:
    """Where an open ask stands; None when there is none."""
    return standings(tx, kind, [noun_id], left).get(noun_id)


def standings(tx: Connection, kind: Kind, noun_ids: Collection[str], left: frozenset[str] = LEAVE_NONE) -> dict[str, Admission]:
    """Where open asks of one kind stand, many at once; what has none open is left out."""
    found = store.open_reservations(tx, kind, noun_ids) if noun_ids else []
    if all(reservation.state == store.HELD for reservation in found):
        return {reservation.noun_id: Admission(held=True) for reservation in found}
    queue = {r.id: r for r in store.waiting_reservations(tx)}
    decisions = {decision.reservation: decision for decision in decide(_with_limits(tx, queue, left))}
    return {r.noun_id: Admission(held=True) if r.state == store.HELD else _standing(decisions[r.id]) for r in found}


def _standing(decision: Decision) -> Admission:
    if decision.held:
        # room appeared without anybody releasing (a quota was raised): the next pass holds it
        return Admission(held=False, position=1, reason="starting as soon as the queue is looked at again")
    return Admission(held=False, position=decision.position, reason=decision.reason)


def _with_limits(tx: Connection, queue: dict[int, store.Reservation], left: frozenset[str]) -> list[Waiting]:
    cache: dict[tuple[int, str], tuple[Limit, ...]] = {}
    found = []
    for reservation in queue.values():
        key = (reservation.tenant_id, reservation.user)
        if key not in cache:
            cache[key] = limits_for(tx, *key, left)
        found.append(Waiting(reservation.id, reservation.amounts, cache[key]))
    return found
