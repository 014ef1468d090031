"""Asks the fork server for processes, and reads the run folder for what became of them. Used by the backend and by the hub's spawner.

forks = ForkServer(settings.folder, forward=(8081, 8000))
state, host, port = await forks.start_server(workload)
code = await forks.poll(state)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltai_hub import errors
from ltai_hub.backends.base import State
from ltai_hub.backends.local import records
from ltai_hub.backends.local.homes import copy_into_home
from ltai_hub.backends.local.plan import Grant
from ltai_hub.backends.local.records import Record
from ltai_hub.backends.local.request import LENGTH, Answer, Body, Header, pack, unpack_answer
from ltai_hub.backends.local.uids import Uids
from ltai_hub.domain.workloads import Workload
from ltai_hub.paths import DataFolder

ANSWER_SECONDS = 60.0
PORT_GROUP = "LTAI_PORT_GROUP"
"""Key of ``Workload.env``: workloads with the same value share one port."""


@dataclass(frozen=True)
class ForkServer:
    """``forward``: ports of the machine's loopback that stay reachable from people's private networks."""

    folder: DataFolder
    forward: tuple[int, ...] = ()

    async def start_server(self, workload: Workload) -> tuple[State, str, int]:
        """Start a notebook server; ``workload.command`` is the single-user server's argv. (state, host, port).

        Its socket listens already: a request waits until the server answers. A running one of the same name is returned,
        an ended one replaced. Raises NoCapacity, BadWorkload, TryLater.
        """
        header = replace(make_header(workload, workload.name), main="notebook", port=True, replace_ended=True)
        answer = await self.ask(header, make_body(workload, self.folder, self.forward))
        return {"name": workload.name, "port": answer.port}, "127.0.0.1", answer.port

    async def start_command(self, workload: Workload, name: str, port_group: str = "") -> State:
        """Start ``workload.command`` under ``name``. Raises NoCapacity, BadWorkload, TryLater."""
        header = replace(make_header(workload, name), port_group=port_group or workload.env.get(PORT_GROUP, ""))
        answer = await self.ask(header, make_body(workload, self.folder, self.forward))
        return {"name": name, "port": answer.port}

    async def ask(self, header: Header, body: Body | None = None) -> Answer:
        """One question to the fork server. Raises what it answers, TryLater when it is not there."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(sock, str(self.folder.fork_socket))
            except OSError as problem:
                raise errors.TryLater("the fork server is not running; it is started again in a moment", 2.0) from problem
            try:
                answer = await asyncio.wait_for(_converse(sock, pack(header) + (pack(body) if body else b"")), ANSWER_SECONDS)
            except (OSError, EOFError, TimeoutError) as problem:
                raise errors.TryLater(f"the fork server went away while it started {header.name}", 2.0) from problem
        raise_error(answer)
        return answer

    async def status(self) -> dict[str, Any]:
        """{"mode", "network", "limits", "missing", "notebooks", "running", …} of the running fork server."""
        return (await self.ask(Header(op="status"))).details

    async def copy_into_home(self, user: str, source: Path, target: str) -> int:
        """Files copied from ``source`` to ``target`` below the person's home; what exists already is left as it is.

        Never follows a link the person may have planted, and what is copied is the person's. Raises OSError.
        """
        home = self.folder.home(user)
        return await asyncio.to_thread(copy_into_home, source, str(home), target, self.uid_of(user))

    def uid_of(self, user: str) -> int | None:
        """The account of a person where the platform runs as root; None otherwise, or before their first start."""
        if os.geteuid() != 0:
            return None
        return Uids(self.folder.run / "uids.json").numbers.get(user)

    def find(self, state: State) -> Record | None:
        return records.find_record(self.workload_folder(state))

    def workload_folder(self, state: State) -> Path:
        return self.folder.workloads / str(state.get("name", "-"))

    async def poll(self, state: State) -> int | None:
        """None while it runs, then its exit code; 0 when nothing is known of it."""
        record = self.find(state)
        if record is None:
            return 0
        if record.exit:
            return record.exit.exit_code
        if record.is_running or record.is_starting:
            return None
        return await self._settle(record)

    async def _settle(self, record: Record) -> int:
        """Its processes are gone; pid 1 may have written the end a moment ago."""
        again = records.find_record(record.folder)
        return ((again and again.exit) or records.write_lost_exit(record)).exit_code

    async def wait(self, state: State, timeout: float = 10.0) -> int | None:
        """Its exit code, or None when it still runs after ``timeout`` seconds."""
        until = time.monotonic() + timeout
        while (code := await self.poll(state)) is None and time.monotonic() < until:
            await asyncio.sleep(0.02)
        return code

    async def stop(self, state: State, grace_seconds: float = 10.0, now: bool = False, reason: str = "stopped") -> None:
        """Ask it to end; pid 1 kills what is left after the grace. Returns at once."""
        record = self.find(state)
        if record is None or not (record.is_running or record.is_starting):
            return
        with contextlib.suppress(OSError):
            records.write_order(record.folder, 0.0 if now else grace_seconds, reason)
            record = self.find(state)  # one that was still starting finds the order by itself, or is running by now
            if record and record.process:
                _signal(record.process, signal.SIGTERM)

    async def forget(self, state: State) -> None:
        """Remove log and exit code of an ended workload."""
        record = self.find(state)
        if record is None or not (record.is_running or record.is_starting):
            await asyncio.to_thread(records.remove, self.workload_folder(state))


def make_header(workload: Workload, name: str) -> Header:
    resources = workload.resources
    return Header(
        name=name,
        kind=str(workload.kind),
        user=workload.user,
        image=workload.image,
        home=workload.home,
        cpu=resources.cpu,
        memory=resources.memory,
        accelerator=resources.accelerator,
        accelerator_count=resources.accelerator_count,
        port=workload.port,
        grace_seconds=float(workload.grace_seconds),
    )


def make_body(workload: Workload, folder: DataFolder, forward: tuple[int, ...]) -> Body:
    env = {key: value for key, value in workload.env.items() if key != PORT_GROUP}
    mounts = tuple(Grant(mount.source, mount.target, not mount.read_only) for mount in workload.mounts)
    return Body(workload.command, env, image_prefix(folder, workload.image), workload.cwd, mounts, forward)


def image_prefix(folder: DataFolder, image: str) -> str:
    """Environment folder of an image; without a name the platform's own. Raises TryLater while it is not built."""
    if not image:
        return sys.prefix
    prefix = folder.images / image
    if not (prefix / "bin" / "python").exists():
        raise errors.TryLater(f"image {image} is not ready on this machine yet; build it first", 10.0)
    # images/NAME links to the build in use; what runs keeps the build it started with
    return str(prefix.resolve())


def raise_error(answer: Answer) -> None:
    """The error the fork server named, as one of ltai_hub.errors."""
    if answer.error == errors.TryLater.code:
        raise errors.TryLater(answer.message, answer.after or 5.0)
    for kind in (errors.NoCapacity, errors.BadWorkload):
        if answer.error == kind.code:
            raise kind(answer.message, **answer.details)
    if answer.error:
        raise errors.Problem(answer.message, **answer.details)


def _signal(process: records.Process, number: int) -> None:
    """By pidfd, so that a reused pid can never be hit between the check and the signal."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if records.is_alive(process):
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


async def _converse(sock: socket.socket, question: bytes) -> Answer:
    """It may answer and hang up without reading all of the question, so what was received counts even after a reset."""
    loop = asyncio.get_running_loop()
    received = b""
    with contextlib.suppress(ConnectionError):
        await loop.sock_sendall(sock, question)
    with contextlib.suppress(ConnectionError):
        while chunk := await loop.sock_recv(sock, 1 << 16):
            received += chunk
    if len(received) < LENGTH.size:
        raise EOFError("no answer")
    return unpack_answer(received[LENGTH.size :])
