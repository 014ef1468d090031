"""SQL of what runs: found by name on the shared metadata, because services do not import one another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table, func, select
from sqlalchemy.engine import Connection

from ltai_hub.db.base import metadata
from ltai_hub.db.lists import in_sight
from ltai_hub.db.tables import tenants
from ltai_hub.domain.lists import Sight
from ltai_hub.domain.workloads import Phase
from ltai_hub.errors import NotFound
from ltai_services.monitor.models import Noun

FINAL = [phase for phase in Phase if phase.is_final]
TABLES = {Noun.ENVIRONMENT: "environments", Noun.JOB: "jobs", Noun.ENDPOINT: "endpoints"}


@dataclass(frozen=True)
class Runner:
    """Something that may run, with the backend states of its living processes."""

    noun: Noun
    id: int
    name: str
    user: str
    tenant: str
    flavor: str
    phase: Phase
    states: tuple[dict[str, Any], ...]


def get_runner(tx: Connection, noun: Noun, number: int) -> Runner:
    """Raises NotFound."""
    table = metadata.tables[TABLES[noun]]
    row = tx.execute(_select(table).where(table.c.id == number, table.c.deleted.is_(False))).mappings().first()
    if row is None:
        raise NotFound(f"there is no {noun} {number}")
    phase = Phase(row["phase"])
    states = _instance_states(tx, number) if noun is Noun.ENDPOINT else [row["backend_state"]]
    living = () if phase.is_final else tuple(state for state in states if state)
    name = row["display_name"] if noun is Noun.ENVIRONMENT else row["name"]
    return Runner(noun, number, name, row["user"], row["tenant"], row["flavor"], phase, living)


def count(tx: Connection, noun: Noun, phases: Collection[Phase], sight: Sight) -> int:
    """How many are in one of the phases."""
    table = metadata.tables[TABLES[noun]]
    query = _select(table).where(table.c.phase.in_(list(phases)), table.c.deleted.is_(False), in_sight(sight, table.c.user))
    return int(tx.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _instance_states(tx: Connection, endpoint: int) -> Sequence[dict[str, Any] | None]:
    instances = metadata.tables["endpoint_instances"]
    query = select(instances.c.backend_state).where(instances.c.endpoint_id == endpoint, instances.c.phase.not_in(FINAL))
    return [row[0] for row in tx.execute(query.order_by(instances.c.id))]


def _select(table: Table) -> Select[Any]:
    return select(table, tenants.c.slug.label("tenant")).join(tenants, tenants.c.id == table.c.tenant_id)
