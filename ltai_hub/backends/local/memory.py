"""Memory of a process tree, read from /proc. Cheap upper bound first, exact shares only when asked."""

from __future__ import annotations

import os

KIB = 1024


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    except OSError:
        pass
    return found


def descendants(root: int) -> list[int]:
    """Everything below ``root``, without it."""
    found, todo = [], children_of(root)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children_of(pid)
    return found


def resident(pid: int) -> int:
    """Bytes of anonymous and shared memory; pages shared after a fork are counted in every process."""
    return _sum_fields(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:"))


def share(pid: int) -> tuple[int, int]:
    """(anonymous, shared) bytes, each page divided by the number of processes that map it. Some 0.3 ms a process."""
    path = f"/proc/{pid}/smaps_rollup"
    return _sum_fields(path, ("Pss_Anon:",)), _sum_fields(path, ("Pss_Shmem:",))


def tmpfs_used(path: str) -> int:
    """Bytes in a tmpfs: memory that no process's own figures show."""
    try:
        volume = os.statvfs(path)
    except OSError:
        return 0
    return (volume.f_blocks - volume.f_bfree) * volume.f_frsize


def tree_share(pids: list[int], shm: str) -> int:
    """Exact bytes of the processes and of the files in their ``shm`` folder."""
    shares = [share(pid) for pid in pids]
    return sum(anonymous for anonymous, _ in shares) + max(sum(shared for _, shared in shares), tmpfs_used(shm) if shm else 0)


def _sum_fields(path: str, names: tuple[str, ...]) -> int:
    total = 0
    try:
        for line in _read(path).splitlines():
            if line.startswith(names):
                total += int(line.split()[1]) * KIB
    except OSError:
        return 0
    return total


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16).decode(errors="replace")
    finally:
        os.close(fd)
