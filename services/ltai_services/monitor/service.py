"""Live use of what runs, the machines, and the numbers of the first page."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from sqlalchemy.engine import Connection

from ltai_hub.backends.base import AcceleratorUse, KnowsNodes, MeasuresUse, Node, Use
from ltai_hub.domain.lists import Sight
from ltai_hub.domain.usage import rate_all
from ltai_hub.domain.workloads import Phase, Resources
from ltai_hub.errors import Conflict, Unavailable
from ltai_hub.metering import store as metering
from ltai_hub.service import Platform
from ltai_hub.slugs import check_number
from ltai_hub.tenancy.permit import permit, permitted_tenants
from ltai_hub.tenancy.store import subtree
from ltai_hub.web.callers import Caller
from ltai_services.monitor import store
from ltai_services.monitor.models import AcceleratorOut, Counts, MetricsOut, NodeOut, Noun, OverviewOut
from ltai_services.monitor.store import Runner

RUNNING = (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)
WAITING = (Phase.QUEUED,)


@runtime_checkable
class DescribesMachine(Protocol):
    """A backend that runs things on this machine."""

    async def capacity(self) -> Mapping[str, Any]: ...

    def isolation(self) -> Mapping[str, Any]: ...


class MonitorService:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.database = platform.database

    async def metrics(self, caller: Caller, noun: Noun, number: int) -> MetricsOut:
        """Raises Conflict when it does not run, Unavailable when this backend does not measure."""
        runner = await asyncio.to_thread(self._runner, caller, noun, number)
        if not runner.states:
            raise Conflict(f"the {noun} is {runner.phase}; use is measured while it runs")
        backend = self.platform.backend
        if not isinstance(backend, MeasuresUse):
            raise Unavailable("this platform's backend does not measure use")
        uses = [use for use in await backend.measure(runner.states) if use is not None]
        resources = self.platform.catalog.resources_of(runner.flavor)
        return make_metrics(uses, resources, max(len(uses), 1), self.platform.clock())

    async def nodes(self) -> list[NodeOut]:
        """A cluster's machines, else the one everything runs on."""
        backend = self.platform.backend
        if isinstance(backend, KnowsNodes):
            return [node_out(node) for node in await backend.nodes()]
        if not isinstance(backend, DescribesMachine):
            return []
        size, isolation = await asyncio.gather(backend.capacity(), asyncio.to_thread(backend.isolation))
        cards = await backend.accelerators() if isinstance(backend, MeasuresUse) else []
        return [
            NodeOut(
                name=socket.gethostname(),
                cpu=dict(size["cpu"]),
                memory=dict(size["memory"]),
                disk=dict(size["disk"]),
                accelerators=accelerators_out(cards),
                isolation=dict(isolation),
            )
        ]

    def overview(self, caller: Caller, tenant: str | None) -> OverviewOut:
        with self.database.reading() as tx:
            inside = None
            if tenant:
                permit(tx, caller, "tenants:read", tenant)
                inside = subtree(tx, [tenant])
            return OverviewOut(
                running=self._counts(tx, caller, RUNNING, inside),
                waiting=self._counts(tx, caller, WAITING, inside),
                cost_this_month_micro=self._cost(tx, caller, inside),
                currency=self.platform.settings.currency,
            )

    def _runner(self, caller: Caller, noun: Noun, number: int) -> Runner:
        check_number(number, noun)
        with self.database.reading() as tx:
            runner = store.get_runner(tx, noun, number)
            permit(tx, caller, f"{noun}s:read", runner.tenant, owner=runner.user)
        return runner

    def _counts(self, tx: Connection, caller: Caller, phases: Sequence[Phase], inside: set[str] | None) -> Counts:
        found = {}
        for noun in Noun:
            sight = Sight(caller.name, permitted_tenants(tx, caller, f"{noun}s:read"), inside)
            found[f"{noun}s"] = store.count(tx, noun, phases, sight)
        return Counts(**found)

    def _cost(self, tx: Connection, caller: Caller, inside: set[str] | None) -> int:
        now = self.platform.clock()
        start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        scope = None if caller.admin else metering.Scope(permitted_tenants(tx, caller, "bills:read"), caller.name)
        prices = metering.price_versions(tx)
        found = metering.intervals(tx, start, now, scope, inside)
        return sum(rated.cost_micro for rated in rate_all(found, prices, start, now))


def make_metrics(uses: Sequence[Use], resources: Resources, replicas: int, at: datetime) -> MetricsOut:
    """The sum over all replicas, against what they all may use."""
    return MetricsOut(
        at=at,
        cpu_cores=sum(use.cpu for use in uses),
        cpu_limit=resources.cpu * replicas,
        memory=sum(use.memory for use in uses),
        memory_limit=resources.memory * replicas,
        disk=sum(use.disk for use in uses),
        disk_limit=resources.disk * replicas,
        accelerators=accelerators_out(card for use in uses for card in use.accelerators),
    )


def node_out(node: Node) -> NodeOut:
    shares = {name: {"used": node.allocated.get(name, 0), "total": total} for name, total in node.total.items()}
    none = {"used": 0.0, "total": 0.0}
    return NodeOut(
        name=node.name,
        cpu=shares.pop("cpu", none),
        memory=shares.pop("memory", none),
        disk=shares.pop("disk", none),
        accelerators=[],
        allocated=True,
        devices={name: share for name, share in sorted(shares.items()) if share["total"]},
        ready=node.ready,
        reason=node.reason,
    )


def accelerators_out(cards: Iterable[AcceleratorUse]) -> list[AcceleratorOut]:
    return [AcceleratorOut(**asdict(card)) for card in cards]
