"""SQL of environments: one row a person and named server; ``generation`` counts its starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update
from sqlalchemy.engine import Connection

from ltai_hub.db.engine import new_id
from ltai_hub.db.lists import has_text, in_sight, take_part
from ltai_hub.db.tables import environments, tenants
from ltai_hub.domain.lists import Part, Sight
from ltai_hub.domain.workloads import Phase
from ltai_hub.errors import NotFound
from ltai_hub.metering.store import price_now
from ltai_hub.tenancy.store import get_tenant_id

DEFAULT_NAME = "default"
FINAL = [phase for phase in Phase if phase.is_final]


@dataclass(frozen=True)
class Environment:
    """``server`` is JupyterHub's name of the server ("" for the default one); ``name`` is what people read and type."""

    id: int
    user: str
    server: str
    display_name: str
    tenant: str
    profile: str
    image: str
    flavor: str
    phase: Phase
    reason: str
    url: str
    generation: int
    backend_state: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seen_at: datetime | None

    @property
    def name(self) -> str:
        return self.server or DEFAULT_NAME

    @property
    def run_id(self) -> str:
        """Identity of this start in reservations, usage and events."""
        return f"{self.id}.{self.generation}"

    @property
    def position(self) -> int | None:
        """Its place in a cluster's own queue, as the hub saw it last."""
        return (self.backend_state or {}).get("position") if self.phase is Phase.QUEUED else None


@dataclass(frozen=True)
class Choice:
    """What a person chose for a start."""

    tenant: str
    profile: str
    image: str
    flavor: str
    display_name: str = ""


def begin(tx: Connection, user: str, server: str, choice: Choice, url: str, at: datetime, found: Environment | None) -> Environment:
    """The row of a start: a new one, or the person's stopped one, ``found``, with its generation counted up."""
    values: dict[str, Any] = {
        "display_name": choice.display_name or server or DEFAULT_NAME,
        "profile": choice.profile,
        "image": choice.image,
        "flavor": choice.flavor,
        "phase": Phase.QUEUED,
        "reason": "",
        "url": url,
        "backend_state": None,
        "started_at": None,
        "ended_at": None,
        "seen_at": None,
    }
    tenant_id = get_tenant_id(tx, choice.tenant)
    if found is not None:
        values["generation"] = found.generation + 1
        tx.execute(update(environments).where(environments.c.id == found.id).values(**values, tenant_id=tenant_id))
        return replace(found, **values, tenant=choice.tenant)
    values |= {"user": user, "server": server, "generation": 1, "created_at": at}
    done = tx.execute(insert(environments).values(**values, tenant_id=tenant_id, deleted=False))
    return Environment(**values, id=new_id(done), tenant=choice.tenant)


def find(tx: Connection, user: str, server: str) -> Environment | None:
    query = _select().where(environments.c.user == user, environments.c.server == server, environments.c.deleted.is_(False))
    row = tx.execute(query).mappings().first()
    return None if row is None else _environment(row)


def get(tx: Connection, environment_id: int) -> Environment:
    """Raises NotFound."""
    row = tx.execute(_select().where(environments.c.id == environment_id, environments.c.deleted.is_(False))).mappings().first()
    if row is None:
        raise NotFound(f"there is no environment {environment_id}")
    return _environment(row)


def set_phase(
    tx: Connection,
    row: Environment,
    phase: Phase,
    reason: str,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    backend_state: dict[str, Any] | None = None,
) -> Environment:
    """Only what is given is changed besides phase and reason. Called beside ``metering.phases.change_phase``."""
    values: dict[str, Any] = {"phase": phase, "reason": reason[:2000]}
    for name, value in (("started_at", started_at), ("seen_at", started_at), ("ended_at", ended_at), ("backend_state", backend_state)):
        if value is not None:
            values[name] = value
    tx.execute(update(environments).where(environments.c.id == row.id).values(**values))
    return replace(row, **values)


def note_seen(tx: Connection, environment_id: int, at: datetime) -> None:
    """It runs: its usage ends here should the machine go down."""
    tx.execute(update(environments).where(environments.c.id == environment_id).values(seen_at=at))


def mark_deleted(tx: Connection, environment_id: int) -> None:
    tx.execute(update(environments).where(environments.c.id == environment_id).values(deleted=True))


def select_environments(tx: Connection, sight: Sight, part: Part, now: datetime, active: bool = False) -> tuple[list[Environment], int]:
    """A page, newest first if not told otherwise, and the total; ``active``: only what has not ended.

    Raises BadInput for an unknown ``part.sort``.
    """
    query = _select().where(environments.c.deleted.is_(False), in_sight(sight, environments.c.user))
    if active:
        query = query.where(environments.c.phase.not_in(FINAL))
    if part.text:
        query = query.where(has_text(part.text, environments.c.display_name, environments.c.user))
    rows, total = take_part(tx, query, part, _sorts(now), environments.c.id)
    return [_environment(row) for row in rows], total


def _sorts(now: datetime) -> dict[str, ColumnElement[Any]]:
    plain = ("id", "user", "phase", "profile", "image", "flavor", "created_at", "ended_at")
    return {
        **{name: environments.c[name] for name in plain},
        "name": func.lower(environments.c.display_name),
        "tenant": tenants.c.slug,
        # the column shows since when it runs, or when it was made
        "started": func.coalesce(environments.c.started_at, environments.c.created_at),
        "price": price_now(environments.c.flavor, now),
    }


def unfinished(tx: Connection) -> list[Environment]:
    """Rows whose phase is not final."""
    rows = tx.execute(_select().where(environments.c.phase.not_in(FINAL), environments.c.deleted.is_(False))).mappings()
    return [_environment(row) for row in rows]


def _select() -> Select[Any]:
    return select(environments, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == environments.c.tenant_id)


def _environment(row: Any) -> Environment:
    names = ("id", "user", "server", "display_name", "tenant", "profile", "image", "flavor", "reason", "url", "generation", "backend_state")
    times = ("created_at", "started_at", "ended_at", "seen_at")
    return Environment(phase=Phase(row["phase"]), **{name: row[name] for name in (*names, *times)})
