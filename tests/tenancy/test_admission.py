from __future__ import annotations

from pathlib import Path

import pytest

from ltai_hub.domain.workloads import Kind
from ltai_hub.errors import Denied, OverQuota
from ltai_hub.tenancy import store
from ltai_hub.tenancy.admission import admit, admit_waiting, release, waiting
from tests.factories import NOW, a_database, a_person, a_school, an_ask, at
from tests.tenancy.race import check_never_over_quota


def test_without_a_quota_everything_is_held(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        assert admit(tx, a_person(), "jobs:create", an_ask(cpu=1000), NOW).held


def test_an_ask_that_can_never_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, physics, _ = a_school(tx)
        store.put_quota(tx, physics, "", "accelerator:simulated-gpu", 2)
        with pytest.raises(OverQuota, match="Physics may use 2 × simulated-gpu in all, and this asks for 4 × simulated-gpu"):
            admit(tx, a_person(), "jobs:create", an_ask(gpus=4), NOW)
        assert store.waiting_reservations(tx) == []


def test_a_full_level_above_queues_with_position_and_reason(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        school, _, _ = a_school(tx)
        store.put_quota(tx, school, "", "cpu", 3)
        assert admit(tx, a_person("sam"), "jobs:create", an_ask("1", cpu=2), NOW).held
        second = admit(tx, a_person("sue"), "jobs:create", an_ask("2", user="sue", cpu=2), at(1))
        third = admit(tx, a_person("sam"), "jobs:create", an_ask("3", cpu=1), at(2))
        assert (second.held, second.position) == (False, 1)
        assert second.reason == "School has 1 core of 3 cores left and this needs 2 cores; it starts when something is stopped"
        # one core is free, but taking it would let small asks starve the one in front
        assert (third.held, third.position) == (False, 2)
        assert release(tx, Kind.JOB, "1", at(3)) == [(Kind.JOB, "2"), (Kind.JOB, "3")]


def test_an_ask_that_needs_nothing_of_the_full_thing_passes(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, _, ml = a_school(tx)
        store.put_quota(tx, ml, "", "accelerators", 1)
        assert admit(tx, a_person(), "jobs:create", an_ask("1", gpus=1), NOW).held
        assert not admit(tx, a_person(), "jobs:create", an_ask("2", gpus=1), at(1)).held
        assert admit(tx, a_person(), "jobs:create", an_ask("3"), at(2)).held


def test_each_users_share_binds_alone_and_a_personal_limit_beats_it(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, _, ml = a_school(tx)
        store.put_quota(tx, ml, "*", "cpu", 1)
        store.put_quota(tx, ml, "sue", "cpu", 2)
        assert admit(tx, a_person("sam"), "jobs:create", an_ask("1"), NOW).held
        assert not admit(tx, a_person("sam"), "jobs:create", an_ask("2"), NOW).held
        assert admit(tx, a_person("sue"), "jobs:create", an_ask("3", user="sue"), NOW).held
        assert admit(tx, a_person("sue"), "jobs:create", an_ask("4", user="sue"), NOW).held


def test_admitting_and_releasing_twice_changes_nothing(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, _, ml = a_school(tx)
        store.put_quota(tx, ml, "", "cpu", 1)
        assert admit(tx, a_person(), "jobs:create", an_ask("1"), NOW).held
        assert admit(tx, a_person(), "jobs:create", an_ask("1"), NOW).held
        assert store.used(tx, ml.id, "", "cpu") == 1
        release(tx, Kind.JOB, "1", NOW)
        release(tx, Kind.JOB, "1", NOW)
        assert store.used(tx, ml.id, "", "cpu") == 0
        assert waiting(tx, Kind.JOB, "1") is None


def test_a_raised_quota_admits_who_waits(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, _, ml = a_school(tx)
        store.put_quota(tx, ml, "", "cpu", 1)
        admit(tx, a_person(), "jobs:create", an_ask("1"), NOW)
        admit(tx, a_person(), "jobs:create", an_ask("2"), at(1))
        store.put_quota(tx, ml, "", "cpu", 2)
        assert admit_waiting(tx, at(2)) == [(Kind.JOB, "2")]


def test_nobody_runs_without_permission(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        with pytest.raises(Denied):
            admit(tx, a_person("tina"), "jobs:create", an_ask(user="sam"), NOW)


def test_replicas_count_each(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, _, ml = a_school(tx)
        store.put_quota(tx, ml, "", "cpu", 2)
        with pytest.raises(OverQuota):
            admit(tx, a_person(), "jobs:create", an_ask(replicas=3), NOW)


def test_six_processes_at_once_are_never_given_more_than_the_quota(tmp_path: Path) -> None:
    check_never_over_quota(a_database(tmp_path))


# ---- limits that are left to a cluster's queue

LEFT = frozenset({"cpu", "memory", "accelerator:simulated-gpu"})


def test_a_tenants_limit_that_is_left_to_the_cluster_lets_nobody_wait_here(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, physics, _ = a_school(tx)
        store.put_quota(tx, physics, "", "accelerator:simulated-gpu", 1)
        for number in range(3):
            assert admit(tx, a_person(), "jobs:create", an_ask(str(number), gpus=1), at(number), LEFT).held
        assert store.used(tx, physics.id, "", "accelerator:simulated-gpu") == 3


def test_what_can_never_fit_is_refused_at_once_though_the_cluster_decides(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, physics, _ = a_school(tx)
        store.put_quota(tx, physics, "", "accelerator:simulated-gpu", 1)
        with pytest.raises(OverQuota, match="Physics may use 1 × simulated-gpu in all, and this asks for 2 × simulated-gpu"):
            admit(tx, a_person(), "jobs:create", an_ask(gpus=2), NOW, LEFT)


def test_limits_of_a_person_and_of_all_accelerators_stay_with_the_platform(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        school, physics, _ = a_school(tx)
        store.put_quota(tx, physics, "*", "cpu", 1)
        store.put_quota(tx, school, "", "accelerators", 1)
        assert admit(tx, a_person(), "jobs:create", an_ask("1"), NOW, LEFT).held
        waits = admit(tx, a_person(), "jobs:create", an_ask("2"), at(1), LEFT)
        assert (waits.held, waits.position) == (False, 1)
        assert admit(tx, a_person("sue"), "jobs:create", an_ask("3", user="sue", cpu=0, gpus=1), at(2), LEFT).held
        assert not admit(tx, a_person("sue"), "jobs:create", an_ask("4", user="sue", cpu=0, gpus=1), at(3), LEFT).held


def test_who_waits_for_a_limit_of_their_own_goes_on_when_it_is_free(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, physics, _ = a_school(tx)
        store.put_quota(tx, physics, "*", "cpu", 1)
        store.put_quota(tx, physics, "", "cpu", 1)
        admit(tx, a_person(), "jobs:create", an_ask("1"), NOW, LEFT)
        admit(tx, a_person("sue"), "jobs:create", an_ask("2", user="sue"), NOW, LEFT)
        admit(tx, a_person(), "jobs:create", an_ask("3"), at(1), LEFT)
        release(tx, Kind.JOB, "1", at(2))
        admit_waiting(tx, at(3), LEFT)
        answer = waiting(tx, Kind.JOB, "3", LEFT)
        assert answer is not None
        assert answer.held
