"""For developers: ``python -m ltai_hub.revision "jobs get a priority"`` writes the next migration from what the tables say.

Read what it wrote before you commit it; a migration that has landed is never edited.
"""

from __future__ import annotations

import sys

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine

import ltai_hub.accounts.tables
import ltai_hub.db.tables  # noqa: F401
from ltai_hub.db.base import metadata
from ltai_hub.db.migrate import make_config
from ltai_hub.service import load_specs


def all_tables() -> MetaData:
    """The metadata with the tables of every installed service on it."""
    load_specs()
    return metadata


def main(message: str) -> None:
    with create_engine("sqlite://").connect() as connection:
        config = make_config(connection)
        config.attributes["metadata"] = all_tables()
        command.upgrade(config, "head")
        number = 1 + sum(1 for _ in ScriptDirectory.from_config(config).walk_revisions())
        command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")


if __name__ == "__main__":
    main(sys.argv[1])
