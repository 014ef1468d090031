"""What is kept of a workload below ``$DATA/run/workloads/NAME``; written once each, so anybody may read at any time.

spec.json     what was granted (no secrets)      by the fork server, before the start
process.json  pid 1's pid outside, start         by the forked child
exit.json     exit code, time, reason            by pid 1 when the program ends; empty until then
stop.json     order to stop                      by whoever stops it
notice.json   the last memory kill               by pid 1
log           stdout and stderr of everything    by the program
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

LONGEST_REASON, ORDER_BYTES = 200, 4096
"""Even when JSON spells every character in twelve bytes, an order has its place."""
STARTING_SECONDS = 20.0
"""A folder without process.json younger than this is being started; older, its start was cut off."""


@dataclass(frozen=True)
class Spec:
    name: str
    kind: str
    user: str
    image: str = ""
    home: str = ""
    memory: int = 0
    cpu: float = 0.0
    port: int = 0
    port_group: str = ""
    socket_inode: int = 0
    """Inode of the listening socket where its state tells readiness; 0 where nothing must listen."""
    accelerator: str = ""
    devices: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    uid: int | None = None
    mode: str = ""
    scratch: str = ""
    cgroups: tuple[str, ...] = ()
    grace_seconds: float = 10.0
    created_at: str = ""


@dataclass(frozen=True)
class Process:
    """``start_ticks`` (field 22 of /proc/PID/stat) and the boot tell a reused pid from ours."""

    pid: int
    start_ticks: int
    boot_id: str
    started_at: str


@dataclass(frozen=True)
class Exit:
    """``ended_at`` is "" where nobody saw the end."""

    exit_code: int
    ended_at: str
    reason: str = ""

    @property
    def moment(self) -> datetime | None:
        return datetime.fromisoformat(self.ended_at) if self.ended_at else None


@dataclass(frozen=True)
class Record:
    folder: Path
    spec: Spec
    process: Process | None = None
    exit: Exit | None = None
    notice: str = ""
    written_at: float = field(default=0.0, compare=False)

    @property
    def is_running(self) -> bool:
        return self.exit is None and self.process is not None and is_alive(self.process)

    @property
    def is_starting(self) -> bool:
        return self.process is None and self.exit is None and time.time() - self.written_at < STARTING_SECONDS


def find_record(folder: Path) -> Record | None:
    """None when nothing (readable) is there."""
    spec = _read(folder / "spec.json")
    if spec is None:
        return None
    for name in ("devices", "cpus", "cgroups"):
        spec[name] = tuple(spec.get(name, ()))
    process, ended, notice = (_read(folder / f"{name}.json") for name in ("process", "exit", "notice"))
    with contextlib.suppress(OSError):
        return Record(
            folder,
            Spec(**{key: value for key, value in spec.items() if key in Spec.__dataclass_fields__}),
            Process(**process) if process else None,
            Exit(**ended) if ended else None,
            str((notice or {}).get("text", "")),
            (folder / "spec.json").stat().st_mtime,
        )
    return None


def all_records(workloads: Path) -> list[Record]:
    found = [find_record(folder) for folder in sorted(workloads.iterdir())] if workloads.is_dir() else []
    return [record for record in found if record]


def running_records(workloads: Path) -> list[Record]:
    """Those that run, without reading the many that ended."""
    folders = sorted(workloads.iterdir()) if workloads.is_dir() else []
    found = [find_record(folder) for folder in folders if not _has_ended(folder)]
    return [record for record in found if record and record.is_running]


def _has_ended(folder: Path) -> bool:
    try:
        return (folder / "exit.json").stat().st_size > 0
    except OSError:
        return False


def write_spec(folder: Path, spec: Spec) -> None:
    write_atomically(folder / "spec.json", asdict(spec))


def write_atomically(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value))
    temporary.chmod(0o600)
    temporary.replace(path)


def to_json(value: object) -> bytes:
    return json.dumps(value).encode()


def write_order(folder: Path, grace_seconds: float, reason: str) -> None:
    """In place: pid 1 holds this very file open, or will find it when it begins.

    In one write of one length, so that pid 1 never reads half of an order that replaces another.
    """
    order = json.dumps({"grace_seconds": grace_seconds, "reason": reason[:LONGEST_REASON]})
    fd = os.open(folder / "stop.json", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, order.encode().ljust(ORDER_BYTES), 0)
    finally:
        os.close(fd)


def write_lost_exit(record: Record) -> Exit:
    """For a workload whose pid 1 could not write its end: it was killed from outside, or the machine went down.

    When is not known; whoever watched it knows when it was last seen.
    """
    process = record.process
    restarted = process is not None and process.boot_id != boot_id()
    reason = "the machine was restarted" if restarted else "killed from outside" if process else "its start was cut off"
    ended = Exit(137, "", reason)
    path = record.folder / "exit.json"
    with contextlib.suppress(OSError):
        if not path.exists() or path.stat().st_size == 0:
            write_atomically(path, asdict(ended))
    return ended


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def describe_process(pid: int, proc: int | None = None) -> Process:
    """Raises OSError when it has ended. ``proc`` is an open /proc for callers whose root may change under them."""
    return Process(pid, start_ticks(pid, proc) or 0, boot_id(), datetime.now(UTC).isoformat())


def is_alive(process: Process) -> bool:
    return process.boot_id == boot_id() and start_ticks(process.pid) == process.start_ticks


def start_ticks(pid: int, proc: int | None = None) -> int | None:
    """Jiffies after boot at which ``pid`` started; None when it has ended (or only waits to be reaped)."""
    try:
        fd = os.open(f"{pid}/stat" if proc is not None else f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            fields = os.read(fd, 4096).rpartition(b")")[2].split()
        finally:
            os.close(fd)
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
