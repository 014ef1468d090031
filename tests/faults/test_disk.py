"""A disk without room: starting there is refused in one line; when it fills while people work, they are told and nothing is half done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.whole import make_whole
from tests.fixtures import free_port, launch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.hub
def test_a_full_disk_is_refused_in_one_line(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 4096))
    output = tmp_path / "out"
    process = launch(small_disk / "data", output, "--demo", "--port", str(free_port()))
    assert process.wait(30) == 2
    (line,) = output.read_text().strip().splitlines()
    assert "full" in line or "room" in line or "free" in line
    assert [p.name for p in (small_disk / "data").rglob("*") if p.is_file()] in ([], ["lock"])


def test_a_disk_that_fills_while_people_work_refuses_and_recovers(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    for whole in make_whole(small_disk, monkeypatch):
        whole.a_job("sam")
        ballast = small_disk / "ballast"
        fill(ballast)
        asked = {"name": "fit", "command": ["python", "train.py", "x" * 30_000]}
        replies = [whole.call("sam", "POST", "training", "/jobs", json=asked) for _ in range(20)]
        refused = [reply for reply in replies if reply.status_code != 201]
        assert refused
        assert {reply.status_code for reply in refused} == {503}
        assert "the disk of the platform's database is full; free some space" in refused[-1].json()["detail"]
        accepted = 1 + len(replies) - len(refused)
        assert whole.call("sam", "GET", "training", "/jobs").json()["total"] == accepted
        ballast.unlink()
        assert whole.call("sam", "POST", "training", "/jobs", json=asked).status_code == 201
        assert whole.call("sam", "GET", "training", "/jobs").json()["total"] == accepted + 1
        with whole.platform.database.reading() as tx:
            reserved = tx.exec_driver_sql("SELECT count(*), count(DISTINCT noun_id) FROM reservations").one()
        assert tuple(reserved) == (accepted + 1, accepted + 1)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
