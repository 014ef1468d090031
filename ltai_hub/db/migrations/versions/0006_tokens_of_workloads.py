"""Jobs have no token of the hub any more

Revision: 0006; after: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("token_id")


def downgrade() -> None:
    op.add_column("jobs", sa.Column("token_id", sa.String(length=40)))
