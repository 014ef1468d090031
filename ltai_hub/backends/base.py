"""THE SEAM between what people asked for (rows) and what really runs (processes, pods).

Plain values in and out. ``State`` is JSON that the caller stores unread and hands back; the state machine is
the caller's (one Controller), never a backend's. Contract tests: ``tests/backends/test_contract.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.errors import BadWorkload

State = dict[str, Any]


@dataclass(frozen=True)
class Observed:
    """What a backend sees of one workload right now.

    phase      STARTING, RUNNING, SUCCEEDED, FAILED, or GONE when nothing is known of it any more (never an error);
               QUEUED where the backend has a queue of its own (``HasQueue``), also again after a preemption
    reason     one sentence for people: "killed: over its memory limit of 1 GiB", "exit code 3"; of a queued one why it waits
    position   of a queued one, 1 is next; None when it is not known
    exit_code  0–255 or 128+signal, once it ended by itself
    started_at, ended_at   UTC, as the backend recorded them (right even if the platform was down then);
               ended_at None of an ended one: nobody saw the end, the machine went down;
               ended_at of one that waits or starts again: since when it has not run
    addresses  "127.0.0.1:40001" of each ready replica when the workload asked for a port; one for all where they are scaled together
    ready      how many replicas answer, of a workload with a port
    devices    accelerator indices it holds, e.g. ("0", "1")
    """

    phase: Phase
    reason: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    addresses: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    position: int | None = None
    ready: int = 0


@dataclass(frozen=True)
class AcceleratorUse:
    """One GPU as seen now. utilisation and fan in percent, memory in bytes, temperature in °C, power in W."""

    index: str
    name: str
    utilisation: float
    memory_used: int
    memory_total: int
    fan: float | None = None
    temperature: float | None = None
    power: float | None = None
    simulated: bool = False


@dataclass(frozen=True)
class Use:
    """What a workload uses now. cpu in cores (since the previous call), memory and disk in bytes."""

    cpu: float
    memory: int
    disk: int
    accelerators: tuple[AcceleratorUse, ...] = ()


class Backend(ABC):
    """Promises: every method may be called twice; no method waits for a user's program."""

    @abstractmethod
    async def start(self, workload: Workload) -> State:
        """Return once accepted. A second call with the same name starts nothing new and returns its state.

        Raises NoCapacity (queue it), BadWorkload (final), TryLater (ask again after ``after`` seconds).
        """

    @abstractmethod
    async def find(self, kind: Kind, name: str, tenant: str) -> State | None:
        """What ``start`` made under this name, when nobody noted its answer; None when there is nothing. Raises TryLater."""

    @abstractmethod
    async def observe(self, states: Sequence[State]) -> list[Observed]:
        """Many at once, same order. What has vanished is Phase.GONE, never an error.

        Raises TryLater when it cannot look, PartlySeen when it can look at some only.
        """

    @abstractmethod
    async def stop(self, state: State, grace_seconds: float = 10.0) -> None:
        """Ask it to end, kill it after the grace; returns at once. Stopping what is gone is fine."""

    @abstractmethod
    async def forget(self, state: State) -> None:
        """Remove what is kept of an ended workload (log, exit code). Forgetting twice is fine."""

    @abstractmethod
    def logs(self, state: State, replica: int = 0, follow: bool = False, offset: int = 0) -> AsyncIterator[bytes]:
        """Raw output from byte ``offset``; with ``follow`` until the workload ends. Gone: yields nothing."""


class MeasuresUse(ABC):
    """Capability: knows what a workload uses now."""

    @abstractmethod
    async def measure(self, states: Sequence[State]) -> list[Use | None]:
        """Same order; None for what is gone."""

    @abstractmethod
    async def accelerators(self) -> list[AcceleratorUse]:
        """Every accelerator of the machine or cluster, free or not."""


class KnowsCapacity(ABC):
    """Capability: knows how large the machine or cluster is, so that what can never run is refused when it is asked for."""

    @abstractmethod
    async def fits(self, resources: Resources, replicas: int = 1) -> str:
        """ "" when it could run once everything else has ended, or this is not known; else why it never can."""


@dataclass(frozen=True)
class Node:
    """A machine of a cluster. Amounts by name: "cpu" in cores, "memory" and "disk" in bytes, accelerators by the name of their
    resource ("nvidia.com/gpu"), counted. ``allocated``: what the pods on it have asked for, whoever runs them.

    reason   why it takes nothing new, in a sentence; "" when it does
    """

    name: str
    ready: bool
    total: Mapping[str, float]
    allocated: Mapping[str, float]
    reason: str = ""


class KnowsNodes(ABC):
    """Capability: sees the machines of a cluster."""

    @abstractmethod
    async def nodes(self) -> list[Node]:
        """All of them, those that take nothing first. May be some seconds old."""


class PublishesPorts:
    """Capability: a workload with ``port`` gets an address the proxy can reach."""


class RunsContainers:
    """Capability: an image is a container that the node pulls. Without it images are built here before their first use."""


class RunsTogether:
    """Capability: a workload with ``replicas`` > 1 starts on all of its nodes or on none, and its replicas find one another
    by the variables of torchrun, TF_CONFIG, JAX and a hostfile."""


class SpansClusters(ABC):
    """Capability: there may be more clusters, and a job with ``Workload.anywhere`` runs in whichever has room.

    ``Observed`` tells of it as of any other; its reason says when the cluster it is in does not answer.
    """

    @abstractmethod
    def clusters(self) -> Sequence[str]:
        """The names of the others; empty where there are none."""

    @abstractmethod
    async def fits_anywhere(self, resources: Resources, replicas: int = 1) -> str:
        """As ``KnowsCapacity.fits``, of all clusters: each replica of one job is in the same."""


class ScalesReplicas(ABC):
    """Capability: the replicas of a workload with a port are kept alive, spread and replaced by the backend, behind one address."""

    @abstractmethod
    async def replace(self, state: State, workload: Workload) -> State:
        """Make what runs like ``workload`` (more or fewer replicas, another version) with no request failing on the way.

        ``Observed.ready`` counts the replicas that answer with the newest one's contents. Repeating it changes nothing.
        """


class AddsReplicas(ScalesReplicas):
    """Capability: adds replicas under load and takes them away again, between ``Workload.replicas`` and ``most_replicas``."""

    @abstractmethod
    async def why_none_added(self) -> str:
        """ "" when it can be done here, else a sentence."""


@dataclass(frozen=True)
class TenantShare:
    """What a tenant gets of a cluster. ``guaranteed`` and ``limits`` by resource name as quotas have it (cpu in cores, memory in
    bytes, ``accelerator:KIND``); a resource without a limit may be borrowed without one. ``weight``: its part when several borrow."""

    tenant: str
    parent: str | None
    name: str
    guaranteed: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    weight: int = 1


class HasQueue(ABC):
    """Capability: the tenants' quotas of cpu, memory and accelerator kinds, borrowing and the queue are the cluster's own.

    Admission then leaves these resources of the tenants to it (limits of a person, the sum over all kinds of accelerators and
    storage stay with the platform), and ``Observed`` says QUEUED with position and reason.
    """

    @abstractmethod
    def decides(self, resource: str) -> bool:
        """Whether the cluster's queue keeps the tenants' limits of this resource."""

    @abstractmethod
    async def only_wait(self, states: Sequence[State]) -> list[bool]:
        """Whether all that may have changed for it is its place in the queue: thousands can be asked often. In doubt False."""

    @abstractmethod
    async def mirror(self, shares: Sequence[TenantShare]) -> Mapping[str, str]:
        """Make the cluster's tenants like ``shares``: repair what differs, remove what it once made and is not wished any more.

        Returns tenant → a sentence for each that could not be brought in line, with "" for what concerns all (empty when all is well).
        Repeating is cheap. Raises Unavailable when the cluster does not answer.
        """


class PartlySeen(Exception):
    """``observe`` could look at some only: ``seen`` has None for the others. Never raised for a single state."""

    def __init__(self, message: str, seen: Sequence[Observed | None]) -> None:
        super().__init__(message)
        self.seen = seen


async def observe_some(backend: Backend, states: Sequence[State]) -> Sequence[Observed | None]:
    """For loops, in which what cannot be looked at now holds up nothing else: None for that. Raises TryLater when nothing can be."""
    try:
        return await backend.observe(states)
    except PartlySeen as partly:
        return partly.seen


def left_to_queue(backend: Backend, resources: Iterable[str]) -> frozenset[str]:
    """Of which resources admission leaves the tenants' limits to the backend."""
    return frozenset(resource for resource in resources if isinstance(backend, HasQueue) and backend.decides(resource))


async def check_fits(backend: Backend, resources: Resources, replicas: int = 1, anywhere: bool = False) -> None:
    """Asked before admission, outside of a transaction. Raises BadWorkload for what can never run here."""
    if reason := await lack_of(backend, resources, replicas, anywhere):
        raise BadWorkload(reason)


async def lack_of(backend: Backend, resources: Resources, replicas: int = 1, anywhere: bool = False) -> str:
    """Why it can never run here; "" when it can, or when this is not known."""
    if anywhere and isinstance(backend, SpansClusters):
        return await backend.fits_anywhere(resources, replicas)
    return await backend.fits(resources, replicas) if isinstance(backend, KnowsCapacity) else ""


def explain_lack(kind: str, wanted: int, there: int, all_there: Mapping[str, int], where: str = "machine") -> str:
    """The answer of ``fits``: ``there`` accelerators are of the ``kind``; ``all_there`` counts every kind of the machine or cluster."""
    if wanted <= there:
        return ""
    if there:
        return f"this {where} has {there} × {kind} and this needs {wanted}; choose another flavor or fewer instances"
    others = ", ".join(f"{count} × {name}" for name, count in all_there.items()) or "no accelerator"
    return f"this {where} has no {kind}; it has {others}; choose another flavor"
