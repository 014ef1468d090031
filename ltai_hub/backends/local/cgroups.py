"""CPU and memory limits by the kernel, where the fork server may make cgroups below its own (v1 as root, v2 when delegated)."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "pids")
SEPARATE_CONTROLLERS = ("memory", "cpu")
"""With v1 every controller is a hierarchy of its own, and entering one costs some 4 ms; RLIMIT_NPROC does for pids."""
PERIOD = 100_000


@dataclass(frozen=True)
class Group:
    """Descriptors for the child: it writes 0 to ``procs`` and so enters; ``oom_counters`` tell memory kills."""

    folders: tuple[str, ...] = ()
    procs: tuple[int, ...] = ()
    oom_counters: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cgroups:
    """``parents``: our folder in each hierarchy; with v2 the same folder serves all controllers."""

    version: int
    parents: dict[str, Path]

    def describe(self) -> str:
        return f"cgroup v{self.version}: {', '.join(sorted(self.parents))}"

    def make_group(self, name: str, cpu: float, memory: int, processes: int) -> Group:
        folders: dict[str, Path] = {}
        counters = []
        for controller, parent in self.parents.items():
            folder = parent / name
            folder.mkdir(parents=True, exist_ok=True)
            folders[str(folder)] = folder
            for file, value in limits(self.version, controller, cpu, memory, processes).items():
                with contextlib.suppress(OSError):  # swap accounting is often off
                    (folder / file).write_text(value)
            if controller == "memory" and memory:
                counters.append(
                    os.open(folder / ("memory.events" if self.version == 2 else "memory.oom_control"), os.O_RDONLY | os.O_CLOEXEC)
                )
        procs = [os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in folders.values()]
        return Group(tuple(folders), tuple(procs), tuple(counters))


def limits(version: int, controller: str, cpu: float, memory: int, processes: int) -> dict[str, str]:
    """Files and values of one controller. Order matters: v1 wants the memory limit before memory plus swap."""
    quota, shares = str(int(cpu * PERIOD)), max(2, int(cpu * 1024))
    if controller == "memory" and memory:
        v1 = {"memory.limit_in_bytes": str(memory), "memory.memsw.limit_in_bytes": str(memory)}
        return v1 if version == 1 else {"memory.max": str(memory), "memory.swap.max": "0"}
    if controller == "cpu" and cpu:
        v1 = {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": quota, "cpu.shares": str(shares)}
        return v1 if version == 1 else {"cpu.max": f"{quota} {PERIOD}", "cpu.weight": str(min(10_000, max(1, int(cpu * 100))))}
    if controller == "pids" and processes:
        return {"pids.max": str(processes)}
    return {}


def remove_groups(folders: tuple[str, ...], cgroups: Cgroups | None) -> None:
    """Of an ended workload; and the folder above when an earlier fork server, started elsewhere, made it."""
    ours = {str(parent) for parent in cgroups.parents.values()} if cgroups else set()
    for folder in folders:
        parent = os.path.dirname(folder)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
            if parent not in ours:
                os.rmdir(parent)


def remove_empty_groups(cgroups: Cgroups) -> None:
    for parent in set(cgroups.parents.values()):
        if parent.is_dir():
            remove_groups(tuple(str(folder) for folder in parent.iterdir() if folder.is_dir()), cgroups)
        with contextlib.suppress(OSError):
            parent.rmdir()


def find_cgroups(data: str) -> Cgroups | None:
    """Our own folders in every hierarchy we may write; None when there is none with memory or cpu."""
    name = "ltai-" + hashlib.sha256(data.encode()).hexdigest()[:8]
    found = _find_v2(name) or _find_v1(name)
    return found if found and {"memory", "cpu"} & set(found.parents) else None


def _find_v1(name: str) -> Cgroups | None:
    parents = {}
    for controller in SEPARATE_CONTROLLERS:
        own = _own_folder(controller)
        with contextlib.suppress(OSError):
            if own is not None:
                (own / name).mkdir(exist_ok=True)
                if os.access(own / name / "cgroup.procs", os.W_OK):
                    parents[controller] = own / name
    return Cgroups(1, parents) if parents else None


def _find_v2(name: str) -> Cgroups | None:
    """Processes may be only in leaves: ours move into a leaf of their own before controllers are handed down."""
    own = _own_folder("")
    if own is None:
        return None
    try:
        available = set((own / "cgroup.controllers").read_text().split()) & set(CONTROLLERS)
        if not available:
            return None
        parent = own / name
        parent.mkdir(exist_ok=True)
        wanted = " ".join(f"+{controller}" for controller in available)
        try:
            (own / "cgroup.subtree_control").write_text(wanted)
        except OSError:
            _move_into_leaf(own)
            (own / "cgroup.subtree_control").write_text(wanted)
        (parent / "cgroup.subtree_control").write_text(wanted)
    except OSError:
        return None
    return Cgroups(2, dict.fromkeys(sorted(available), parent))


def _move_into_leaf(own: Path) -> None:
    leaf = own / "platform"
    leaf.mkdir(exist_ok=True)
    for pid in (own / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)


def _own_folder(controller: str) -> Path | None:
    """Folder of our own cgroup: its path in /proc/self/cgroup below the hierarchy's mount ('' is v2)."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") and (place := _mount_of(controller)):
            root, point = place
            relative = path.removeprefix(root) if root != "/" else path
            return Path(point) / relative.lstrip("/")
    return None


def _mount_of(controller: str) -> tuple[str, str] | None:
    """(root, mount point) of a hierarchy, from /proc/self/mountinfo."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if (not controller and kind == "cgroup2") or (controller and kind == "cgroup" and controller in options.split(",")):
            fields = before.split()
            return fields[3], fields[4]
    return None
