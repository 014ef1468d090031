"""What a build starts ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BUILD = """
import asyncio, os, sys
from pathlib import Path
from uvicorn.loops.auto import auto_loop_factory
from ltai_hub.catalog.uv import Runner

os.umask(0o077)
folder = Path(sys.argv[1])
runner = Runner(folder / "log", lambda line: None, os.open(folder / "lock", os.O_CREAT), folder)
factories = {"hub": None, "services": auto_loop_factory()}
with asyncio.Runner(loop_factory=factories[sys.argv[2]]) as loop:
    loop.run(runner.compile(Path(sys.executable), folder / "packages"))
"""
# the processes that build, whose loops are not the same
BUILDERS = ("hub", "services")


def running_on(folder: Path) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if str(folder / "packages") in words:
            found.append(place.name)
    return found


def until(holds: bool, folder: Path, count: int) -> None:
    end = time.monotonic() + 20
    while (len(running_on(folder)) >= count) is not holds:
        assert time.monotonic() < end, running_on(folder)
        time.sleep(0.05)


def build(folder: Path, builder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(folder), builder], env={**os.environ, "PYTHONPATH": os.getcwd()})


@pytest.mark.parametrize("builder", BUILDERS)
def test_everybody_may_read_what_is_built(tmp_path: Path, builder: str) -> None:
    package = tmp_path / "packages" / "one"
    package.mkdir(parents=True)
    (package / "module.py").write_text("x = 1\n")
    assert build(tmp_path, builder).wait(60) == 0
    (made,) = package.glob("__pycache__/*.pyc")
    assert made.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("builder", BUILDERS)
def test_when_the_platform_is_killed_nothing_goes_on_compiling(tmp_path: Path, builder: str, number: int) -> None:
    for package in range(300):
        folder = tmp_path / "packages" / f"p{package}"
        folder.mkdir(parents=True)
        for module in range(20):
            lines = [f"def f{n}(a, b=({n}, {module})): return [a + n for n in b]" for n in range(60)]
            (folder / f"m{module}.py").write_text("\n".join(lines))
    running = build(tmp_path, builder)
    # its head and at least one worker
    until(True, tmp_path, 2)
    running.send_signal(number)
    running.wait(10)
    until(False, tmp_path, 1)


CUT_OFF = """
import asyncio, os, sys
from pathlib import Path
from uvicorn.loops.auto import auto_loop_factory
from ltai_hub.catalog.uv import Runner

async def begin_and_leave(runner, seconds):
    asyncio.create_task(runner.compile(Path(sys.executable), folder / "packages"))
    await asyncio.sleep(seconds)

folder = Path(sys.argv[1])
factories = {"hub": None, "services": auto_loop_factory()}
for number in range(30):
    runner = Runner(folder / "log", lambda line: None, os.open(folder / "lock", os.O_CREAT), folder)
    with asyncio.Runner(loop_factory=factories[sys.argv[2]]) as loop:
        loop.run(begin_and_leave(runner, number / 5000))
"""


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_platform_that_leaves_while_a_build_begins_does_leave(tmp_path: Path, builder: str) -> None:
    (tmp_path / "packages").mkdir()
    command = [sys.executable, "-c", CUT_OFF, str(tmp_path), builder]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": os.getcwd()}, check=True, timeout=60)
    until(False, tmp_path, 1)
