"""Rows of ``leases``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.engine import Connection

from ltai_hub.db.tables import leases


def database_time(tx: Connection, now: datetime) -> datetime:
    """One clock for everybody who wants a lease: the database server's; a sqlite file is used by one machine, whose time ``now`` is."""
    if tx.dialect.name != "postgresql":
        return now
    # not now(): that is when the transaction began, and it may have waited for another
    moment: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def take(tx: Connection, names: Sequence[str], holder: str, now: datetime, until: datetime) -> frozenset[str]:
    """Take or renew the leases that are free, run out or the holder's own; returns those that are now held."""
    known = set(tx.execute(select(leases.c.name).where(leases.c.name.in_(names))).scalars())
    if missing := [name for name in names if name not in known]:
        tx.execute(insert(leases), [{"name": name, "holder": "", "until": now} for name in missing])
    mine = or_(leases.c.holder == holder, leases.c.until <= now)
    tx.execute(update(leases).where(leases.c.name.in_(names), mine).values(holder=holder, until=until))
    held = select(leases.c.name).where(leases.c.name.in_(names), leases.c.holder == holder)
    return frozenset(tx.execute(held).scalars())


def give_up(tx: Connection, names: Sequence[str], holder: str) -> None:
    tx.execute(delete(leases).where(leases.c.name.in_(names), leases.c.holder == holder))
