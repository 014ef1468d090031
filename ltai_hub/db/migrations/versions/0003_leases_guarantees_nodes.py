"""Leases of controllers; guaranteed part of quotas, weight of tenants; nodes of jobs

Revision: 0003; after: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ltai_hub.db.base import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.add_column("quotas", sa.Column("guaranteed", sa.Float(), server_default="0", nullable=False))
    op.add_column("tenants", sa.Column("weight", sa.Integer(), server_default="1", nullable=False))
    for name, default in (("replicas", "1"), ("ready", "0")):
        op.add_column("endpoint_instances", sa.Column(name, sa.Integer(), server_default=default, nullable=False))
    op.execute("UPDATE endpoint_instances SET ready = 1 WHERE phase = 'running'")
    op.add_column("jobs", sa.Column("nodes", sa.Integer(), server_default="1", nullable=False))


ADDED = (
    ("endpoint_instances", "ready"),
    ("endpoint_instances", "replicas"),
    ("jobs", "nodes"),
    ("tenants", "weight"),
    ("quotas", "guaranteed"),
)


def downgrade() -> None:
    for table, column in ADDED:
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
    op.drop_table("leases")
