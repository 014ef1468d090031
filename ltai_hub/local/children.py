"""One supervised process: started, logged, started again when it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ltai_hub.local.child import die_with

log = logging.getLogger("ltai.start")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0
LARGEST_LOG = 20 << 20


@dataclass(frozen=True)
class ChildSpec:
    """``niceness`` above 0 lets the others go first; ``stop_seconds`` is how long SIGTERM may take."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    niceness: int = 0
    stop_seconds: float = 10.0


class Child:
    def __init__(self, spec: ChildSpec, log_file: Path) -> None:
        self.spec = spec
        self.log_file = log_file
        self.deaths = 0
        self._process: Process | None = None
        self._stopping = False

    async def keep_running(self) -> None:
        """Returns after ``stop``; a child that dies is started again, after longer and longer pauses."""
        pause = FIRST_PAUSE
        while not self._stopping:
            began = time.monotonic()
            self._process = await self._start()
            code = await self._process.wait()
            if self._stopping:
                return
            self.deaths += 1
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY_SECONDS else pause
            log.warning("%s ended with %s; starting it again in %.1f s (see %s)", self.spec.name, code, pause, self.log_file)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _start(self) -> Process:
        with open_log(self.log_file) as output:
            return await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env=dict(self.spec.environment),
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in the terminal is for the supervisor alone
                start_new_session=True,
                preexec_fn=partial(prepare_child, os.getpid(), self.spec.niceness),
            )

    async def stop(self) -> None:
        """SIGTERM, after ``stop_seconds`` SIGKILL to everything in its session's group."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_seconds)
        except TimeoutError:
            log.warning("%s did not end within %.0f s and is killed", self.spec.name, self.spec.stop_seconds)
            self.kill()
            await process.wait()

    def kill(self) -> None:
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None


def prepare_child(parent: int, niceness: int) -> None:
    """Runs in the child between fork and exec."""
    # a supervisor started with "&" by a shell has SIGINT ignored, and ignoring is inherited
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with(parent)
    if niceness:
        os.nice(niceness)


@contextmanager
def open_log(path: Path) -> Iterator[int]:
    """A descriptor for appending; a long log is put aside as ``.1`` first."""
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_name(path.name + ".1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def last_lines(path: Path, count: int = 15) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-count:])
