from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from ltai_hub.controllers import lease
from ltai_hub.controllers.controller import Controller
from ltai_hub.controllers.lease import LEASE_SECONDS, RENEW_SECONDS, Leases
from ltai_hub.db.engine import Database
from tests.factories import a_database, at


class Clock:
    """Of the wall and of the process, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def leases(self, database: Database, holder: str, *names: str) -> Leases:
        return Leases(database, names or ("training",), holder, lambda: at(self.seconds), lambda: self.seconds)


class Counts(Controller):
    interval = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    async def pass_once(self) -> None:
        self.passes += 1


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return a_database(tmp_path)


async def test_one_of_two_holds_it(database: Database) -> None:
    clock = Clock()
    one, two = clock.leases(database, "one"), clock.leases(database, "two")
    await one.renew()
    await two.renew()
    assert (one.holds("training"), two.holds("training")) == (True, False)


async def test_the_next_has_it_when_it_has_run_out_and_the_first_has_stopped_before(database: Database) -> None:
    clock = Clock()
    one, two = clock.leases(database, "one"), clock.leases(database, "two")
    await one.renew()
    clock.seconds = LEASE_SECONDS - 1
    await two.renew()
    # the holder stops by its own clock, a little before another may begin
    assert (one.holds("training"), two.holds("training")) == (False, False)
    clock.seconds = LEASE_SECONDS
    await two.renew()
    await one.renew()
    assert (one.holds("training"), two.holds("training")) == (False, True)


async def test_what_is_renewed_is_kept(database: Database) -> None:
    clock = Clock()
    one, two = clock.leases(database, "one"), clock.leases(database, "two")
    for _ in range(10):
        await one.renew()
        await two.renew()
        clock.seconds += RENEW_SECONDS
        assert (one.holds("training"), two.holds("training")) == (True, False)


async def test_several_services_may_be_run_by_several_processes(database: Database) -> None:
    clock = Clock()
    one, both = clock.leases(database, "one", "training"), clock.leases(database, "two", "serving", "training")
    await one.renew()
    await both.renew()
    assert one.holds("training")
    assert (both.holds("training"), both.holds("serving")) == (False, True)


async def test_the_same_holder_started_again_has_it_back_at_once(database: Database) -> None:
    clock = Clock()
    await clock.leases(database, "pod-1").renew()
    again = clock.leases(database, "pod-1")
    await again.renew()
    assert again.holds("training")


async def test_it_is_given_up_at_the_end(database: Database) -> None:
    clock = Clock()
    one, two = clock.leases(database, "one"), clock.leases(database, "two")
    keeping = asyncio.create_task(one.keep())
    while not one.holds("training"):
        await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await two.renew()
    assert (one.holds("training"), two.holds("training")) == (False, True)


async def test_a_database_that_does_not_answer_ends_it_in_time(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    one = clock.leases(database, "one")
    await one.renew()
    one._database = Database("sqlite:////nowhere/at/all.sqlite")
    await one.renew()
    assert one.holds("training")
    clock.seconds = LEASE_SECONDS
    await one.renew()
    assert not one.holds("training")
    assert "leases cannot be renewed" in caplog.text


async def test_controllers_run_only_while_it_is_held(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.02)
    clock = Clock()
    one, two = clock.leases(database, "one"), clock.leases(database, "two")
    await two.renew()
    counts = Counts()
    tasks = [asyncio.create_task(one.keep()), asyncio.create_task(one.run("training", [counts]))]
    await asyncio.sleep(0.2)
    assert counts.passes == 0
    await asyncio.to_thread(two._give_up)
    await asyncio.sleep(0.3)
    assert counts.passes > 0
    # taken away from under it
    await asyncio.to_thread(one._give_up)
    three = clock.leases(database, "three")
    await three.renew()
    clock.seconds += LEASE_SECONDS
    await asyncio.sleep(0.1)
    seen = counts.passes
    await asyncio.sleep(0.1)
    assert counts.passes == seen
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def hold(url: str, holder: str) -> None:
    """The life of a process of its own."""
    asyncio.run(Leases(Database(url), ("training",), holder).keep())


@pytest.mark.slow
async def test_after_kill_9_another_goes_on_within_15_seconds(database: Database) -> None:
    # engines do not survive a fork
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(database.url, "one"))
    process.start()
    two = Leases(database, ("training",), "two")
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until and not has_holder(database, "one"):
            await asyncio.sleep(0.05)
        await asyncio.sleep(RENEW_SECONDS)
        await two.renew()
        assert not two.holds("training")
        os.kill(process.pid or 0, signal.SIGKILL)
        killed = time.monotonic()
        while not two.holds("training"):
            await asyncio.sleep(RENEW_SECONDS)
            await two.renew()
            assert time.monotonic() - killed < 15
    finally:
        process.kill()
        process.join()


def has_holder(database: Database, holder: str) -> bool:
    with database.engine.connect() as connection:
        return holder in connection.exec_driver_sql("SELECT holder FROM leases").scalars().all()
