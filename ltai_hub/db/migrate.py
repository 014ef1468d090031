"""Brings the platform's database to the code's version; refuses one that is newer. Safe to run twice and from several processes."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError

from ltai_hub.db.engine import make_engine
from ltai_hub.errors import ConfigProblem

SCRIPTS = Path(__file__).parent / "migrations"


def make_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    return config


def migrate(url: str) -> None:
    """Upgrade to the newest revision. Raises ConfigProblem for a database from a newer version or that is no database."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            if not check_version(connection):
                return
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_lock(7420)"))
            command.upgrade(make_config(connection), "head")
            connection.commit()
    except DatabaseError as error:
        raise ConfigProblem(f"the platform's database cannot be used: {error.orig}; nothing was changed") from error
    finally:
        engine.dispose()


def check_version(connection: Connection) -> bool:
    """Whether there is something to upgrade. Raises ConfigProblem when the database is newer than the code."""
    current = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory.from_config(make_config())
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = [revision for revision in current if revision not in known]
    if unknown:
        raise ConfigProblem(
            f"the database is of a newer version of LtAI (revision {unknown[0]}); install that version or newer, nothing was changed"
        )
    return set(current) != set(scripts.get_heads())
