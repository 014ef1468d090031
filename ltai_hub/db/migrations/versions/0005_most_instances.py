"""Instances added under load

Revision: 0005; after: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("endpoints", sa.Column("most_instances", sa.Integer()))
    op.add_column("endpoint_instances", sa.Column("most_replicas", sa.Integer()))


def downgrade() -> None:
    for table, column in (("endpoint_instances", "most_replicas"), ("endpoints", "most_instances")):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
