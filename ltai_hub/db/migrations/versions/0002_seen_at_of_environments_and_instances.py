"""When environments and endpoint instances were last seen running

Revision: 0002; after: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ltai_hub.db.base import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("environments", "endpoint_instances"):
        op.add_column(table, sa.Column("seen_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    for table in ("endpoint_instances", "environments"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("seen_at")
