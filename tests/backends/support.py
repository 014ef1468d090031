"""Arranges workloads and a real fork server for the tests of this folder."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltai_hub.backends.base import Backend, Observed, State
from ltai_hub.backends.local import records
from ltai_hub.backends.local.backend import LocalBackend
from ltai_hub.backends.local.client import ForkServer
from ltai_hub.domain.workloads import Kind, Mount, Phase, Resources, Workload
from ltai_hub.paths import DataFolder
from ltai_hub.settings import Settings

MIB = 1 << 20
numbers = itertools.count(1)


def a_workload(
    command: tuple[str, ...] = (),
    *,
    code: str = "",
    user: str = "alice",
    home: str = "",
    env: Mapping[str, str] | None = None,
    mounts: tuple[Mount, ...] = (),
    memory: int = 512 * MIB,
    accelerators: int = 0,
    **kept: Any,
) -> Workload:
    return Workload(
        name=kept.pop("name", f"job-{next(numbers)}-{os.getpid()}"),
        kind=kept.pop("kind", Kind.JOB),
        user=user,
        tenant="demo",
        image="",
        resources=Resources(1.0, memory, accelerator="simulated-gpu" if accelerators else "", accelerator_count=accelerators),
        command=command or ("python", "-c", code or "pass"),
        env=dict(env or {}),
        home=home,
        cwd=home,
        mounts=mounts,
        **kept,
    )


async def until(backend: Backend, state: State, *phases: Phase, seconds: float = 60.0) -> Observed:
    """The first observation in one of ``phases``."""
    deadline = time.monotonic() + seconds
    while True:
        (seen,) = await backend.observe([state])
        if seen.phase in phases:
            return seen
        assert time.monotonic() < deadline, f"still {seen} after {seconds} s"
        await asyncio.sleep(0.02)


async def until_ended(backend: Backend, state: State, seconds: float = 60.0) -> Observed:
    return await until(backend, state, Phase.SUCCEEDED, Phase.FAILED, seconds=seconds)


async def log_of(backend: Backend, state: State) -> str:
    return b"".join([chunk async for chunk in backend.logs(state, follow=True)]).decode()


@dataclass
class RunningForkServer:
    """A fork server of its own on a data folder of its own."""

    data: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        (self.data / "run" / "fork.sock").unlink(missing_ok=True)
        command = [sys.executable, "-m", "ltai_hub.backends.local.forkserver", "--data", str(self.data), *self.options]
        self.data.mkdir(exist_ok=True, mode=0o711)
        with (self.data / "forkserver.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env={}, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while not (self.data / "run" / "fork.sock").exists():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ends every workload first, so that nothing of a test survives it."""
        asyncio.run(self.end_all())
        assert self.process
        time.sleep(0.1)
        self.process.terminate()
        self.process.wait(5)
        shutil.rmtree(self.data.parent, ignore_errors=True)

    async def end_all(self) -> None:
        states = [{"name": record.spec.name} for record in records.all_records(self.folder.workloads)]
        for state in states:
            await self.client.stop(state, now=True)
        for state in states:
            await self.client.wait(state, 5)

    @property
    def folder(self) -> DataFolder:
        return DataFolder(self.data)

    @property
    def client(self) -> ForkServer:
        return ForkServer(self.folder)

    @property
    def backend(self) -> LocalBackend:
        return LocalBackend(Settings(data=self.data))

    @property
    def mode(self) -> str:
        return str(self.backend.isolation()["mode"])

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def home(self, user: str) -> str:
        return str(self.folder.home(user))

    def log(self) -> str:
        return (self.data / "forkserver.log").read_text()
