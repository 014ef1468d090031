"""What a workload gets of this machine: accelerators, a port, a cgroup, cores, an account. Decided by the fork server alone."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ltai_hub.backends.local.cgroups import Cgroups, Group
from ltai_hub.backends.local.connection import BACKLOG
from ltai_hub.backends.local.devices import Device, pick_devices
from ltai_hub.backends.local.launch import Machine, process_limit
from ltai_hub.backends.local.plan import Mode
from ltai_hub.backends.local.records import Spec
from ltai_hub.backends.local.request import Header
from ltai_hub.backends.local.uids import Uids
from ltai_hub.errors import BadWorkload, NoCapacity, TryLater


@dataclass(frozen=True)
class Shares:
    """``running`` is the fork server's own, seen here as it changes."""

    workloads: Path
    devices: list[Device]
    cgroups: Cgroups | None
    machine: Machine
    uids: Uids | None
    running: dict[str, Spec]

    def take_devices(self, header: Header) -> tuple[Device, ...]:
        """Raises NoCapacity when they are held by others, BadWorkload when this machine never has so many."""
        kind, count = header.accelerator, header.accelerator_count
        if not count:
            return ()
        owned = pick_devices(self.devices, set(), kind, count)
        if len(owned) < count:
            raise BadWorkload(
                f"{header.name} asked for {count} accelerators of kind {kind!r}, but this machine has {len(owned)}; choose another flavor"
            )
        free = pick_devices(self.devices, self.taken_devices(), kind, count)
        if len(free) < count:
            total = sum(device.is_of(kind) for device in self.devices)
            raise NoCapacity(f"{count} of kind {kind!r} asked for, {len(free)} of {total} free; it starts when others end")
        return free

    def taken_devices(self) -> set[str]:
        return {index for spec in self.running.values() for index in spec.devices}

    def bind_port(self, header: Header) -> socket.socket:
        """Bound before the fork: no race for the port, and it works from inside a private net namespace.

        A port shared by several instances is not listening yet: only instances that call listen() get connections.
        """
        group = header.port_group
        number = header.port_number or next((spec.port for spec in self.running.values() if group and spec.port_group == group), 0)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if group or number:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        elif header.main == "notebook":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", number))
        except OSError as problem:
            sock.close()
            raise TryLater(f"port {number} for {header.name} is taken: {problem.strerror}") from problem
        if header.main == "notebook":
            sock.listen(BACKLOG)
        return sock

    def make_group(self, header: Header) -> Group:
        if not self.cgroups:
            return Group()
        try:
            return self.cgroups.make_group(header.name, header.cpu, header.memory, process_limit(header.memory))
        except OSError as problem:
            print(f"no cgroup for {header.name}: {problem}", file=sys.stderr, flush=True)
            return Group()

    def make_spec(self, header: Header, devices: tuple[Device, ...], listening: socket.socket | None, group: Group) -> Spec:
        kept = {
            name: getattr(header, name)
            for name in ("name", "kind", "user", "image", "home", "memory", "cpu", "port_group", "grace_seconds")
        }
        own_tmp = self.machine.mode is Mode.NAMESPACES
        scratch = (
            str(self.workloads / header.name / "tmp") if own_tmp else f"/tmp/ltai-{os.getpid()}-{len(self.running)}-{os.urandom(4).hex()}"
        )
        return Spec(
            **kept,
            port=listening.getsockname()[1] if listening else 0,
            socket_inode=os.fstat(listening.fileno()).st_ino if listening and header.main != "notebook" else 0,
            accelerator=header.accelerator if devices else "",
            devices=tuple(device.index for device in devices),
            cpus=() if self.cgroups and "cpu" in self.cgroups.parents else self.pick_cpus(header.cpu),
            uid=self.uids.number_of(header.user) if self.uids else None,
            mode=str(self.machine.mode),
            scratch=scratch,
            cgroups=group.folders,
            created_at=datetime.now(UTC).isoformat(),
        )

    def pick_cpus(self, cpu: float) -> tuple[int, ...]:
        """The least promised cores, where no cgroup can bound the CPU."""
        every = sorted(os.sched_getaffinity(0))
        count = max(1, -int(-cpu // 1))
        if not cpu or count >= len(every):
            return ()
        promised = {core: sum(core in spec.cpus for spec in self.running.values()) for core in every}
        return tuple(sorted(sorted(every, key=lambda core: promised[core])[:count]))
