"""Jobs that may run in any cluster, and the folders they take along

Revision: 0004; after: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("anywhere", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "job_folders",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("archive", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_folders_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_folders")),
    )


def downgrade() -> None:
    op.drop_table("job_folders")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("anywhere")
