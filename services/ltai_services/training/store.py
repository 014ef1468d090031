"""SQL of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, bindparam, cast, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from ltai_hub.db.base import UtcDateTime
from ltai_hub.db.engine import new_id
from ltai_hub.db.lists import has_text, in_sight, seconds_between, take_part
from ltai_hub.db.tables import tenants
from ltai_hub.domain.lists import Part, Sight
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.errors import NotFound
from ltai_hub.metering.store import cost_until
from ltai_services.training.tables import jobs

FINAL = [phase for phase in Phase if phase.is_final]


@dataclass(frozen=True)
class Job:
    id: int
    name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    max_seconds: int | None
    nodes: int
    phase: Phase
    reason: str
    exit_code: int | None
    attempt: int
    rerun_of: int | None
    run_id: str | None
    experiment_id: str | None
    run_ended: bool
    token_id: str | None
    stop_reason: str
    backend_state: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seen_at: datetime | None

    @property
    def noun_id(self) -> str:
        return str(self.id)


@dataclass(frozen=True)
class NewRow:
    name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    max_seconds: int | None
    nodes: int = 1
    attempt: int = 1
    rerun_of: int | None = None


def insert_job(tx: Connection, new: NewRow, at: datetime) -> Job:
    tenant_id = tx.execute(select(tenants.c.id).where(tenants.c.slug == new.tenant)).scalar_one()
    done = tx.execute(
        insert(jobs).values(
            name=new.name,
            user=new.user,
            tenant_id=tenant_id,
            profile=new.profile,
            image=new.image,
            flavor=new.flavor,
            command=list(new.command),
            cwd=new.cwd,
            env=dict(new.env),
            max_seconds=new.max_seconds,
            nodes=new.nodes,
            phase=Phase.QUEUED,
            reason="",
            attempt=new.attempt,
            rerun_of=new.rerun_of,
            run_ended=False,
            stop_reason="",
            deleted=False,
            created_at=at,
        )
    )
    return get(tx, new_id(done))


def get(tx: Connection, job_id: int) -> Job:
    """Raises NotFound."""
    job = find(tx, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def find(tx: Connection, job_id: int) -> Job | None:
    row = tx.execute(_select().where(jobs.c.id == job_id, jobs.c.deleted.is_(False))).mappings().first()
    return None if row is None else _job(row)


def change(tx: Connection, job_id: int, **values: Any) -> None:
    """Columns by name. Called beside ``metering.phases.change_phase`` when the phase is among them."""
    if "reason" in values:
        values["reason"] = values["reason"][:2000]
    tx.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def select_jobs(tx: Connection, sight: Sight, part: Part, now: datetime, phase: Phase | None = None) -> tuple[list[Job], int]:
    """A page, newest first if not told otherwise, and the total. Raises BadInput for an unknown ``part.sort``."""
    query = _select().where(jobs.c.deleted.is_(False), in_sight(sight, jobs.c.user))
    if phase is not None:
        query = query.where(jobs.c.phase == phase)
    if part.text:
        query = query.where(has_text(part.text, jobs.c.name, jobs.c.user))
    rows, total = take_part(tx, query, part, _sorts(now), jobs.c.id)
    return [_job(row) for row in rows], total


def _sorts(now: datetime) -> dict[str, ColumnElement[Any]]:
    end = func.coalesce(jobs.c.ended_at, bindparam(None, now, UtcDateTime()))
    plain = {name: jobs.c[name] for name in ("id", "user", "phase", "profile", "flavor", "image", "created_at", "started_at", "ended_at")}
    return {
        **plain,
        "name": func.lower(jobs.c.name),
        "tenant": tenants.c.slug,
        "took": seconds_between(jobs.c.started_at, end),
        "cost": cost_until(Kind.JOB, cast(jobs.c.id, String), now),
    }


def unfinished(tx: Connection) -> list[Job]:
    """What the controller has to do with, oldest first: not final, or final with an MLflow run still open."""
    open_run = jobs.c.run_id.is_not(None) & jobs.c.run_ended.is_(False)
    query = _select().where(or_(jobs.c.phase.not_in(FINAL), open_run))
    return [_job(row) for row in tx.execute(query.order_by(jobs.c.id)).mappings()]


def _select() -> Select[Any]:
    return select(jobs, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == jobs.c.tenant_id)


def _job(row: Any) -> Job:
    plain = set(Job.__dataclass_fields__) - {"command", "phase"}
    return Job(command=tuple(row["command"]), phase=Phase(row["phase"]), **{name: row[name] for name in plain})
