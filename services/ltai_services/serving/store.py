"""SQL of endpoints and their instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, cast, delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from ltai_hub.db.engine import new_id
from ltai_hub.db.lists import has_text, in_sight, take_part
from ltai_hub.db.tables import tenants
from ltai_hub.domain.lists import Part, Sight
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.errors import NotFound
from ltai_hub.metering.store import cost_until
from ltai_hub.tenancy.store import get_tenant_id
from ltai_services.serving.tables import endpoint_instances, endpoints

FINAL = [phase for phase in Phase if phase.is_final]
RUNNING, STOPPED = "running", "stopped"


@dataclass(frozen=True)
class Endpoint:
    id: int
    name: str
    slug: str
    user: str
    tenant: str
    model: str
    version: str
    model_uri: str
    signature: dict[str, Any] | None
    image: str
    flavor: str
    instances: int
    most_instances: int | None
    max_seconds: int | None
    token_hash: str
    generation: int
    failures: int
    phase: Phase
    reason: str
    wanted: str
    stop_reason: str
    failed: bool
    deleted: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def noun_id(self) -> str:
        return str(self.id)

    @property
    def reserved_instances(self) -> int:
        """As many as there may be at a time: what is held of the quota."""
        return self.most_instances or self.instances

    @property
    def path(self) -> str:
        return f"/endpoints/{self.tenant}/{self.slug}"


@dataclass(frozen=True)
class Instance:
    """``place`` 0 … instances-1; ``attempt`` counts the processes that were started for the place in this generation.

    Where the backend keeps replicas alive itself there is one of it for all, with ``replicas`` (or ``most_replicas`` under load) of
    which ``ready`` answer.
    """

    id: int
    endpoint_id: int
    generation: int
    version: str
    place: int
    attempt: int
    replicas: int
    most_replicas: int | None
    ready: int
    phase: Phase
    address: str
    backend_state: dict[str, Any] | None
    created_at: datetime
    ready_at: datetime | None
    ended_at: datetime | None
    seen_at: datetime | None

    @property
    def is_alive(self) -> bool:
        return not self.phase.is_final

    @property
    def is_ready(self) -> bool:
        return self.phase is Phase.RUNNING


@dataclass(frozen=True)
class NewRow:
    name: str
    slug: str
    user: str
    tenant: str
    model: str
    version: str
    model_uri: str
    signature: Mapping[str, Any] | None
    image: str
    flavor: str
    instances: int
    most_instances: int | None
    max_seconds: int | None
    token_hash: str


def insert_endpoint(tx: Connection, new: NewRow, at: datetime) -> Endpoint:
    values: dict[str, Any] = {name: getattr(new, name) for name in NewRow.__dataclass_fields__ if name != "tenant"}
    tenant_id = get_tenant_id(tx, new.tenant)
    state = {"generation": 1, "failures": 0, "phase": Phase.QUEUED, "reason": "", "wanted": RUNNING, "stop_reason": ""}
    done = tx.execute(insert(endpoints).values(**values, **state, tenant_id=tenant_id, failed=False, deleted=False, created_at=at))
    return get(tx, new_id(done))


def get(tx: Connection, endpoint_id: int) -> Endpoint:
    """Raises NotFound, also for a deleted one."""
    row = tx.execute(_select().where(endpoints.c.id == endpoint_id, endpoints.c.deleted.is_(False))).mappings().first()
    if row is None:
        raise NotFound(f"there is no endpoint {endpoint_id}")
    return _endpoint(row)


def find(tx: Connection, endpoint_id: int) -> Endpoint | None:
    """Deleted ones too: the controller ends what still runs of them."""
    row = tx.execute(_select().where(endpoints.c.id == endpoint_id)).mappings().first()
    return None if row is None else _endpoint(row)


def find_by_slug(tx: Connection, tenant: str, slug: str) -> Endpoint | None:
    query = _select().where(tenants.c.slug == tenant, endpoints.c.slug == slug, endpoints.c.deleted.is_(False))
    row = tx.execute(query).mappings().first()
    return None if row is None else _endpoint(row)


def change(tx: Connection, endpoint_id: int, **values: Any) -> None:
    """Columns by name. Called beside ``metering.phases.change_phase`` when the phase is among them."""
    for name in ("reason", "stop_reason"):
        if name in values:
            values[name] = values[name][:2000]
    tx.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(**values))


def select_endpoints(tx: Connection, sight: Sight, part: Part, now: datetime) -> tuple[list[Endpoint], int]:
    """A page, newest first if not told otherwise, and the total. Raises BadInput for an unknown ``part.sort``."""
    query = _select().where(endpoints.c.deleted.is_(False), in_sight(sight, endpoints.c.user))
    if part.text:
        query = query.where(has_text(part.text, endpoints.c.name, endpoints.c.model, endpoints.c.user))
    rows, total = take_part(tx, query, part, _sorts(now), endpoints.c.id)
    return [_endpoint(row) for row in rows], total


def _sorts(now: datetime) -> dict[str, ColumnElement[Any]]:
    plain = ("id", "user", "phase", "flavor", "image", "instances", "created_at", "ended_at")
    return {
        **{name: endpoints.c[name] for name in plain},
        "name": func.lower(endpoints.c.name),
        "model": func.lower(endpoints.c.model),
        "tenant": tenants.c.slug,
        # the column shows since when it runs, or when it was made
        "started": func.coalesce(endpoints.c.started_at, endpoints.c.created_at),
        "cost": cost_until(Kind.ENDPOINT, cast(endpoints.c.id, String), now),
    }


def unfinished(tx: Connection) -> list[Endpoint]:
    """What the controller has to do with: not final, or with an instance still alive."""
    alive = select(endpoint_instances.c.endpoint_id).where(endpoint_instances.c.phase.not_in(FINAL))
    query = _select().where(or_(endpoints.c.phase.not_in(FINAL), endpoints.c.id.in_(alive)))
    return [_endpoint(row) for row in tx.execute(query.order_by(endpoints.c.id)).mappings()]


def insert_instance(
    tx: Connection, endpoint: Endpoint, place: int, attempt: int, at: datetime, replicas: int = 1, most_replicas: int | None = None
) -> Instance:
    values = {"endpoint_id": endpoint.id, "generation": endpoint.generation, "version": endpoint.version, "place": place}
    begun = {"phase": Phase.STARTING, "address": "", "backend_state": None, "created_at": at, "ready": 0}
    done = tx.execute(insert(endpoint_instances).values(**values, **begun, attempt=attempt, replicas=replicas, most_replicas=most_replicas))
    row = tx.execute(select(endpoint_instances).where(endpoint_instances.c.id == new_id(done))).mappings().one()
    return _instance(row)


def change_instance(tx: Connection, instance_id: int, **values: Any) -> None:
    tx.execute(update(endpoint_instances).where(endpoint_instances.c.id == instance_id).values(**values))


def instances_of(tx: Connection, endpoint_ids: Sequence[int], generation: int | None = None) -> list[Instance]:
    """Oldest first, ended ones too."""
    query = select(endpoint_instances).where(endpoint_instances.c.endpoint_id.in_(list(endpoint_ids)))
    if generation is not None:
        query = query.where(endpoint_instances.c.generation == generation)
    return [_instance(row) for row in tx.execute(query.order_by(endpoint_instances.c.id)).mappings()]


def count_ready(tx: Connection, endpoint_ids: Sequence[int]) -> dict[int, int]:
    """Endpoint → how many of its instances answer; those without any are left out."""
    column = endpoint_instances.c.endpoint_id
    query = select(column, func.sum(endpoint_instances.c.ready)).where(
        column.in_(list(endpoint_ids)), endpoint_instances.c.phase == Phase.RUNNING
    )
    return {endpoint: number for endpoint, number in tx.execute(query.group_by(column))}


def drop_instances(tx: Connection, instance_ids: Sequence[int]) -> None:
    tx.execute(delete(endpoint_instances).where(endpoint_instances.c.id.in_(list(instance_ids))))


def _select() -> Select[Any]:
    return select(endpoints, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == endpoints.c.tenant_id)


def _endpoint(row: Any) -> Endpoint:
    plain = set(Endpoint.__dataclass_fields__) - {"phase"}
    return Endpoint(phase=Phase(row["phase"]), **{name: row[name] for name in plain})


def _instance(row: Any) -> Instance:
    plain = set(Instance.__dataclass_fields__) - {"phase"}
    return Instance(phase=Phase(row["phase"]), **{name: row[name] for name in plain})
