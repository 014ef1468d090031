"""SQL of usage intervals, prices and events. What every change of a phase asks is built once (``@cache``), as in ``tenancy.store``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, Update, bindparam, case, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from ltai_hub.db.base import UtcDateTime
from ltai_hub.db.lists import has_text, seconds_between, take_part
from ltai_hub.db.tables import events, prices, tenant_id, tenants, usage_intervals
from ltai_hub.domain.lists import Part
from ltai_hub.domain.quotas import Amounts
from ltai_hub.domain.usage import Interval, Price


def open_interval(
    tx: Connection, kind: str, noun_id: str, name: str, user: str, tenant: str, flavor: str, replicas: int, amounts: Amounts, at: datetime
) -> bool:
    """False when one is open already. It begins where the last one ended if ``at`` is before that: nothing is charged twice."""
    if _open(tx, kind, noun_id) is not None:
        return False
    at = max(at, tx.execute(_last_end(), {"kind": kind, "noun_id": noun_id}).scalar() or at)
    values = {"kind": kind, "noun_id": noun_id, "name": name[:200], "user": user, "tenant": tenant, "flavor": flavor}
    tx.execute(_new_interval(), values | {"replicas": replicas, "amounts": dict(amounts), "started_at": at})
    return True


@cache
def _last_end() -> Select[Any]:
    ends = select(func.max(usage_intervals.c.ended_at))
    return ends.where(usage_intervals.c.kind == bindparam("kind"), usage_intervals.c.noun_id == bindparam("noun_id"))


@cache
def _new_interval() -> Insert:
    return insert(usage_intervals).values(tenant_id=tenant_id())


def close_interval(tx: Connection, kind: str, noun_id: str, at: datetime) -> bool:
    """False when none is open. An end before the start (clock set back) becomes the start: never negative."""
    found = _open(tx, kind, noun_id)
    if found is None:
        return False
    tx.execute(_end(), {"interval": found["id"], "ended_at": max(at, found["started_at"])})
    return True


@cache
def _end() -> Update:
    return update(usage_intervals).where(usage_intervals.c.id == bindparam("interval"))


def _open(tx: Connection, kind: str, noun_id: str) -> Any | None:
    return tx.execute(_open_one(), {"kind": kind, "noun_id": noun_id}).mappings().first()


@cache
def _open_one() -> Select[Any]:
    of_noun = (usage_intervals.c.kind == bindparam("kind")) & (usage_intervals.c.noun_id == bindparam("noun_id"))
    return select(usage_intervals).where(of_noun & usage_intervals.c.ended_at.is_(None))


def open_since(tx: Connection, kind: str) -> dict[str, datetime]:
    """noun_id → the beginning of its open interval, of everything of a kind that is metered now."""
    query = select(usage_intervals.c.noun_id, usage_intervals.c.started_at)
    rows = tx.execute(query.where(usage_intervals.c.kind == kind, usage_intervals.c.ended_at.is_(None)))
    return {row.noun_id: row.started_at for row in rows}


def open_replicas(tx: Connection, kind: str, noun_id: str) -> int | None:
    """How many replicas are metered now; None when it is not."""
    found = _open(tx, kind, noun_id)
    return found["replicas"] if found else None


@dataclass(frozen=True)
class Scope:
    """Whose usage may be read: everything of ``tenants`` and what is the ``user``'s own anywhere."""

    tenants: Collection[str]
    user: str


def intervals(
    tx: Connection,
    start: datetime,
    end: datetime,
    scope: Scope | None = None,
    tenant: Collection[str] | None = None,
    user: str | None = None,
    noun: tuple[str, str] | None = None,
) -> list[Interval]:
    """Intervals that meet [start, end), oldest first. ``tenant``: slugs to keep; ``noun``: one (kind, noun_id)."""
    query: Select[Any] = select(usage_intervals, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == usage_intervals.c.tenant_id)
    query = query.where(usage_intervals.c.started_at < end, or_(usage_intervals.c.ended_at.is_(None), usage_intervals.c.ended_at > start))
    if scope is not None:
        query = query.where(or_(tenants.c.slug.in_(list(scope.tenants)), usage_intervals.c.user == scope.user))
    if tenant is not None:
        query = query.where(tenants.c.slug.in_(list(tenant)))
    if user:
        query = query.where(usage_intervals.c.user == user)
    if noun:
        query = query.where(usage_intervals.c.kind == noun[0], usage_intervals.c.noun_id == noun[1])
    return _intervals(tx, query)


def intervals_of(tx: Connection, kind: str, noun_ids: Collection[str]) -> list[Interval]:
    """Every interval of these things, oldest first."""
    query = select(usage_intervals, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == usage_intervals.c.tenant_id)
    return _intervals(tx, query.where(usage_intervals.c.kind == kind, usage_intervals.c.noun_id.in_(list(noun_ids))))


def _intervals(tx: Connection, query: Select[Any]) -> list[Interval]:
    names = ("id", "kind", "noun_id", "name", "user", "tenant", "flavor", "replicas", "started_at", "ended_at")
    rows = tx.execute(query.order_by(usage_intervals.c.started_at, usage_intervals.c.id)).mappings()
    return [Interval(**{name: r[name] for name in names}) for r in rows]


def price_versions(tx: Connection) -> list[Price]:
    rows = tx.execute(select(prices).order_by(prices.c.flavor, prices.c.valid_from)).mappings()
    return [Price(r["flavor"], r["micro_per_hour"], r["valid_from"]) for r in rows]


def price_now(flavor: ColumnElement[str], now: datetime) -> ColumnElement[int]:
    """SQL of the price an hour of a row's flavor, to sort by."""
    query = select(prices.c.micro_per_hour).where(prices.c.flavor == flavor, prices.c.valid_from <= now)
    return func.coalesce(query.order_by(prices.c.valid_from.desc()).limit(1).scalar_subquery(), 0)


def cost_until(kind: str, noun_id: ColumnElement[str], now: datetime) -> ColumnElement[float]:
    """SQL of what a row has cost so far, to sort by; the exact sum is that of ``costs_of``."""
    until = func.lead(prices.c.valid_from).over(partition_by=prices.c.flavor, order_by=prices.c.valid_from)
    spans = select(prices, until.label("valid_until")).subquery("spans")
    used = usage_intervals.c
    first = case((spans.c.valid_from > used.started_at, spans.c.valid_from), else_=used.started_at)
    end = func.coalesce(used.ended_at, bindparam(None, now, UtcDateTime()))
    last = case((spans.c.valid_until < end, spans.c.valid_until), else_=end)
    seconds = seconds_between(first, last)
    cost = case((seconds > 0, seconds * used.replicas * spans.c.micro_per_hour), else_=0.0)
    rated = select(used.noun_id, func.sum(cost).label("cost")).join(spans, spans.c.flavor == used.flavor)
    costs = rated.where(used.kind == kind).group_by(used.noun_id).cte("costs")
    return func.coalesce(select(costs.c.cost).where(costs.c.noun_id == noun_id).scalar_subquery(), 0.0)


def insert_price(tx: Connection, price: Price, set_by: str) -> None:
    tx.execute(insert(prices).values(flavor=price.flavor, micro_per_hour=price.micro_per_hour, valid_from=price.valid_from, set_by=set_by))


@dataclass(frozen=True)
class Event:
    id: int
    at: datetime
    noun: str
    noun_id: str
    name: str
    user: str
    tenant: str | None
    actor: str
    from_phase: str | None
    to_phase: str
    reason: str


def insert_event(
    tx: Connection,
    at: datetime,
    noun: str,
    noun_id: str,
    name: str,
    user: str,
    tenant: str | None,
    actor: str,
    from_phase: str | None,
    to_phase: str,
    reason: str,
) -> None:
    values: dict[str, object] = {"at": at, "noun": noun, "noun_id": noun_id, "name": name[:200], "user": user, "tenant": tenant}
    tx.execute(_new_event(), values | {"actor": actor, "from_phase": from_phase, "to_phase": to_phase, "reason": reason[:2000]})


@cache
def _new_event() -> Insert:
    return insert(events).values(tenant_id=tenant_id())


def list_events(
    tx: Connection,
    part: Part = Part(),
    scope: Scope | None = None,
    tenant: str | None = None,
    noun: str | None = None,
    noun_id: str | None = None,
) -> tuple[list[Event], int]:
    """A page and the total. Newest first."""
    query = select(events, tenants.c.slug.label("tenant")).outerjoin(tenants, tenants.c.id == events.c.tenant_id)
    if scope is not None:
        query = query.where(or_(tenants.c.slug.in_(list(scope.tenants)), events.c.user == scope.user))
    if tenant:
        query = query.where(tenants.c.slug == tenant)
    if noun:
        query = query.where(events.c.noun == noun)
    if noun_id:
        query = query.where(events.c.noun_id == noun_id)
    if part.text:
        query = query.where(has_text(part.text, events.c.name, events.c.user, events.c.reason))
    rows, total = take_part(tx, query, part, {"at": events.c.at}, events.c.id)
    names = ("id", "at", "noun", "noun_id", "name", "user", "tenant", "actor", "from_phase", "to_phase", "reason")
    return [Event(**{name: r[name] for name in names}) for r in rows], total
