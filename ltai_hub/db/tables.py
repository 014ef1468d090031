"""Tables of the platform core. A service's own tables lie beside the service; all are on one metadata."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    ScalarSelect,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    select,
)

from ltai_hub.db.base import UtcDateTime, metadata

# sqlite only autoincrements INTEGER
Id = BigInteger().with_variant(Integer, "sqlite")

tenants = Table(
    "tenants",
    metadata,
    Column("id", Id, primary_key=True),
    Column("slug", String(40), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("parent_id", ForeignKey("tenants.id"), index=True),
    Column("created_at", UtcDateTime, nullable=False),
    # its part when several tenants of a cluster borrow at once
    Column("weight", Integer, nullable=False, server_default="1"),
)


def tenant_id() -> ScalarSelect[int]:
    """SQL of the id of the tenant whose slug is the parameter ``tenant``; NULL without one."""
    return select(tenants.c.id).where(tenants.c.slug == bindparam("tenant")).scalar_subquery()


members = Table(
    "members",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("user", String(64), primary_key=True, index=True),
    Column("role", String(20), nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
)

profile_assignments = Table(
    "profile_assignments",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("profile", String(64), primary_key=True),
)

# user: "" the tenant as a whole, "*" every user of it, else one user
quotas = Table(
    "quotas",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("user", String(64), nullable=False),
    Column("resource", String(80), nullable=False),
    Column("limit", Float, nullable=False),
    # what a cluster's queue gives back to the tenant when others have borrowed it; of the tenant as a whole only
    Column("guaranteed", Float, nullable=False, server_default="0"),
    UniqueConstraint("tenant_id", "user", "resource"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("noun_id", String(80), nullable=False),
    Column("user", String(64), nullable=False, index=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("flavor", String(64), nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("amounts", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("held_at", UtcDateTime),
    Column("released_at", UtcDateTime),
    CheckConstraint("state IN ('waiting', 'held', 'released')", name="ck_reservations_state"),
)
Index("ix_reservations_noun", reservations.c.kind, reservations.c.noun_id)
# one open reservation a workload, kept by the database and not by care
Index(
    "uq_reservations_open",
    reservations.c.kind,
    reservations.c.noun_id,
    unique=True,
    sqlite_where=reservations.c.state != "released",
    postgresql_where=reservations.c.state != "released",
)
Index("ix_reservations_state", reservations.c.state)

# amounts of a held reservation, one row a resource, so that sums are one query
reservation_amounts = Table(
    "reservation_amounts",
    metadata,
    Column("reservation_id", ForeignKey("reservations.id", ondelete="CASCADE"), primary_key=True),
    Column("resource", String(80), primary_key=True),
    Column("amount", Float, nullable=False),
)

usage_intervals = Table(
    "usage_intervals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("noun_id", String(80), nullable=False),
    Column("name", String(200), nullable=False),
    Column("user", String(64), nullable=False, index=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("flavor", String(64), nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("amounts", JSON, nullable=False),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("ended_at", UtcDateTime, index=True),
)
Index("ix_usage_intervals_noun", usage_intervals.c.kind, usage_intervals.c.noun_id)
Index(
    "uq_usage_intervals_open",
    usage_intervals.c.kind,
    usage_intervals.c.noun_id,
    unique=True,
    sqlite_where=usage_intervals.c.ended_at.is_(None),
    postgresql_where=usage_intervals.c.ended_at.is_(None),
)

prices = Table(
    "prices",
    metadata,
    Column("id", Id, primary_key=True),
    Column("flavor", String(64), nullable=False),
    Column("micro_per_hour", BigInteger, nullable=False),
    Column("valid_from", UtcDateTime, nullable=False),
    Column("set_by", String(64), nullable=False),
    UniqueConstraint("flavor", "valid_from"),
)

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("noun", String(20), nullable=False),
    Column("noun_id", String(80), nullable=False),
    Column("name", String(200), nullable=False),
    Column("user", String(64), nullable=False),
    Column("tenant_id", ForeignKey("tenants.id", ondelete="SET NULL"), index=True),
    Column("actor", String(64), nullable=False),
    Column("from_phase", String(20)),
    Column("to_phase", String(20), nullable=False),
    Column("reason", String(2000), nullable=False),
)
Index("ix_events_noun", events.c.noun, events.c.noun_id)

environments = Table(
    "environments",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user", String(64), nullable=False),
    Column("server", String(64), nullable=False),
    Column("display_name", String(200), nullable=False),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("profile", String(64), nullable=False),
    Column("image", String(64), nullable=False),
    Column("flavor", String(64), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("reason", String(2000), nullable=False),
    Column("url", String(400), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("backend_state", JSON),
    Column("deleted", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # last time it was seen running: where the usage ends when the machine went down under it
    Column("seen_at", UtcDateTime),
)
Index("ix_environments_user", environments.c.user, environments.c.server)
Index("ix_environments_phase", environments.c.phase)

# which process runs a controller, where several could
leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
