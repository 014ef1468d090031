"""A backend in memory with the promises of the seam: for fast tests, and for trying the platform without starting anything.

Programs are Python functions of ``FakeProcess``; by default a workload runs until it is stopped or ``finish``ed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ltai_hub.backends.base import (
    AcceleratorUse,
    AddsReplicas,
    Backend,
    HasQueue,
    KnowsCapacity,
    MeasuresUse,
    Observed,
    PublishesPorts,
    RunsContainers,
    RunsTogether,
    SpansClusters,
    State,
    TenantShare,
    Use,
    explain_lack,
)
from ltai_hub.domain.quotas import can_be_guaranteed
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.errors import BadWorkload, NoCapacity
from ltai_hub.settings import Settings
from ltai_hub.units import utc_now

KIND, MEMORY = "simulated-gpu", 16 << 30
FIRST_PORT = 40_000


@dataclass
class FakeProcess:
    """One replica. A program may write to ``log`` and call ``finish``."""

    workload: Workload
    started_at: datetime
    port: int = 0
    devices: tuple[str, ...] = ()
    log: bytearray = field(default_factory=bytearray)
    exit_code: int | None = None
    reason: str = ""
    ended_at: datetime | None = None
    clock: Callable[[], datetime] = utc_now

    def finish(self, exit_code: int, reason: str = "") -> None:
        if self.exit_code is None:
            self.exit_code, self.ended_at = exit_code, self.clock()
            self.reason = reason or (f"exit code {exit_code}" if exit_code else "")


class FakeBackend(Backend, MeasuresUse, KnowsCapacity, PublishesPorts):
    """``program`` runs when a replica starts; ``accelerator_count`` simulated cards are handed out exclusively."""

    def __init__(
        self,
        settings: Settings | None = None,
        program: Callable[[FakeProcess], None] = lambda process: None,
        accelerators: int | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.program = program
        self.accelerator_count = accelerators if accelerators is not None else settings.simulated_gpus if settings else 0
        self.clock = clock
        self.workloads: dict[str, list[FakeProcess]] = {}
        self.ports = 0

    async def start(self, workload: Workload) -> State:
        if workload.name not in self.workloads:
            if not workload.command:
                raise BadWorkload(f"{workload.name} has no command")
            port = self.next_port() if workload.port else 0
            self.workloads[workload.name] = []
            try:
                for _ in range(workload.replicas):
                    process = FakeProcess(workload, self.clock(), port, self.take_devices(workload), clock=self.clock)
                    self.workloads[workload.name].append(process)
            except (NoCapacity, BadWorkload):
                del self.workloads[workload.name]
                raise
            for process in self.workloads[workload.name]:
                self.program(process)
        return {"name": workload.name}

    async def find(self, kind: Kind, name: str, tenant: str) -> State | None:
        return {"name": name} if name in self.workloads else None

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        return [self.observe_one(self.processes(state)) for state in states]

    async def stop(self, state: State, grace_seconds: float = 10.0) -> None:
        for process in self.processes(state):
            process.finish(143, "stopped")

    async def forget(self, state: State) -> None:
        if all(process.exit_code is not None for process in self.processes(state)):
            self.workloads.pop(state["name"], None)

    async def logs(self, state: State, replica: int = 0, follow: bool = False, offset: int = 0) -> AsyncIterator[bytes]:
        for process in self.processes(state)[replica : replica + 1]:
            while True:
                ended = process.exit_code is not None
                if chunk := bytes(process.log[offset:]):
                    offset += len(chunk)
                    yield chunk
                if ended or not follow:
                    return
                await asyncio.sleep(0.01)

    async def measure(self, states: Sequence[State]) -> list[Use | None]:
        return [self.measure_one(self.processes(state)) for state in states]

    async def accelerators(self) -> list[AcceleratorUse]:
        taken = self.taken_devices()
        return [fake_use(str(i), str(i) in taken) for i in range(self.accelerator_count)]

    async def fits(self, resources: Resources, replicas: int = 1) -> str:
        there = self.accelerator_count if resources.accelerator == KIND else 0
        all_there = {KIND: self.accelerator_count} if self.accelerator_count else {}
        return explain_lack(resources.accelerator, resources.accelerator_count * replicas, there, all_there)

    def finish(self, name: str, exit_code: int, reason: str = "") -> None:
        """End every replica of a workload, as if its program had."""
        for process in self.workloads[name]:
            process.finish(exit_code, reason)

    def vanish(self, name: str) -> None:
        """As after a lost machine: nothing is known of it any more."""
        self.workloads.pop(name, None)

    def processes(self, state: State) -> list[FakeProcess]:
        return self.workloads.get(state.get("name", ""), [])

    def observe_one(self, processes: list[FakeProcess]) -> Observed:
        if not processes:
            return Observed(Phase.GONE, "nothing is known of it any more")
        running = [process for process in processes if process.exit_code is None]
        failed = [process for process in processes if process.exit_code]
        telling = (failed or running or processes)[0]
        phase = Phase.FAILED if failed else Phase.RUNNING if running else Phase.SUCCEEDED
        addresses = tuple(f"127.0.0.1:{process.port}" for process in running if process.port)
        devices = tuple(index for process in processes for index in process.devices)
        return Observed(phase, telling.reason, telling.exit_code, processes[0].started_at, telling.ended_at, addresses, devices)

    def measure_one(self, processes: list[FakeProcess]) -> Use | None:
        running = [process for process in processes if process.exit_code is None]
        if not running:
            return None
        resources = running[0].workload.resources
        cards = tuple(fake_use(index, True) for process in running for index in process.devices)
        return Use(resources.cpu * len(running) / 2, resources.memory * len(running) // 2, resources.disk // 2, cards)

    def take_devices(self, workload: Workload) -> tuple[str, ...]:
        kind, count = workload.resources.accelerator, workload.resources.accelerator_count
        total = self.accelerator_count if kind == KIND else 0
        if count > total:
            raise BadWorkload(f"{workload.name} asked for {count} accelerators of kind {kind!r}, but this machine has {total}")
        free = [str(i) for i in range(total) if str(i) not in self.taken_devices()]
        if count > len(free):
            raise NoCapacity(f"{count} of kind {kind!r} asked for, {len(free)} of {total} free; it starts when others end")
        return tuple(free[:count])

    def taken_devices(self) -> set[str]:
        return {index for group in self.workloads.values() for process in group if process.exit_code is None for index in process.devices}

    def next_port(self) -> int:
        self.ports += 1
        return FIRST_PORT + self.ports


def fake_use(index: str, busy: bool) -> AcceleratorUse:
    return AcceleratorUse(
        index,
        f"Simulated GPU {index}",
        utilisation=60.0 if busy else 0.0,
        memory_used=MEMORY // 2 if busy else 0,
        memory_total=MEMORY,
        fan=40.0,
        temperature=55.0,
        power=150.0,
        simulated=True,
    )


class FakeCluster(FakeBackend, HasQueue, RunsContainers, RunsTogether, SpansClusters, AddsReplicas):
    """A backend with a queue of its own: what is started waits until it is ``admit``ted, and may be ``preempt``ed."""

    def __init__(self, settings: Settings | None = None, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(settings, clock=clock)
        self.queue: list[str] = []
        self.why = "1 more nvidia.com/gpu is needed"
        self.shares: Sequence[TenantShare] = ()
        self.unmeasured = ""
        # name → since when its node is lost; it begins again when it is taken out
        self.lost: dict[str, datetime] = {}
        self.others: tuple[str, ...] = ()
        # name → what is said of the cluster it is in
        self.said: dict[str, str] = {}

    async def start(self, workload: Workload) -> State:
        known = workload.name in self.workloads
        state = await super().start(workload)
        if not known:
            self.queue.append(workload.name)
        return state

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        return [self.in_queue(state.get("name", ""), seen) for state, seen in zip(states, await super().observe(states), strict=True)]

    async def stop(self, state: State, grace_seconds: float = 10.0) -> None:
        if state.get("name") in self.queue:
            self.queue.remove(state["name"])
        await super().stop(state, grace_seconds)

    async def replace(self, state: State, workload: Workload) -> State:
        group = self.workloads[state["name"]]
        group[0].workload = workload
        self.scale(state["name"], min(max(len(group), workload.replicas), workload.most_replicas or workload.replicas))
        return state

    def scale(self, name: str, replicas: int) -> None:
        """As load or its end does."""
        process = self.workloads[name][0]
        self.workloads[name] = [FakeProcess(process.workload, self.clock(), process.port, clock=self.clock) for _ in range(replicas)]

    async def why_none_added(self) -> str:
        return self.unmeasured

    def decides(self, resource: str) -> bool:
        return can_be_guaranteed(resource)

    def clusters(self) -> Sequence[str]:
        return self.others

    async def fits_anywhere(self, resources: Resources, replicas: int = 1) -> str:
        return "" if self.others else await self.fits(resources, replicas)

    async def only_wait(self, states: Sequence[State]) -> list[bool]:
        return [seen.phase is Phase.QUEUED for seen in await self.observe(states)]

    async def mirror(self, shares: Sequence[TenantShare]) -> Mapping[str, str]:
        self.shares = shares
        return {}

    def in_queue(self, name: str, seen: Observed) -> Observed:
        if name in self.queue and seen.phase is Phase.RUNNING:
            return Observed(Phase.QUEUED, self.why, position=self.queue.index(name) + 1)
        if name in self.lost and seen.phase is Phase.RUNNING:
            return Observed(Phase.STARTING, "its node does not answer any more", ended_at=self.lost[name])
        if seen.phase is Phase.RUNNING:
            return replace(seen, ready=len(self.workloads[name]), addresses=seen.addresses[:1], reason=self.said.get(name, seen.reason))
        return seen

    def admit(self, name: str) -> None:
        self.queue.remove(name)
        for process in self.workloads[name]:
            process.started_at = self.clock()

    def preempt(self, name: str) -> None:
        self.queue.append(name)
