"""The hub's own database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from ltai_hub.hub.app import PlatformHub


def test_a_commit_of_the_hub_waits_for_no_disk(tmp_path: Path) -> None:
    hub = PlatformHub(db_url=f"sqlite:///{tmp_path}/hub.sqlite")
    hub.init_db()
    assert hub.db.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    normal = 1
    assert hub.db.execute(text("PRAGMA synchronous")).scalar() == normal
    hub.db.close()
    hub.db.get_bind().dispose()
