"""SQL of what the model service reads of other services: jobs a version comes from, endpoints that serve one.

Services do not import one another; the tables are found by name on the shared metadata.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, select
from sqlalchemy.engine import Connection

from ltai_hub.db.base import metadata
from ltai_hub.db.tables import tenants
from ltai_hub.errors import NotFound


@dataclass(frozen=True)
class SourceJob:
    id: int
    name: str
    user: str
    tenant: str
    image: str
    flavor: str
    command: tuple[str, ...]
    run_id: str | None
    experiment_id: str | None


@dataclass(frozen=True)
class Served:
    endpoint: int
    name: str
    model: str
    version: str


def get_job(tx: Connection, job_id: int) -> SourceJob:
    """Raises NotFound."""
    jobs = _table("jobs")
    query = select(jobs, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == jobs.c.tenant_id)
    row = tx.execute(query.where(jobs.c.id == job_id, jobs.c.deleted.is_(False))).mappings().first()
    if row is None:
        raise NotFound(f"there is no job {job_id}")
    names = ("id", "name", "user", "tenant", "image", "flavor", "run_id", "experiment_id")
    return SourceJob(command=tuple(row["command"]), **{name: row[name] for name in names})


def served_versions(tx: Connection, tenant: str) -> list[Served]:
    """Endpoints of the tenant with what they serve."""
    endpoints = _table("endpoints")
    query = select(endpoints.c.id, endpoints.c.name, endpoints.c.model, endpoints.c.version).join(
        tenants, tenants.c.id == endpoints.c.tenant_id
    )
    rows = tx.execute(query.where(tenants.c.slug == tenant, endpoints.c.deleted.is_(False)).order_by(endpoints.c.id))
    return [Served(*row) for row in rows]


def _table(name: str) -> Table:
    return metadata.tables[name]
