from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from ltai_hub.db.engine import make_engine
from ltai_hub.db.migrate import migrate
from ltai_hub.errors import ConfigProblem
from ltai_hub.revision import all_tables


def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    migrate(url)
    with make_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), all_tables()) == []


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    migrate(url)
    before = (tmp_path / "x.sqlite").read_bytes()
    migrate(url)
    assert (tmp_path / "x.sqlite").read_bytes() == before


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    migrate(url)
    with make_engine(url).connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = (tmp_path / "x.sqlite").read_bytes()
    with pytest.raises(ConfigProblem, match="newer version"):
        migrate(url)
    assert (tmp_path / "x.sqlite").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigProblem, match="cannot be used"):
        migrate(f"sqlite:///{tmp_path / 'x.sqlite'}")
