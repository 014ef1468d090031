"""One row a job."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, false

from ltai_hub.db.base import UtcDateTime, metadata
from ltai_hub.db.tables import Id

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("user", String(64), nullable=False),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("profile", String(64), nullable=False),
    Column("image", String(64), nullable=False),
    Column("flavor", String(64), nullable=False),
    Column("command", JSON, nullable=False),
    Column("cwd", String(4096), nullable=False),
    Column("env", JSON, nullable=False),
    Column("max_seconds", Integer),
    # replicas that start together; each gets the flavor
    Column("nodes", Integer, nullable=False, server_default="1"),
    # in whichever cluster has room
    Column("anywhere", Boolean, nullable=False, server_default=false()),
    Column("phase", String(20), nullable=False),
    Column("reason", String(2000), nullable=False),
    Column("exit_code", Integer),
    Column("attempt", Integer, nullable=False),
    Column("rerun_of", ForeignKey("jobs.id")),
    Column("run_id", String(64)),
    Column("experiment_id", String(64)),
    # the MLflow run has got its final state
    Column("run_ended", Boolean, nullable=False),
    # why the platform or a person asked it to end; empty while nobody did
    Column("stop_reason", String(500), nullable=False),
    Column("backend_state", JSON),
    Column("deleted", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # last time it was seen running: where the usage ends when the machine went down under it
    Column("seen_at", UtcDateTime),
)
# what a job takes along where the home is not: a zip archive
job_folders = Table(
    "job_folders",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("archive", LargeBinary, nullable=False),
)
Index("ix_jobs_user", jobs.c.user)
Index("ix_jobs_phase", jobs.c.phase)
