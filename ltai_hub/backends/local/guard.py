"""pid 1 of a workload: reaps, forwards signals, watches memory, and writes how it all ended.

It holds open descriptors of the workload's files, so exit code, reason and time are right
even when every process of the platform was killed meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from ltai_hub.backends.local import memory
from ltai_hub.backends.local.full import written
from ltai_hub.backends.local.syscalls import close_all_but
from ltai_hub.units import format_bytes

SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
FAR, NEAR = 0.25, 0.1
"""Seconds between two looks at the memory, below and above half the limit: a fast allocator takes 4 GB in a second."""
RECENT = 10.0
"""Seconds after a memory kill in which a failing end is put down to it (a shell leaves a moment after its child)."""

AGAIN = 0.5
"""Seconds between two tries to write the end on a full disk."""


@dataclass(frozen=True)
class GuardFiles:
    """Descriptors opened before the confinement."""

    exit: int
    control: int
    notice: int
    oom_counters: tuple[int, ...] = ()

    def all(self) -> set[int]:
        return {self.exit, self.control, self.notice, *self.oom_counters}


@dataclass(frozen=True)
class GuardLimits:
    memory: int = 0
    grace_seconds: float = 10.0
    shm: str = ""
    """Folder of the workload's own shared memory; empty where it is the machine's."""
    owns_pids: bool = True
    """True in a pid namespace, where everything but pid 1 belongs to the workload."""


class Guard:
    def __init__(self, files: GuardFiles, limits: GuardLimits) -> None:
        self.files = files
        self.limits = limits
        self.program = 0
        self.stop_reason = ""
        self.kill_at = 0.0
        self.memory_kill_at = -RECENT
        self.oom_kills = self.count_oom_kills()
        self.next_look = 0.0

    def run(self, program: int, keep: set[int]) -> NoReturn:
        """Never returns; leaving pid 1 ends whatever is left inside."""
        self.program = program
        close_all_but({0, 1, 2, *self.files.all(), *keep})
        if self.read_order():  # stopped while it was starting
            self.on_signal(signal.SIGTERM)
        while True:
            received = signal.sigtimedwait(SIGNALS, self.seconds_to_wait())
            if received and received.si_signo != signal.SIGCHLD:
                self.on_signal(received.si_signo)
            self.reap()
            if self.kill_at and time.monotonic() >= self.kill_at:
                self.kill_all()
                self.kill_at = time.monotonic() + 1
            if time.monotonic() >= self.next_look:
                self.next_look = time.monotonic() + self.look_at_memory()

    def seconds_to_wait(self) -> float:
        deadlines = [self.next_look, *([self.kill_at] if self.kill_at else [])]
        return max(0.0, min(deadlines) - time.monotonic())

    def on_signal(self, number: int) -> None:
        if number == signal.SIGTERM and (order := self.read_order()):
            grace = float(str(order.get("grace_seconds", self.limits.grace_seconds)))
            self.stop_reason = str(order.get("reason") or "stopped")
            deadline = time.monotonic() + grace
            self.kill_at = min(self.kill_at or deadline, deadline)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.program, number)

    def read_order(self) -> dict[str, object]:
        """What the platform wrote into ``stop.json``; empty when the signal came from inside."""
        try:
            order = json.loads(os.pread(self.files.control, 4096, 0) or b"{}")
        except ValueError:
            return {}
        return order if isinstance(order, dict) else {}

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.program:
                self.finish(os.waitstatus_to_exitcode(status))

    def finish(self, status: int) -> NoReturn:
        code = status if status >= 0 else 128 - status
        self.notice_oom_kills()
        end = {"exit_code": code, "ended_at": datetime.now(UTC).isoformat(), "reason": self.reason_of(status)}
        while not written(self.files.exit, json.dumps(end).encode()):
            self.kill_all()
            time.sleep(AGAIN)
        if not self.limits.owns_pids:
            self.kill_all()
        os._exit(code)

    def reason_of(self, status: int) -> str:
        if self.stop_reason:
            return self.stop_reason
        if status and time.monotonic() - self.memory_kill_at < RECENT:
            return f"killed: {self.over_limit()}"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"ended by signal {-status}"
        return f"exit code {status}" if status else ""

    def over_limit(self) -> str:
        return f"over its memory limit of {format_bytes(self.limits.memory)}"

    def pids(self) -> list[int]:
        if self.limits.owns_pids:
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return memory.descendants(os.getpid())

    def kill_all(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.limits.owns_pids:
                os.kill(-1, signal.SIGKILL)
        for pid in [] if self.limits.owns_pids else self.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def look_at_memory(self) -> float:
        """Kill the largest process while the tree is over the limit; seconds until the next look."""
        if not self.limits.memory:
            return 3600.0
        if self.files.oom_counters:  # the kernel enforces the limit; only say so
            self.notice_oom_kills()
            return 1.0
        try:
            return self.enforce_memory()
        except OSError:
            return FAR

    def enforce_memory(self) -> float:
        sizes = {pid: memory.resident(pid) for pid in self.pids()}
        total = sum(sizes.values()) + (memory.tmpfs_used(self.limits.shm) if self.limits.shm else 0)
        if total <= self.limits.memory:
            return FAR if total < self.limits.memory / 2 else NEAR
        used = memory.tree_share(list(sizes), self.limits.shm)
        if used > self.limits.memory and sizes:
            victim = max(sizes, key=lambda pid: sizes[pid])
            self.on_memory_kill(f"process {victim} ({_name_of(victim)}) killed: {self.over_limit()}, it used {format_bytes(used)}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        return NEAR

    def notice_oom_kills(self) -> None:
        if self.files.oom_counters and (count := self.count_oom_kills()) > self.oom_kills:
            self.oom_kills = count
            self.on_memory_kill(f"a process was killed: {self.over_limit()}")

    def count_oom_kills(self) -> int:
        text = b"".join(os.pread(fd, 4096, 0) for fd in self.files.oom_counters).decode()
        return sum(int(count) for count in re.findall(r"^oom_kill (\d+)", text, re.MULTILINE))

    def on_memory_kill(self, text: str) -> None:
        self.memory_kill_at = time.monotonic()
        with contextlib.suppress(OSError):
            os.write(2, f"\n[ltai] {text}\n".encode())
        notice = json.dumps({"at": datetime.now(UTC).isoformat(), "text": text}).encode()
        os.ftruncate(self.files.notice, 0)
        written(self.files.notice, notice)


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return "?"
