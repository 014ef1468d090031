"""What the hub writes about environments, without a hub."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from jupyterhub.handlers.base import BaseHandler
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError
from tornado import web

from ltai_hub.domain.workloads import Phase
from ltai_hub.environments.store import Environment
from ltai_hub.errors import Unavailable
from ltai_hub.hub.choice import Wish
from ltai_hub.hub.mixin import PlatformSpawner
from ltai_hub.hub.outage import DatabaseWatch, tell_of_outages
from ltai_hub.hub.records import Records
from ltai_hub.metering import store as metering
from ltai_hub.tenancy import store as tenancy
from tests.factories import a_person, at
from tests.services.platform import a_platform


@pytest.fixture
def records(tmp_path: Path) -> Records:
    platform = a_platform(tmp_path)
    return Records(platform.database, platform.catalog, clock=lambda: at(0))


def begun(records: Records, server: str = "", held: bool = True) -> Environment:
    choice = records.choose(a_person(), Wish(profile="digits"))
    row, answer = records.begin(a_person(), server, choice, "/user/sam/lab", lambda row: {"pod": row.run_id})
    assert answer.held is held
    return row


def running(records: Records) -> Environment:
    return records.move(begun(records).id, Phase.RUNNING)


def test_what_may_start_is_written_down_with_its_place(records: Records) -> None:
    first = begun(records)
    assert (first.phase, first.backend_state) == (Phase.STARTING, {"pod": f"{first.id}.1"})
    records.move(first.id, Phase.FAILED, "its pod was lost")
    again = begun(records)
    assert (again.id, again.backend_state, again.reason) == (first.id, {"pod": f"{first.id}.2"}, "")


def test_what_waits_for_room_has_no_place(records: Records) -> None:
    first = begun(records)
    with records.database.transaction() as tx:
        tenancy.put_quota(tx, tenancy.get_tenant(tx, first.tenant), "", "cpu", 1.5)
    second = begun(records, "second", held=False)
    assert (second.phase, second.backend_state) == (Phase.QUEUED, None)


def test_a_row_is_answered_as_it_is_kept(records: Records) -> None:
    assert (row := begun(records)) == records.find("sam", "")
    assert (row := records.move(row.id, Phase.RUNNING, at=at(3))) == records.find("sam", "")
    assert (row := records.move(row.id, Phase.STOPPED, "x" * 3000, at(5), {"pod": "p"})) == records.find("sam", "")
    assert (row := begun(records)) == records.find("sam", "")


def charged(records: Records) -> list[tuple[float, float | None]]:
    with records.database.reading() as tx:
        found = metering.intervals(tx, at(-1), at(10_000))
    return [((i.started_at - at(0)).total_seconds(), (i.ended_at - at(0)).total_seconds() if i.ended_at else None) for i in found]


def test_an_end_nobody_saw_is_where_it_was_last_seen(records: Records) -> None:
    row = running(records)
    replace(records, clock=lambda: at(40)).note_seen(row.id)
    ended = replace(records, clock=lambda: at(7200)).move(row.id, Phase.FAILED, "the machine was restarted")
    assert ended.ended_at == at(40)
    assert charged(records) == [(0, 40)]


def test_one_that_was_never_looked_at_again_costs_nothing(records: Records) -> None:
    row = running(records)
    replace(records, clock=lambda: at(7200)).move(row.id, Phase.FAILED, "the machine was restarted")
    assert charged(records) == [(0, 0)]


def test_an_end_that_was_seen_is_its_own(records: Records) -> None:
    row = running(records)
    replace(records, clock=lambda: at(40)).note_seen(row.id)
    records.move(row.id, Phase.STOPPED, "stopped", at=at(50))
    assert charged(records) == [(0, 50)]


async def test_what_happens_while_the_database_is_away_is_written_down_after(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltai_hub.hub.mixin.RECORD_SECONDS", 0.01)
    row, away = running(records), ["the database does not answer"] * 2

    def move(*what: Any) -> Environment:
        if away:
            raise Unavailable(away.pop())
        return records.move(*what)

    spawner = SimpleNamespace(
        environment_id=row.id, backend_state=None, records=SimpleNamespace(move=move), log=logging.getLogger(), _log_name="sam"
    )
    await PlatformSpawner.record(cast("PlatformSpawner", spawner), Phase.STOPPED, "stopped", at(50))
    assert charged(records) == [(0, 50)]


async def test_a_start_cancelled_while_it_is_written_down_is_ended_too(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltai_hub.hub.mixin.hub_core", lambda: SimpleNamespace(catalog=records.catalog))
    asked, goes_on = threading.Event(), threading.Event()

    def begin(*what: Any) -> Any:
        asked.set()
        goes_on.wait(10)
        return records.begin(*what)

    async def fits(_resources: object) -> str:
        return ""

    spawner: Any = SimpleNamespace(
        user=SimpleNamespace(name="sam", admin=False, server_url=lambda name: "/user/sam/"),
        name="",
        fits=fits,
        place=lambda row: {"pod": row.run_id},
        records=SimpleNamespace(choose=records.choose, begin=begin),
    )
    start = asyncio.create_task(PlatformSpawner._begun(spawner, Wish(profile="digits")))
    assert await asyncio.to_thread(asked.wait, 10)
    start.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    row = records.find("sam", "")
    assert row is not None
    assert (spawner.environment_id, spawner.backend_state) == (row.id, {"pod": row.run_id})


async def test_when_the_database_is_back_the_hub_begins_anew_once(tmp_path: Path) -> None:
    engine, begun = create_engine("sqlite://"), list[bool]()
    watch = DatabaseWatch(engine, lambda: begun.append(True))
    await watch.look()
    event.listen(engine, "engine_connect", fail := lambda _: (_ for _ in ()).throw(OperationalError("", {}, Exception())))
    await watch.look()
    await watch.look()
    assert begun == []
    event.remove(engine, "engine_connect", fail)
    await watch.look()
    await watch.look()
    assert begun == [True]


async def test_while_the_database_is_away_nobody_is_taken_for_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(_handler: object) -> None:
        raise OperationalError("", {}, Exception("refused"))

    monkeypatch.setattr(BaseHandler, "get_current_user", look_up)
    monkeypatch.setattr(BaseHandler, "_resolve_roles_and_scopes", BaseHandler._resolve_roles_and_scopes)
    tell_of_outages()
    handler: Any = SimpleNamespace(db=SimpleNamespace(rollback=lambda: None), log=logging.getLogger())
    handler.get_current_user = lambda: BaseHandler.get_current_user(handler)
    handler._resolve_roles_and_scopes = lambda: BaseHandler._resolve_roles_and_scopes(handler)
    with pytest.raises(web.HTTPError, match="database does not answer") as caught:
        await BaseHandler.prepare(handler)
    assert caught.value.status_code == 503
