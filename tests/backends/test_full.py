"""A disk without room: starts are put off with a sentence, ends are written down all the same."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ltai_hub.backends.local.full import FULL, reserve, written
from ltai_hub.domain.workloads import Phase
from ltai_hub.errors import TryLater
from tests.backends.support import RunningForkServer, a_workload, until, until_ended

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
WAITS = "import os, time\nwhile not os.path.exists('end'): time.sleep(0.05)\nraise SystemExit(5)"


@pytest.fixture
def disk() -> Iterator[Path]:
    """Four MiB; its path is short, as sockets need it."""
    place = Path(tempfile.mkdtemp(prefix="lt"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=711", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_what_was_reserved_can_be_written_on_a_full_disk(disk: Path) -> None:
    kept, plain = (os.open(disk / name, os.O_RDWR | os.O_CREAT) for name in ("kept", "plain"))
    reserve(kept, 4096)
    fill(disk / "ballast")
    assert os.fstat(kept).st_size == 0
    assert (written(kept, b"an end"), written(plain, b"an end")) == (True, False)
    assert (os.pread(kept, 99, 0), os.pread(plain, 99, 0)) == (b"an end", b"")
    with pytest.raises(OSError, match="No space left"):
        reserve(plain, 4096)
    (disk / "ballast").unlink()
    assert written(plain, b"an end")
    for file in (kept, plain):
        os.close(file)


async def test_an_end_on_a_full_disk_is_kept_and_a_start_is_put_off(disk: Path) -> None:
    forks = RunningForkServer(disk / "data")
    forks.start()
    try:
        home = Path(forks.home("alice"))
        state = await forks.backend.start(a_workload(code=WAITS, home=str(home)))
        await until(forks.backend, state, Phase.RUNNING)
        (home / "end.soon").touch()
        fill(disk / "ballast")
        with pytest.raises(TryLater) as refused:
            await forks.backend.start(a_workload(code="pass", home=str(home)))
        assert refused.value.message == FULL
        (home / "end.soon").rename(home / "end")
        seen = await until_ended(forks.backend, state)
        assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 5, "exit code 5")
        (disk / "ballast").unlink()
        later = await forks.backend.start(a_workload(code="pass", home=str(home)))
        assert (await until_ended(forks.backend, later)).phase is Phase.SUCCEEDED
        assert len(list(forks.folder.workloads.iterdir())) == 2, "nothing is left of the start that was put off"
    finally:
        await forks.end_all()
        assert forks.process
        forks.process.terminate()
        forks.process.wait(5)
