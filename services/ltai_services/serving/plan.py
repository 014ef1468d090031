"""What to do about an endpoint: rows and observations in, steps out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ltai_hub.backends.base import Observed
from ltai_hub.domain.workloads import Phase
from ltai_services.serving.store import RUNNING, Endpoint, Instance

# Ended sooner than this after it was started: something is wrong with the model, not with the machine.
QUICK = timedelta(seconds=60)
MOST_FAILURES = 3
# Ended because it was told to (SIGTERM), by a platform that was stopped: not the model's fault.
STOPPED_CODES = (None, 0, 143)
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


@dataclass(frozen=True)
class Start:
    place: int
    attempt: int


@dataclass(frozen=True)
class Stop:
    instance: Instance


@dataclass(frozen=True)
class Plan:
    """``starts`` and ``stops`` of instances; ``phase`` the endpoint is in now; ``failed``: the generation is given up.

    ``replaced``: what the backend keeps alive is to become as the endpoint is now.
    """

    phase: Phase
    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    failed: bool = False
    replaced: Instance | None = None


def make_plan(endpoint: Endpoint, instances: Sequence[Instance], held: bool, crowded: bool, now: datetime) -> Plan:
    """``held``: its reservation is held. ``crowded``: the machine had no room for a second generation beside the first."""
    alive = [instance for instance in instances if instance.is_alive]
    if endpoint.wanted != RUNNING:
        if alive:
            return Plan(Phase.STOPPING, stops=tuple(map(Stop, alive)))
        return Plan(Phase.FAILED if endpoint.failed else Phase.STOPPED)
    if endpoint.phase is Phase.QUEUED and not held:
        return Plan(Phase.QUEUED)
    mine = [instance for instance in instances if instance.generation == endpoint.generation]
    older = [instance for instance in alive if instance.generation != endpoint.generation]
    ready = [instance for instance in mine if instance.is_ready]
    if endpoint.failures >= MOST_FAILURES and not ready:
        return Plan(_phase(endpoint, alive), failed=True)
    starts = missing(endpoint, mine, now)
    stops = [instance for instance in mine if instance.is_alive and instance.place >= endpoint.instances]
    if len([instance for instance in ready if instance.place < endpoint.instances]) >= endpoint.instances:
        stops += older
    elif crowded:
        stops += older[:1]
    return Plan(_phase(endpoint, alive), starts=starts, stops=tuple(map(Stop, stops)))


def make_scaled_plan(endpoint: Endpoint, instances: Sequence[Instance], held: bool, now: datetime) -> Plan:
    """The backend keeps the replicas alive and replaces them without a gap: one row stands for all, in every generation."""
    alive = [instance for instance in instances if instance.is_alive]
    if endpoint.wanted != RUNNING or (endpoint.phase is Phase.QUEUED and not held):
        return make_plan(endpoint, instances, held, False, now)
    if not alive:
        if endpoint.failures >= MOST_FAILURES:
            return Plan(_phase(endpoint, alive), failed=True)
        mine = [instance for instance in instances if instance.generation == endpoint.generation]
        return Plan(_phase(endpoint, alive), starts=missing(endpoint, mine, now, places=1))
    one = alive[-1]
    wished = (endpoint.generation, endpoint.instances, endpoint.most_instances)
    is_as_wished = (one.generation, one.replicas, one.most_replicas) == wished
    return Plan(_phase(endpoint, alive), replaced=None if is_as_wished else one)


def missing(endpoint: Endpoint, mine: Sequence[Instance], now: datetime, places: int | None = None) -> tuple[Start, ...]:
    """Places without a living instance whose waiting time is over."""
    starts = []
    for place in range(endpoint.instances if places is None else places):
        tries = [instance for instance in mine if instance.place == place]
        if any(instance.is_alive for instance in tries):
            continue
        last = tries[-1] if tries else None
        wait = timedelta(seconds=min(FIRST_WAIT * 2 ** max(endpoint.failures - 1, 0), LONGEST_WAIT))
        if last is None or last.ended_at is None or now >= last.ended_at + wait:
            starts.append(Start(place, last.attempt + 1 if last else 1))
    return tuple(starts)


def _phase(endpoint: Endpoint, alive: Sequence[Instance]) -> Phase:
    if any(instance.is_ready for instance in alive):
        return Phase.RUNNING
    if alive and all(instance.phase is Phase.QUEUED for instance in alive):
        return Phase.QUEUED
    return Phase.QUEUED if endpoint.phase is Phase.QUEUED and not alive else Phase.STARTING


@dataclass(frozen=True)
class Seen:
    """What an observation changes of an instance; ``quick``: it failed soon after its start."""

    phase: Phase
    address: str = ""
    ready: int = 0
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    quick: bool = False
    reason: str = ""


def look(instance: Instance, observed: Observed, now: datetime) -> Seen | None:
    """None when the row already says it."""
    if observed.phase in (Phase.QUEUED, Phase.STARTING):
        if instance.phase is observed.phase:
            return None
        # of one that answered none is left that does
        silent = max(observed.ended_at or now, instance.ready_at or now) if instance.is_ready else instance.ended_at
        return Seen(observed.phase, instance.address, ended_at=silent, reason=observed.reason)
    if observed.phase is Phase.RUNNING:
        address = observed.addresses[0] if observed.addresses else ""
        ready = observed.ready or 1
        if instance.is_ready and (instance.address, instance.ready) == (address, ready):
            return None
        return Seen(Phase.RUNNING, address, ready, instance.ready_at if instance.is_ready else now)
    ended = observed.ended_at or instance.seen_at or instance.ready_at or now
    begun = instance.ready_at or observed.started_at or instance.created_at
    reason = observed.reason or ("its process is gone" if observed.phase is Phase.GONE else "it ended")
    quick = observed.phase is Phase.FAILED and observed.exit_code not in STOPPED_CODES and ended - begun < QUICK
    return Seen(Phase.FAILED, "", 0, instance.ready_at, ended, quick, reason)


def first_ready(instances: Sequence[Instance]) -> datetime | None:
    moments = [instance.ready_at for instance in instances if instance.is_ready and instance.ready_at]
    return min(moments) if moments else None


def last_end(instances: Sequence[Instance]) -> datetime | None:
    """When the last of those that had answered ended: where the usage ends, even if the platform sees it much later."""
    moments = [instance.ended_at for instance in instances if instance.ready_at and instance.ended_at]
    return max(moments) if moments else None


def is_due(endpoint: Endpoint, now: datetime) -> bool:
    """Its run duration is over."""
    stops = stops_at(endpoint)
    return endpoint.wanted == RUNNING and stops is not None and now >= stops


def stops_at(endpoint: Endpoint) -> datetime | None:
    if endpoint.max_seconds is None or endpoint.started_at is None:
        return None
    return endpoint.started_at + timedelta(seconds=endpoint.max_seconds)


def routes_wanted(endpoints: Sequence[Endpoint], instances: Mapping[int, Sequence[Instance]]) -> dict[str, str]:
    """Path → target of every endpoint with a ready instance; its instances share one address."""
    wanted = {}
    for endpoint in endpoints:
        ready = [instance for instance in instances.get(endpoint.id, ()) if instance.is_ready and instance.address]
        if ready and endpoint.wanted == RUNNING:
            wanted[endpoint.path] = f"http://{ready[-1].address}"
    return wanted
