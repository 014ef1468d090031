"""One row an endpoint, one a process (instance) of it."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, String, Table

from ltai_hub.db.base import UtcDateTime, metadata
from ltai_hub.db.tables import Id

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("slug", String(40), nullable=False),
    Column("user", String(64), nullable=False, index=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("model", String(256), nullable=False),
    Column("version", String(16), nullable=False),
    Column("model_uri", String(1000), nullable=False),
    Column("signature", JSON),
    Column("image", String(64), nullable=False),
    Column("flavor", String(64), nullable=False),
    Column("instances", Integer, nullable=False),
    # up to so many while there is load
    Column("most_instances", Integer),
    Column("max_seconds", Integer),
    Column("token_hash", String(64), nullable=False),
    # counts what instances are made from: version, token; instances of an older one are replaced
    Column("generation", Integer, nullable=False),
    # quick failures of the generation in a row
    Column("failures", Integer, nullable=False),
    Column("phase", String(20), nullable=False),
    Column("reason", String(2000), nullable=False),
    # wish: "running" or "stopped"; stop_reason tells why stopped, failed whether that is a failure
    Column("wanted", String(20), nullable=False),
    Column("stop_reason", String(2000), nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
)
# a deleted endpoint's address is free again
Index(
    "uq_endpoints_address",
    endpoints.c.tenant_id,
    endpoints.c.slug,
    unique=True,
    sqlite_where=endpoints.c.deleted.is_(False),
    postgresql_where=endpoints.c.deleted.is_(False),
)
Index("ix_endpoints_phase", endpoints.c.phase)

endpoint_instances = Table(
    "endpoint_instances",
    metadata,
    Column("id", Id, primary_key=True),
    Column("endpoint_id", ForeignKey("endpoints.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("version", String(16), nullable=False),
    Column("place", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    # one process, or as many as the backend keeps alive together; and how many of them answer
    Column("replicas", Integer, nullable=False, server_default="1"),
    Column("most_replicas", Integer),
    Column("ready", Integer, nullable=False, server_default="0"),
    Column("phase", String(20), nullable=False),
    Column("address", String(200), nullable=False),
    Column("backend_state", JSON),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ready_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # last time it was seen answering: where the usage ends when the machine went down under it
    Column("seen_at", UtcDateTime),
)
