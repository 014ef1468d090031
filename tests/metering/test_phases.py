from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ltai_hub.domain.usage import Interval, Price, rate
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.metering import store
from ltai_hub.metering.costs import costs_of
from ltai_hub.metering.phases import Subject, change_phase, change_replicas
from ltai_hub.tenancy import store as tenancy
from ltai_hub.tenancy.admission import admit
from tests.factories import NOW, a_database, a_person, a_school, an_ask, at, some_resources

JOB = Subject(Kind.JOB, "1", "train", "sam", "ml", "cpu-small", some_resources())
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)


def test_an_interval_spans_exactly_the_running_time(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        change_phase(tx, JOB, None, Phase.QUEUED, "", at(0))
        change_phase(tx, JOB, Phase.QUEUED, Phase.STARTING, "", at(1))
        change_phase(tx, JOB, Phase.STARTING, Phase.RUNNING, "", at(2))
        change_phase(tx, JOB, Phase.RUNNING, Phase.SUCCEEDED, "exit code 0", at(10))
        (interval,) = store.intervals(tx, NOW, FOREVER)
        assert (interval.started_at, interval.ended_at) == (at(2), at(10))
        assert [e.to_phase for e in reversed(store.list_events(tx)[0])] == ["queued", "starting", "running", "succeeded"]


def test_repeating_a_change_changes_nothing(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        for second in (2, 3):
            change_phase(tx, JOB, Phase.RUNNING if second == 3 else Phase.STARTING, Phase.RUNNING, "", at(second))
        for second in (10, 11):
            change_phase(tx, JOB, Phase.RUNNING, Phase.FAILED, "exit code 1", at(second))
        (interval,) = store.intervals(tx, NOW, FOREVER)
        assert (interval.started_at, interval.ended_at) == (at(2), at(10))


def test_the_end_gives_back_the_reservation_and_starts_who_waits(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, _, ml = a_school(tx)
        tenancy.put_quota(tx, ml, "", "cpu", 1)
        admit(tx, a_person(), "jobs:create", an_ask("1"), at(0))
        admit(tx, a_person(), "jobs:create", an_ask("2"), at(1))
        assert change_phase(tx, JOB, Phase.RUNNING, Phase.SUCCEEDED, "", at(2)) == [(Kind.JOB, "2")]


def test_a_clock_set_back_never_bills_negative_time(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        change_phase(tx, JOB, Phase.STARTING, Phase.RUNNING, "", at(100))
        change_phase(tx, JOB, Phase.RUNNING, Phase.FAILED, "", at(50))
        assert costs_of(tx, Kind.JOB, ["1"], at(200)) in ({}, {"1": 0})


def test_what_was_charged_is_not_charged_again(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        change_phase(tx, JOB, Phase.STARTING, Phase.RUNNING, "", at(0))
        change_phase(tx, JOB, Phase.RUNNING, Phase.STARTING, "its node is lost", at(40))
        change_phase(tx, JOB, Phase.STARTING, Phase.RUNNING, "", at(0))
        change_phase(tx, JOB, Phase.RUNNING, Phase.SUCCEEDED, "", at(50))
        assert [(i.started_at, i.ended_at) for i in store.intervals(tx, NOW, FOREVER)] == [(at(0), at(40)), (at(40), at(50))]


def test_scaling_ends_one_interval_and_begins_the_next(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        change_phase(tx, JOB, Phase.STARTING, Phase.RUNNING, "", at(0))
        change_replicas(tx, Subject(Kind.JOB, "1", "train", "sam", "ml", "cpu-small", some_resources(), 3), at(10))
        change_phase(tx, JOB, Phase.RUNNING, Phase.STOPPED, "", at(20))
        store.insert_price(tx, Price("cpu-small", 3_600_000, at(-10)), "ada")
        assert [(i.replicas, i.ended_at) for i in store.intervals(tx, NOW, FOREVER)] == [(1, at(10)), (3, at(20))]
        assert costs_of(tx, Kind.JOB, ["1"], at(100)) == {"1": 10_000 + 30_000}


def an_interval(start: float, end: float | None, replicas: int = 1) -> Interval:
    return Interval(1, "job", "1", "n", "sam", "ml", "f", replicas, at(start), None if end is None else at(end))


def test_a_price_change_splits_the_interval_and_keeps_the_old_price_before() -> None:
    prices = [Price("f", 3_600_000, at(-100)), Price("f", 7_200_000, at(10)), Price("other", 1, at(0))]
    charges = rate(an_interval(0, 20), prices, at(0), at(100))
    assert [(c.seconds, c.cost_micro) for c in charges] == [(10, 10_000), (10, 20_000)]


def test_time_before_the_first_price_costs_nothing() -> None:
    assert [c.cost_micro for c in rate(an_interval(0, 20), [Price("f", 3_600_000, at(10))], at(0), at(100))] == [0, 10_000]


def test_only_the_part_inside_the_month_counts_and_a_running_one_reaches_to_now() -> None:
    prices = [Price("f", 3_600_000, at(-100))]
    assert sum(c.seconds for c in rate(an_interval(0, None), prices, at(5), at(12))) == 7
    assert rate(an_interval(0, 5), prices, at(5), at(12)) == []


@pytest.mark.parametrize("cuts", [1, 7, 1000])
def test_charges_of_parts_sum_to_the_whole_within_rounding(cuts: int) -> None:
    price = [Price("f", 1_234_567, at(-1))]
    whole = rate(an_interval(0, 3600), price, at(0), at(3600))[0].cost_micro
    step = timedelta(seconds=3600) / cuts
    parts = sum(rate(an_interval(0, 3600), price, NOW + step * i, NOW + step * (i + 1))[0].cost_micro for i in range(cuts))
    assert abs(parts - whole) <= cuts / 2
