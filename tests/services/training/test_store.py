from __future__ import annotations

from pathlib import Path

from ltai_services.training import store

from ltai_hub.domain.workloads import Phase
from tests.factories import NOW
from tests.services.platform import a_platform


def test_a_new_job_is_answered_as_it_is_read_again(tmp_path: Path) -> None:
    new = store.NewRow("digits", "sam", "ml", "digits", "scikit-learn", "cpu-small", ("python", "train.py"), "digits", {"A": "1"}, 60)
    with a_platform(tmp_path).database.transaction() as tx:
        made = store.insert_job(tx, new, NOW)
        assert made == store.get(tx, made.id)


def test_each_unfinished_job_is_in_one_part_of_what_the_controller_looks_at(tmp_path: Path) -> None:
    new = store.NewRow("digits", "sam", "ml", "digits", "scikit-learn", "cpu-small", ("python", "train.py"), "digits", {}, 60)
    state = {"name": "job"}
    with a_platform(tmp_path).database.transaction() as tx:
        ours, theirs, leaves, runs, ended, open_run = (store.insert_job(tx, new, NOW).id for _ in range(6))
        store.change(tx, theirs, backend_state=state)
        store.change(tx, leaves, backend_state=state, stop_reason="cancelled by sam")
        store.change(tx, runs, backend_state=state, phase=Phase.RUNNING)
        store.change(tx, ended, backend_state=state, phase=Phase.SUCCEEDED)
        store.change(tx, open_run, backend_state=state, phase=Phase.SUCCEEDED, run_id="1")
        assert store.not_begun(tx) == [ours]
        assert store.waiting(tx) == [theirs]
        assert [job.id for job in store.begun(tx)] == [leaves, runs, open_run]
