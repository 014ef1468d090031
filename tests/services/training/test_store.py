from __future__ import annotations

from pathlib import Path

from ltai_services.training import store

from tests.factories import NOW
from tests.services.platform import a_platform


def test_a_new_job_is_answered_as_it_is_read_again(tmp_path: Path) -> None:
    new = store.NewRow("digits", "sam", "ml", "digits", "scikit-learn", "cpu-small", ("python", "train.py"), "digits", {"A": "1"}, 60)
    with a_platform(tmp_path).database.transaction() as tx:
        made = store.insert_job(tx, new, NOW)
        assert made == store.get(tx, made.id)
