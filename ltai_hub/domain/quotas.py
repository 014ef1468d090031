"""Quota arithmetic and the waiting queue: pure.

Amounts are a mapping resource → number: ``cpu`` (cores), ``memory`` and ``storage`` (bytes), ``accelerators`` (all kinds together)
and ``accelerator:KIND``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ltai_hub.domain.workloads import Resources
from ltai_hub.units import format_bytes

Amounts = Mapping[str, float]
PLAIN_RESOURCES = ("cpu", "memory", "storage", "accelerators")
ACCELERATOR = "accelerator:"
LEAVE_NONE: frozenset[str] = frozenset()


def amounts_of(resources: Resources, replicas: int = 1) -> dict[str, float]:
    """What ``replicas`` of it take from every quota; zero amounts are left out."""
    amounts: dict[str, float] = {
        "cpu": resources.cpu * replicas,
        "memory": resources.memory * replicas,
        "storage": resources.disk * replicas,
        "accelerators": resources.accelerator_count * replicas,
    }
    if resources.accelerator_count:
        amounts[ACCELERATOR + resources.accelerator] = resources.accelerator_count * replicas
    return {name: amount for name, amount in amounts.items() if amount}


@dataclass(frozen=True)
class Limit:
    """One quota row that applies to an ask. ``user`` is "" when it limits the tenant as a whole; ``guaranteed`` of it is surely its own."""

    tenant: str
    tenant_name: str
    user: str
    resource: str
    limit: float
    used: float = 0
    guaranteed: float = 0

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.tenant, self.user, self.resource)

    @property
    def whose(self) -> str:
        return f"{self.user} in {self.tenant_name}" if self.user else self.tenant_name

    def never_fits(self, amount: float) -> str:
        return (
            f"{self.whose} may use {say(self.resource, self.limit)} in all, and this asks for {say(self.resource, amount)}; "
            "choose a smaller flavor or ask an administrator for more quota"
        )

    def full(self, amount: float) -> str:
        left = max(self.limit - self.used, 0)
        return (
            f"{self.whose} has {say(self.resource, left)} of {say(self.resource, self.limit)} left and this needs "
            f"{say(self.resource, amount)}; it starts when something is stopped"
        )


@dataclass(frozen=True)
class Waiting:
    """One ask in the queue with the limits that apply to it (``used`` counts what is held, not what waits)."""

    reservation: int
    amounts: Amounts
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Decision:
    reservation: int
    held: bool
    position: int | None
    reason: str


def too_big(amounts: Amounts, limits: Sequence[Limit]) -> Limit | None:
    """The first limit the ask can never fit under."""
    return next((limit for limit in limits if amounts.get(limit.resource, 0) > limit.limit), None)


def resource_names(kinds: Iterable[str]) -> list[str]:
    """All that a quota may name, with these kinds of accelerators."""
    return [*PLAIN_RESOURCES, *(ACCELERATOR + kind for kind in sorted(kinds))]


def can_be_guaranteed(resource: str) -> bool:
    """Only what a cluster's queue lends and takes back."""
    return resource in ("cpu", "memory") or resource.startswith(ACCELERATOR)


def guaranteed_inside(parents: Mapping[str, str | None], own: Mapping[str, float]) -> dict[str, float]:
    """Tenant → what is guaranteed to it together with those below it: its own guarantee covers theirs.

    ``parents``: tenant → the one above; ``own``: tenant → its guarantee of one resource.
    """
    below: dict[str, list[str]] = {}
    for tenant, parent in parents.items():
        if parent is not None:
            below.setdefault(parent, []).append(tenant)
    downwards = [tenant for tenant, parent in parents.items() if parent not in parents]
    for tenant in downwards:
        downwards += below.get(tenant, ())
    inside: dict[str, float] = {}
    for tenant in reversed(downwards):
        inside[tenant] = max(own.get(tenant, 0), sum(inside[child] for child in below.get(tenant, ())))
    return inside


def decide(queue: Sequence[Waiting]) -> list[Decision]:
    """Who of the queue starts now. First come, first served for every limit: an ask that waits for a limit keeps
    its place in front of later ones that need the same limit; asks that touch other limits pass by."""
    used: dict[tuple[str, str, str], float] = {}
    claimed: dict[tuple[str, str, str], int] = {}
    decisions = []
    for ask in queue:
        blocked: list[Limit] = []
        for limit in ask.limits:
            amount = ask.amounts.get(limit.resource, 0)
            taken = used.get(limit.key, limit.used)
            if amount and (limit.key in claimed or taken + amount > limit.limit + 1e-9):
                blocked.append(replace(limit, used=taken))
        if not blocked:
            for limit in ask.limits:
                used[limit.key] = used.get(limit.key, limit.used) + ask.amounts.get(limit.resource, 0)
            decisions.append(Decision(ask.reservation, True, None, ""))
            continue
        position = 1 + max(claimed.get(limit.key, 0) for limit in blocked)
        never = too_big(ask.amounts, blocked)
        if never is not None:
            # the limit was lowered while it waited; whoever comes after must not wait for what cannot happen
            reason = never.never_fits(ask.amounts[never.resource])
            decisions.append(Decision(ask.reservation, False, position, reason))
            continue
        for limit in blocked:
            claimed[limit.key] = max(claimed.get(limit.key, 0) + 1, position)
        first = blocked[0]
        decisions.append(Decision(ask.reservation, False, position, first.full(ask.amounts[first.resource])))
    return decisions


def say(resource: str, amount: float) -> str:
    """ "2 cores", "4 GiB of memory", "3 accelerators"."""
    if resource == "cpu":
        return f"{amount:g} {'core' if amount == 1 else 'cores'}"
    if resource == "memory":
        return f"{format_bytes(amount)} of memory"
    if resource == "storage":
        return f"{format_bytes(amount)} of storage"
    kind = resource.removeprefix(ACCELERATOR) if resource.startswith(ACCELERATOR) else "accelerator"
    return f"{amount:g} × {kind}"
