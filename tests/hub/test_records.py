"""What the hub writes about environments, without a hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ltai_hub.domain.workloads import Phase
from ltai_hub.environments.store import Environment
from ltai_hub.hub.choice import Wish
from ltai_hub.hub.records import Records
from ltai_hub.metering import store as metering
from tests.factories import a_person, at
from tests.services.platform import a_platform


@pytest.fixture
def records(tmp_path: Path) -> Records:
    platform = a_platform(tmp_path)
    return Records(platform.database, platform.catalog, clock=lambda: at(0))


def running(records: Records) -> Environment:
    choice = records.choose(a_person(), Wish(profile="digits"))
    row, answer = records.begin(a_person(), "", choice, "/user/sam/lab")
    assert answer.held
    return records.move(row.id, Phase.RUNNING)


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
