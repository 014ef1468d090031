"""A disk without room: starting there is refused in one line; nothing is left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures import free_port, launch

pytestmark = [pytest.mark.hub, pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_refused_in_one_line(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 4096))
    output = tmp_path / "out"
    process = launch(small_disk / "data", output, "--demo", "--port", str(free_port()))
    assert process.wait(30) == 2
    (line,) = output.read_text().strip().splitlines()
    assert "full" in line or "room" in line or "free" in line
    assert [p.name for p in (small_disk / "data").rglob("*") if p.is_file()] in ([], ["lock"])
