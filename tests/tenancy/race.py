"""Six processes that ask for room at once, for a test of each kind of database."""

from __future__ import annotations

import multiprocessing

from sqlalchemy import func, select

from ltai_hub.db.engine import Database
from ltai_hub.db.tables import reservation_amounts, reservations
from ltai_hub.domain.workloads import Kind
from ltai_hub.tenancy import store
from ltai_hub.tenancy.admission import admit, release
from ltai_hub.units import utc_now
from tests.factories import a_person, a_school, an_ask

PROCESSES, ROUNDS, CORES = 6, 25, 5


def ask_and_give_back(url: str, number: int) -> None:
    """Leaves with 1 when more is held than there is. Every third one is given back, so that others come off the queue meanwhile."""
    database = Database(url)
    for turn in range(ROUNDS):
        noun_id = f"{number}-{turn}"
        with database.transaction() as tx:
            admit(tx, a_person(), "jobs:create", an_ask(noun_id), utc_now())
            assert store.used(tx, store.get_tenant(tx, "ml").id, "", "cpu") <= CORES
        if turn % 3 == 0:
            with database.transaction() as tx:
                release(tx, Kind.JOB, noun_id, utc_now())
                assert store.used(tx, store.get_tenant(tx, "ml").id, "", "cpu") <= CORES


def check_never_over_quota(database: Database) -> None:
    with database.transaction() as tx:
        _, _, ml = a_school(tx)
        store.put_quota(tx, ml, "", "cpu", CORES)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=ask_and_give_back, args=(database.url, number)) for number in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    with database.reading() as tx:
        states = {row[0]: row[1] for row in tx.execute(select(reservations.c.state, func.count()).group_by(reservations.c.state))}
        released = PROCESSES * len(range(0, ROUNDS, 3))
        assert states == {"held": CORES, "released": released, "waiting": PROCESSES * ROUNDS - released - CORES}
        assert (
            tx.execute(select(func.sum(reservation_amounts.c.amount)).where(reservation_amounts.c.resource == "cpu")).scalar_one() == CORES
        )
        # whoever was admitted first was held first
        held = select(func.max(reservations.c.id)).where(reservations.c.state == "held").scalar_subquery()
        waiting = select(func.min(reservations.c.id)).where(reservations.c.state == "waiting").scalar_subquery()
        assert tx.execute(select(held < waiting)).scalar_one()
