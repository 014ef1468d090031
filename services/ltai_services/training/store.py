"""SQL of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, String, Update, bindparam, cast, delete, func, insert, not_, or_, select, update
from sqlalchemy.engine import Connection

from ltai_hub.db.base import UtcDateTime
from ltai_hub.db.engine import in_parts, new_id
from ltai_hub.db.lists import has_text, in_sight, seconds_between, take_part
from ltai_hub.db.tables import tenant_id, tenants
from ltai_hub.domain.lists import Part, Sight
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.errors import NotFound
from ltai_hub.metering.store import cost_until
from ltai_services.training.tables import job_folders, jobs

ASKED = ("name", "user", "tenant", "profile", "image", "flavor", "cwd", "max_seconds", "nodes", "anywhere", "attempt", "rerun_of")
BEGINNING: dict[str, Any] = {"phase": Phase.QUEUED, "reason": "", "run_ended": False, "stop_reason": ""}
NOT_YET: dict[str, Any] = dict.fromkeys(("exit_code", "run_id", "experiment_id", "backend_state", "started_at", "ended_at", "seen_at"))
FINAL = [phase for phase in Phase if phase.is_final]
NOT_BEGUN = (jobs.c.phase == Phase.QUEUED) & jobs.c.backend_state.is_(None)
WAITING = (jobs.c.phase == Phase.QUEUED) & jobs.c.backend_state.is_not(None) & (jobs.c.stop_reason == "")


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
    anywhere: bool
    phase: Phase
    reason: str
    exit_code: int | None
    attempt: int
    rerun_of: int | None
    run_id: str | None
    experiment_id: str | None
    run_ended: bool
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
    anywhere: bool = False
    folder: bytes = field(default=b"", repr=False)
    attempt: int = 1
    rerun_of: int | None = None


def insert_job(tx: Connection, new: NewRow, at: datetime) -> Job:
    values: dict[str, Any] = {name: getattr(new, name) for name in ASKED} | BEGINNING | {"env": dict(new.env), "created_at": at}
    job_id = new_id(tx.execute(_new(), values | {"command": list(new.command), "deleted": False}))
    if new.folder:
        tx.execute(insert(job_folders).values(job_id=job_id, archive=new.folder))
    return Job(id=job_id, command=new.command, **values, **NOT_YET)


@cache
def _new() -> Insert:
    return insert(jobs).values(tenant_id=tenant_id())


def folder_of(tx: Connection, job_id: int) -> bytes:
    """The archive it takes along; empty when there is none."""
    archive = tx.execute(select(job_folders.c.archive).where(job_folders.c.job_id == job_id)).scalar()
    return bytes(archive or b"")


def drop_folder(tx: Connection, job_id: int) -> None:
    tx.execute(delete(job_folders).where(job_folders.c.job_id == job_id))


def get(tx: Connection, job_id: int) -> Job:
    """Raises NotFound."""
    job = find(tx, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def find(tx: Connection, job_id: int) -> Job | None:
    row = tx.execute(_by_id(), {"job_id": job_id}).mappings().first()
    return None if row is None else _job(row)


def find_all(tx: Connection, job_ids: Sequence[int]) -> list[Job]:
    """Those that are there, oldest first."""
    found: list[Job] = []
    for some in in_parts(sorted(job_ids)):
        query = _select().where(jobs.c.id.in_(some), jobs.c.deleted.is_(False)).order_by(jobs.c.id)
        found += [_job(row) for row in tx.execute(query).mappings()]
    return found


@cache
def _by_id() -> Select[Any]:
    return _select().where(jobs.c.id == bindparam("job_id"), jobs.c.deleted.is_(False))


def change(tx: Connection, job_id: int, **values: Any) -> None:
    """Columns by name. Called beside ``metering.phases.change_phase`` when the phase is among them."""
    if "reason" in values:
        values["reason"] = values["reason"][:2000]
    tx.execute(_change(), {"job": job_id, **values})


@cache
def _change() -> Update:
    return update(jobs).where(jobs.c.id == bindparam("job"))


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


def begun(tx: Connection) -> list[Job]:
    """What runs, ends, or is final with an MLflow run still open, oldest first; not what waits, in our queue or a cluster's."""
    open_run = jobs.c.run_id.is_not(None) & jobs.c.run_ended.is_(False)
    query = _select().where(or_(jobs.c.phase.not_in(FINAL), open_run), not_(NOT_BEGUN), not_(WAITING))
    return [_job(row) for row in tx.execute(query.order_by(jobs.c.id)).mappings()]


def not_begun(tx: Connection) -> list[int]:
    """The numbers of those not given to the backend, oldest first. They may be thousands, so no more of them is read."""
    return list(tx.execute(select(jobs.c.id).where(NOT_BEGUN).order_by(jobs.c.id)).scalars())


def waiting(tx: Connection) -> list[int]:
    """The numbers of those left to a cluster's queue, oldest first; as many."""
    return list(tx.execute(select(jobs.c.id).where(WAITING).order_by(jobs.c.id)).scalars())


def backend_states(tx: Connection, job_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Number → the backend's state."""
    found: dict[int, dict[str, Any]] = {}
    for some in in_parts(job_ids):
        query = select(jobs.c.id, jobs.c.backend_state).where(jobs.c.id.in_(some))
        found |= {number: state for number, state in tx.execute(query)}
    return found


def _select() -> Select[Any]:
    return select(jobs, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == jobs.c.tenant_id)


def _job(row: Any) -> Job:
    plain = set(Job.__dataclass_fields__) - {"command", "phase"}
    return Job(command=tuple(row["command"]), phase=Phase(row["phase"]), **{name: row[name] for name in plain})
