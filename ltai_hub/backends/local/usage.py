"""What workloads and the machine use now, from /proc and the file system."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from ltai_hub.backends.local import memory

TICKS = os.sysconf("SC_CLK_TCK")
WALK_ENTRIES, WALK_SECONDS, DISK_FRESH_SECONDS = 50_000, 0.5, 15.0


@dataclass
class CpuMeter:
    """Cores used between two calls, for each name."""

    seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def cores(self, name: str, cpu_seconds: float, now: float) -> float:
        before, then = self.seen.get(name, (cpu_seconds, now))
        self.seen[name] = (cpu_seconds, now)
        return max(0.0, cpu_seconds - before) / (now - then) if now > then else 0.0

    def keep_only(self, names: set[str]) -> None:
        self.seen = {name: value for name, value in self.seen.items() if name in names}


@dataclass
class DiskMeter:
    """Bytes in folders, walked at most every few seconds and never for long; a huge folder gives a lower bound."""

    seen: dict[str, tuple[float, int]] = field(default_factory=dict)

    def bytes_of(self, folder: str) -> int:
        now = time.monotonic()
        at, size = self.seen.get(folder, (-DISK_FRESH_SECONDS, 0))
        if now - at >= DISK_FRESH_SECONDS:
            size = folder_bytes(folder)
            self.seen[folder] = (time.monotonic(), size)
        return size


def folder_bytes(folder: str) -> int:
    """Allocated bytes below ``folder`` on its own file system, links not followed."""
    total, entries, until = 0, 0, time.monotonic() + WALK_SECONDS
    todo = [folder]
    while todo and entries < WALK_ENTRIES and time.monotonic() < until:
        try:
            with os.scandir(todo.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def tree(init: int) -> list[int]:
    return [init, *memory.descendants(init)]


def cpu_seconds(pids: list[int]) -> float:
    """Of the processes and of those of their children that ended and were waited for."""
    return sum(_ticks(pid) for pid in pids) / TICKS


def tree_memory(pids: list[int]) -> int:
    """Bytes of anonymous and shared memory, each page counted once."""
    shares = [memory.share(pid) for pid in pids]
    shm = memory.tmpfs_used(f"/proc/{pids[0]}/root/dev/shm") if _has_own_shm(pids[0]) else 0
    return sum(anonymous for anonymous, _ in shares) + max(sum(shared for _, shared in shares), shm)


def machine_cpu() -> tuple[float, float]:
    """(busy, all) seconds of all cores since boot."""
    with open("/proc/stat") as file:
        values = [int(value) for value in file.readline().split()[1:9]]
    idle = values[3] + values[4]
    return (sum(values) - idle) / TICKS, sum(values) / TICKS


def machine_memory() -> tuple[int, int]:
    """(used, total) bytes; what the kernel can give back at once counts as free."""
    with open("/proc/meminfo") as file:
        rows = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    return rows["MemTotal"] - rows["MemAvailable"], rows["MemTotal"]


def machine_disk(folder: Path) -> tuple[int, int]:
    """(used, total) bytes of the file system ``folder`` lies on."""
    place = shutil.disk_usage(folder)
    return place.used, place.total


def _has_own_shm(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/root/dev/shm").st_dev != os.stat("/dev/shm").st_dev
    except OSError:
        return False


def _ticks(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
    except OSError:
        return 0
