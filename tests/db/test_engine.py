from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from ltai_hub.db.engine import Database
from ltai_hub.db.tables import tenants
from ltai_hub.errors import Unavailable
from tests.factories import a_database, a_tenant

PROCESSES, ROUNDS = 6, 100


def count_up(url: str) -> None:
    database = Database(url)
    for _ in range(ROUNDS):
        with database.transaction() as tx:
            number = int(tx.execute(select(tenants.c.name)).scalar_one())
            tx.execute(update(tenants).values(name=str(number + 1)))


def test_no_update_of_six_processes_is_lost(tmp_path: Path) -> None:
    """With SQLAlchemy's defaults more than half of them were."""
    check_nothing_is_lost(a_database(tmp_path))


def check_nothing_is_lost(database: Database) -> None:
    with database.transaction() as tx:
        a_tenant(tx, "counter")
        tx.execute(update(tenants).values(name="0"))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(database.url,)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    with database.reading() as tx:
        assert tx.execute(select(tenants.c.name)).scalar_one() == str(PROCESSES * ROUNDS)


def test_a_reader_sees_one_state_while_others_write(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    with database.reading() as reader:
        assert reader.execute(select(tenants.c.slug)).all() == []
        with database.transaction() as tx:
            a_tenant(tx, "new")
        assert reader.execute(select(tenants.c.slug)).all() == []
    with database.reading() as reader:
        assert reader.execute(select(tenants.c.slug)).all() == [("new",)]


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    try:
        with database.transaction() as tx:
            a_tenant(tx, "half")
            raise RuntimeError("in the middle")
    except RuntimeError:
        pass
    with database.reading() as tx:
        assert tx.execute(select(tenants.c.slug)).all() == []


def test_of_a_server_that_does_not_answer_people_are_told_no_address() -> None:
    pytest.importorskip("psycopg")
    database = Database("postgresql+psycopg://ltai@127.0.0.1:1/platform")
    for way in (database.reading, database.transaction):
        with pytest.raises(Unavailable, match=r"^the platform's database does not answer; try again in a moment") as caught, way():
            pass
        assert "127.0.0.1" not in caught.value.message
