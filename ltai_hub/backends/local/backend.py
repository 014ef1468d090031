"""The local backend: the seam of ``ltai_hub.backends.base`` on top of the fork server and the run folder."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ltai_hub.backends.base import AcceleratorUse, Backend, KnowsCapacity, MeasuresUse, Observed, PublishesPorts, State, Use
from ltai_hub.backends.local import records, usage
from ltai_hub.backends.local.client import PORT_GROUP, ForkServer
from ltai_hub.backends.local.devices import Device, lacking, measure_devices, read_devices
from ltai_hub.backends.local.full import disk_is_full, is_full
from ltai_hub.backends.local.records import Record
from ltai_hub.catalog.files import copy_into_home
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.errors import Problem
from ltai_hub.settings import Settings

LISTENING = "0A"
LOG_POLL_SECONDS = 0.2
CHUNK = 1 << 16


class LocalBackend(Backend, MeasuresUse, KnowsCapacity, PublishesPorts):
    """State: {"replicas": [{"name", "port"}, …]}."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.folder
        self.forks = ForkServer(self.folder, loopback_ports(settings.hub_api_url, settings.public_url))
        self.cpu = usage.CpuMeter()
        self.disk = usage.DiskMeter()
        self.machine_cpu = usage.machine_cpu()

    async def start(self, workload: Workload) -> State:
        if workload.copies:
            try:
                await asyncio.to_thread(self.copy_files, workload)
            except OSError as problem:
                raise disk_is_full() if is_full(problem) else problem from problem
        started: list[State] = []
        group = workload.env.get(PORT_GROUP, workload.name if workload.replicas > 1 else "")
        try:
            for name in replica_names(workload):
                started.append(await self.forks.start_command(workload, name, group))
        except Problem:
            for state in started:  # all or none
                await self.forks.stop(state, now=True)
                await self.forks.wait(state, 2.0)
                await self.forks.forget(state)
            raise
        return {"replicas": started}

    def copy_files(self, workload: Workload) -> None:
        """It may be the first thing a person runs: a home made here is given to its owner by the fork server."""
        home = Path(workload.home)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = home.stat()
        copy_into_home(self.folder, workload.copies, home, owner.st_uid, owner.st_gid)

    async def find(self, kind: Kind, name: str, tenant: str) -> State | None:
        """Of one replica, which is all that jobs and endpoints start under a name here."""
        record = self.forks.find({"name": name})
        return {"replicas": [{"name": name, "port": record.spec.port}]} if record else None

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        listening = listening_inodes()
        return [observed_together([observed_one(self.forks.find(one), listening) for one in replicas_of(state)]) for state in states]

    async def stop(self, state: State, grace_seconds: float = 10.0) -> None:
        for one in replicas_of(state):
            await self.forks.stop(one, grace_seconds)

    async def forget(self, state: State) -> None:
        for one in replicas_of(state):
            await self.forks.forget(one)

    async def logs(self, state: State, replica: int = 0, follow: bool = False, offset: int = 0) -> AsyncIterator[bytes]:
        replicas = replicas_of(state)
        if replica >= len(replicas):
            return
        path = self.forks.workload_folder(replicas[replica]) / "log"
        while True:
            ended = await self.forks.poll(replicas[replica]) is not None  # asked before reading: what it wrote last is read below
            while chunk := read_at(path, offset):
                offset += len(chunk)
                yield chunk
            if ended or not follow:
                return
            await asyncio.sleep(LOG_POLL_SECONDS)

    async def measure(self, states: Sequence[State]) -> list[Use | None]:
        return await asyncio.to_thread(lambda: [self.measure_one(state) for state in states])

    async def accelerators(self) -> list[AcceleratorUse]:
        return await asyncio.to_thread(lambda: measure_devices(self.devices(), self.taken_devices(), time.time()))

    async def fits(self, resources: Resources, replicas: int = 1) -> str:
        return await asyncio.to_thread(lacking, self.folder, resources, replicas)

    def measure_one(self, state: State) -> Use | None:
        found = [self.forks.find(one) for one in replicas_of(state)]
        running = [record for record in found if record and record.is_running]
        if not running:
            return None
        taken = {index for record in running for index in record.spec.devices}
        devices = [device for device in self.devices() if device.index in taken]
        return Use(
            cpu=sum(self.cores_of(record) for record in running),
            memory=sum(usage.tree_memory(usage.tree(pid_of(record))) for record in running),
            disk=self.disk.bytes_of(running[0].spec.home) if running[0].spec.home else 0,
            accelerators=tuple(measure_devices(devices, taken, time.time())),
        )

    def cores_of(self, record: Record) -> float:
        return self.cpu.cores(record.spec.name, usage.cpu_seconds(usage.tree(pid_of(record))), time.monotonic())

    def devices(self) -> list[Device]:
        return read_devices(self.folder) or []

    def taken_devices(self) -> set[str]:
        return {index for record in records.running_records(self.folder.workloads) for index in record.spec.devices}

    def isolation(self) -> dict[str, Any]:
        """{"mode", "network", "limits", "missing": [sentences]} as the fork server found it."""
        found: dict[str, Any] = _read_json(self.folder.run / "isolation.json", {})
        return found or {"mode": "none", "network": "shared", "limits": "", "missing": ["The fork server has not been started yet."]}

    async def capacity(self) -> dict[str, dict[str, float]]:
        """{"cpu"|"memory"|"disk": {"used", "total"}} of this machine; cores and bytes, cpu since the previous call."""
        before, self.machine_cpu = self.machine_cpu, usage.machine_cpu()
        busy, passed = (now - then for now, then in zip(self.machine_cpu, before, strict=True))
        cores = os.cpu_count() or 1
        memory, disk = usage.machine_memory(), usage.machine_disk(self.folder.root)
        return {
            "cpu": {"used": round(busy / passed * cores, 2) if passed else 0.0, "total": cores},
            "memory": {"used": memory[0], "total": memory[1]},
            "disk": {"used": disk[0], "total": disk[1]},
        }

    def node_name(self) -> str:
        return socket.gethostname()


def replica_names(workload: Workload) -> list[str]:
    return [workload.name] if workload.replicas <= 1 else [f"{workload.name}-{i}" for i in range(workload.replicas)]


def replicas_of(state: State) -> list[State]:
    """Also takes the state the hub's spawner keeps, which is one process."""
    replicas: list[State] = state.get("replicas", [state] if "name" in state else [])
    return replicas


def observed_one(record: Record | None, listening: set[int]) -> Observed:
    if record is None:
        return Observed(Phase.GONE, "nothing is known of it any more")
    if record.is_starting:
        return Observed(Phase.STARTING, devices=record.spec.devices)
    started = datetime.fromisoformat(record.process.started_at) if record.process else None
    if not record.is_running:
        ended = record.exit or (records.find_record(record.folder) or record).exit or records.write_lost_exit(record)
        phase = Phase.SUCCEEDED if ended.exit_code == 0 else Phase.FAILED
        return Observed(phase, ended.reason, ended.exit_code, started, ended.moment, (), record.spec.devices)
    if record.spec.socket_inode and record.spec.socket_inode not in listening:
        return Observed(Phase.STARTING, record.notice or "not listening yet", started_at=started, devices=record.spec.devices)
    address = (f"127.0.0.1:{record.spec.port}",) if record.spec.port else ()
    return Observed(Phase.RUNNING, record.notice, None, started, None, address, record.spec.devices)


def observed_together(replicas: list[Observed]) -> Observed:
    """Replicas as one: failed when one failed, done when all are, running when all are."""
    if len(replicas) == 1:
        return replicas[0]
    if not replicas:
        return Observed(Phase.GONE, "nothing is known of it any more")
    order = (Phase.FAILED, Phase.GONE, Phase.STARTING, Phase.RUNNING, Phase.SUCCEEDED)
    telling = min(replicas, key=lambda one: order.index(one.phase))
    starts = [one.started_at for one in replicas if one.started_at]
    ends = [one.ended_at for one in replicas if one.ended_at]
    return Observed(
        phase=telling.phase,
        reason=telling.reason,
        exit_code=telling.exit_code,
        started_at=min(starts, default=None),
        ended_at=max(ends) if len(ends) == len(replicas) else telling.ended_at,
        addresses=tuple(address for one in replicas for address in one.addresses),
        devices=tuple(index for one in replicas for index in one.devices),
    )


def listening_inodes() -> set[int]:
    """Inodes of all listening IPv4 TCP sockets of this net namespace."""
    with open("/proc/net/tcp") as file:
        next(file)
        rows = [line.split() for line in file]
    return {int(row[9]) for row in rows if row[3] == LISTENING}


def loopback_ports(*urls: str) -> tuple[int, ...]:
    """Ports of this machine named in the URLs; the only ones a private network lets through."""
    ports = [_port_of(url) for url in urls]
    return tuple(dict.fromkeys(port for port in ports if port))


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    if not parts.hostname:
        return 0
    return parts.port or (443 if parts.scheme == "https" else 80)


def read_at(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK)
    except OSError:
        return b""


def pid_of(record: Record) -> int:
    return record.process.pid if record.process else 0


def _read_json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return default
