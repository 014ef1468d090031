"""What is tested on sqlite holds on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from ltai_hub.controllers.lease import Leases
from ltai_hub.db.engine import Database, make_engine
from ltai_hub.db.migrate import migrate
from ltai_hub.errors import ConfigProblem
from ltai_hub.revision import all_tables
from ltai_hub.units import utc_now
from tests.db.test_engine import check_nothing_is_lost
from tests.factories import a_schema
from tests.tenancy.race import check_never_over_quota

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SERVICES = [
    f"tests/services/{name}" for name in ("test_billing.py", "test_lists.py", "test_tenancy.py", "training", "serving/test_endpoints.py")
]
ALSO = ["tests/db/test_engine.py", "tests/tenancy", "tests/metering", "tests/accounts", *SERVICES]


@pytest.fixture
def migrated(postgresql: str) -> Database:
    url = a_schema(postgresql)
    migrate(url)
    return Database(url)


def test_the_migrations_make_exactly_the_tables_of_the_code(migrated: Database) -> None:
    with migrated.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), all_tables()) == []


def test_migrating_twice_changes_nothing_and_a_newer_database_is_refused(migrated: Database) -> None:
    migrate(migrated.url)
    with make_engine(migrated.url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigProblem, match="newer version"):
        migrate(migrated.url)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(ConfigProblem, match="cannot be used"):
        migrate("postgresql+psycopg://ltai@/postgres?host=/nowhere")


def test_no_update_of_six_processes_is_lost(migrated: Database) -> None:
    check_nothing_is_lost(migrated)


async def test_leases_go_by_the_servers_clock_however_wrong_the_others_are(migrated: Database) -> None:
    slow = Leases(migrated, ["training"], "slow", lambda: utc_now() - timedelta(hours=1))
    fast = Leases(migrated, ["training"], "fast", lambda: utc_now() + timedelta(hours=1))
    for _ in range(2):
        await slow.renew()
        await fast.renew()
        assert (slow.holds("training"), fast.holds("training")) == (True, False)


def test_six_processes_at_once_are_never_given_more_than_the_quota(migrated: Database) -> None:
    check_never_over_quota(migrated)


def test_the_tests_of_core_and_services_pass_on_it(postgresql: str) -> None:
    # those of six processes run above
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-m", "not slow", "-k", "not six_processes", *ALSO]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "LTAI_TEST_DATABASE": postgresql}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
