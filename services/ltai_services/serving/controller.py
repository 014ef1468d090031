"""Endpoints as people wish them: instances started, replaced, stopped; the route at the proxy; the phase metered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from ltai_hub.backends.base import Observed, ScalesReplicas, observe_some
from ltai_hub.controllers.controller import Controller
from ltai_hub.domain.workloads import Kind, Phase, Workload
from ltai_hub.errors import BadWorkload, NoCapacity, Problem, TryLater
from ltai_hub.metering import store as metering
from ltai_hub.metering.phases import change_phase, change_replicas, to_note_seen
from ltai_hub.service import Platform
from ltai_hub.tenancy.admission import admit_waiting, standings
from ltai_services.images import check_catalog, ensure_image
from ltai_services.inside import inside_url
from ltai_services.serving import store
from ltai_services.serving.plan import (
    MOST_FAILURES,
    Plan,
    Seen,
    Start,
    first_ready,
    is_due,
    last_end,
    look,
    make_plan,
    make_scaled_plan,
    routes_wanted,
)
from ltai_services.serving.store import RUNNING, STOPPED, Endpoint, Instance
from ltai_services.serving.workload import Access, charged_replicas, make_subject, make_workload, workload_name
from ltai_services.tracking import PREFIX, Tracking

log = logging.getLogger("ltai.serving")

BUSY_SECONDS, STEADY_SECONDS, IDLE_SECONDS = 0.5, 2.0, 5.0
RETRY_SECONDS = 3.0
GRACE_SECONDS = 10.0
LOG_TAIL = 4096
ROUTES = "/endpoints/"


class EndpointController(Controller):
    name = "endpoints"
    interval = IDLE_SECONDS

    def __init__(self, platform: Platform, tracking: Tracking) -> None:
        super().__init__()
        self._platform = platform
        self._tracking = tracking
        self._starting: dict[int, asyncio.Task[None]] = {}
        self._not_before: dict[int, float] = {}
        self._crowded: set[int] = set()
        self._routes_set = False

    async def pass_once(self) -> None:
        endpoints, instances, held = await asyncio.to_thread(self._look)
        await self._observe(instances)
        endpoints, instances, held = await asyncio.to_thread(self._look)
        now = self._platform.clock()
        for endpoint in endpoints:
            with self.apart(f"endpoint {endpoint.id}"):
                await self._step(endpoint, instances.get(endpoint.id, []), endpoint.id in held, now)
        await self._repair_routes(endpoints, instances)
        self.interval = self._next_interval(endpoints)

    async def _step(self, endpoint: Endpoint, instances: Sequence[Instance], held: bool, now: datetime) -> None:
        if is_due(endpoint, now):
            await asyncio.to_thread(self._stop_due, endpoint, now)
            self.poke()
            return
        if self._is_scaled:
            plan = make_scaled_plan(endpoint, instances, held, now)
            await self._meter_load(endpoint, instances)
        else:
            plan = make_plan(endpoint, instances, held, endpoint.id in self._crowded, now)
        await self._apply(endpoint, instances, plan, now)

    @property
    def _is_scaled(self) -> bool:
        return isinstance(self._platform.backend, ScalesReplicas)

    async def settle(self) -> None:
        """Wait for the starts under way (tests, shutdown)."""
        await asyncio.gather(*self._starting.values(), return_exceptions=True)

    def _look(self) -> tuple[list[Endpoint], dict[int, list[Instance]], set[int]]:
        """Unfinished endpoints, their instances, and which of the queued ones hold their reservation."""
        with self._platform.database.reading() as tx:
            endpoints = store.unfinished(tx)
            grouped: dict[int, list[Instance]] = {}
            for instance in store.instances_of(tx, [endpoint.id for endpoint in endpoints]):
                grouped.setdefault(instance.endpoint_id, []).append(instance)
            queued = [e.noun_id for e in endpoints if e.phase is Phase.QUEUED]
            answers = standings(tx, Kind.ENDPOINT, queued, self._platform.left_to_queue)
        if any(not answer.held and answer.position == 1 for answer in answers.values()):
            with self._platform.database.transaction() as tx:
                admit_waiting(tx, self._platform.clock(), self._platform.left_to_queue)
        return endpoints, grouped, {int(number) for number, answer in answers.items() if answer.held}

    def _next_interval(self, endpoints: Sequence[Endpoint]) -> float:
        if not endpoints:
            return IDLE_SECONDS
        return STEADY_SECONDS if all(endpoint.phase is Phase.RUNNING for endpoint in endpoints) else BUSY_SECONDS

    # ---- instances: what is seen of them

    async def _observe(self, instances: dict[int, list[Instance]]) -> None:
        known = [i for group in instances.values() for i in group if i.is_alive and i.backend_state is not None]
        if not known:
            return
        looks = await observe_some(self._platform.backend, [instance.backend_state or {} for instance in known])
        observed = [(instance, what) for instance, what in zip(known, looks, strict=True) if what is not None]
        now = self._platform.clock()
        for instance, what in observed:
            with self.apart(f"instance {instance.id}"):
                await self._on_observed(instance, what, now)
        await asyncio.to_thread(self._note_seen, observed, now)

    async def _on_observed(self, instance: Instance, observed: Observed, now: datetime) -> None:
        seen = look(instance, observed, now)
        if seen is None:
            return
        reason = seen.reason
        if seen.quick:
            reason = await self._why(instance, seen.reason)
        await asyncio.to_thread(self._note_instance, instance, seen, reason)

    def _note_seen(self, observed: Sequence[tuple[Instance, Observed]], now: datetime) -> None:
        due = to_note_seen([instance for instance, _ in observed], (what.phase for _, what in observed), now)
        if due:
            with self._platform.database.transaction() as tx:
                for instance in due:
                    store.change_instance(tx, instance.id, seen_at=now)

    async def _why(self, instance: Instance, reason: str) -> str:
        """The reason with the last lines the process wrote."""
        tail = b""
        async for chunk in self._platform.backend.logs(instance.backend_state or {}):
            tail = (tail + chunk)[-LOG_TAIL:]
        lines = [line.strip() for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
        return f"{reason}; its log ends: {' · '.join(lines[-3:])}" if lines else reason

    def _note_instance(self, instance: Instance, seen: Seen, reason: str) -> None:
        with self._platform.database.transaction() as tx:
            values = {"phase": seen.phase, "address": seen.address, "ready": seen.ready}
            store.change_instance(tx, instance.id, **values, ready_at=seen.ready_at or instance.ready_at, ended_at=seen.ended_at)
            endpoint = store.find(tx, instance.endpoint_id)
            if endpoint is None or endpoint.wanted != RUNNING or instance.generation != endpoint.generation:
                return
            if seen.phase is Phase.RUNNING:
                self._crowded.discard(endpoint.id)
                store.change(tx, endpoint.id, reason="", failures=0 if instance.ready_at else endpoint.failures)
            elif not seen.phase.is_final:
                store.change(tx, endpoint.id, reason=seen.reason)
            elif instance.place < endpoint.instances:
                failures = endpoint.failures + 1 if seen.quick else 1
                store.change(tx, endpoint.id, failures=failures, reason=f"instance {instance.place} ended: {reason}")

    async def _meter_load(self, endpoint: Endpoint, instances: Sequence[Instance]) -> None:
        """What the backend added under load, or took away again."""
        answering = [instance.ready for instance in instances if instance.is_ready]
        if answering and endpoint.most_instances:
            metered = await asyncio.to_thread(self._metered, endpoint)
            if metered not in (None, charged_replicas(endpoint, answering[-1])):
                await asyncio.to_thread(self._meter_replicas, endpoint.id, answering[-1])

    def _metered(self, endpoint: Endpoint) -> int | None:
        with self._platform.database.reading() as tx:
            return metering.open_replicas(tx, Kind.ENDPOINT, endpoint.noun_id)

    def _meter_replicas(self, endpoint_id: int, ready: int) -> None:
        """As the endpoint is now, which may have been changed meanwhile."""
        at = self._platform.clock()
        with self._platform.database.transaction() as tx:
            endpoint = store.find(tx, endpoint_id)
            metered = metering.open_replicas(tx, Kind.ENDPOINT, str(endpoint_id))
            if endpoint is None or metered is None or (charged := charged_replicas(endpoint, ready)) == metered:
                return
            change_replicas(tx, replace(make_subject(endpoint, self._platform.catalog), replicas=charged), at)
            who = (endpoint.noun_id, endpoint.name, endpoint.user, endpoint.tenant, "")
            words = f"{metered} → {charged} instances by load"
            metering.insert_event(tx, at, Kind.ENDPOINT, *who, endpoint.phase, endpoint.phase, words)

    # ---- the endpoint: one step

    async def _apply(self, endpoint: Endpoint, instances: Sequence[Instance], plan: Plan, now: datetime) -> None:
        if plan.failed:
            await asyncio.to_thread(self._give_up, endpoint, instances, now)
            self.poke()
            return
        await asyncio.to_thread(self._set_phase, endpoint, instances, plan.phase, now)
        for stop in plan.stops:
            await self._stop_instance(endpoint, stop.instance)
        for start in plan.starts:
            if not self._is_postponed(endpoint):
                await self._begin_start(endpoint, start, now)
        if plan.replaced is not None and not self._is_postponed(endpoint):
            self._begin_replace(endpoint, plan.replaced)
        for instance in instances:
            if instance.is_alive and instance.backend_state is None and not plan.stops:
                self._resume_start(endpoint, instance)

    def _set_phase(self, endpoint: Endpoint, instances: Sequence[Instance], phase: Phase, now: datetime) -> None:
        if phase is endpoint.phase:
            return
        with self._platform.database.transaction() as tx:
            current = store.find(tx, endpoint.id)
            if current is None or current.phase is not endpoint.phase or current.wanted != endpoint.wanted:
                return
            at = moment_of(endpoint, instances, phase, now)
            reason = current.stop_reason if current.wanted == STOPPED else current.reason
            self._change_phase(tx, current, phase, reason, at)

    def _change_phase(self, tx: Connection, endpoint: Endpoint, phase: Phase, reason: str, at: datetime) -> None:
        old = endpoint.phase
        # A process that never answered is not charged: stopping from starting goes straight to the end.
        if phase is Phase.STOPPING and old in (Phase.QUEUED, Phase.STARTING):
            return
        change_phase(tx, make_subject(endpoint, self._platform.catalog), old, phase, reason, at)
        values: dict[str, Any] = {"phase": phase, "reason": reason}
        if phase is Phase.RUNNING and endpoint.started_at is None:
            values["started_at"] = at
        if phase.is_final:
            values["ended_at"] = at
        store.change(tx, endpoint.id, **values)

    def _stop_due(self, endpoint: Endpoint, now: datetime) -> None:
        reason = f"stopped after {endpoint.max_seconds} s, as asked for"
        with self._platform.database.transaction() as tx:
            store.change(tx, endpoint.id, wanted=STOPPED, stop_reason=reason, reason=reason)

    def _give_up(self, endpoint: Endpoint, instances: Sequence[Instance], now: datetime) -> None:
        """An older generation that still answers goes on; else the endpoint has failed."""
        older = [i for i in instances if i.is_ready and i.generation != endpoint.generation]
        with self._platform.database.transaction() as tx:
            if older:
                last = older[-1]
                reason = f"version {endpoint.version} does not start, version {last.version} goes on. {endpoint.reason}"
                store.change(tx, endpoint.id, generation=last.generation, version=last.version, failures=0, reason=reason)
                return
            reason = f"given up after {MOST_FAILURES} quick failures: {endpoint.reason}"
            store.change(tx, endpoint.id, wanted=STOPPED, failed=True, stop_reason=reason, reason=reason)

    # ---- starting and stopping one

    async def _begin_start(self, endpoint: Endpoint, start: Start, now: datetime) -> None:
        instance = await asyncio.to_thread(self._insert_instance, endpoint, start, now)
        if instance is not None:
            self._resume_start(endpoint, instance)

    def _insert_instance(self, endpoint: Endpoint, start: Start, now: datetime) -> Instance | None:
        with self._platform.database.transaction() as tx:
            current = store.find(tx, endpoint.id)
            if current is None or current.wanted != RUNNING or current.generation != endpoint.generation:
                return None
            amounts = (current.instances, current.most_instances) if self._is_scaled else (1, None)
            return store.insert_instance(tx, current, start.place, start.attempt, now, *amounts)

    def _resume_start(self, endpoint: Endpoint, instance: Instance) -> None:
        """Beside the loop; also for an instance whose start was cut short (the name makes it one start)."""
        if instance.id in self._starting or self._is_postponed(endpoint):
            return
        task = asyncio.create_task(self._start(endpoint, instance), name=f"start endpoint {endpoint.id}")
        self._starting[instance.id] = task
        task.add_done_callback(lambda _: self._on_started(instance.id))

    def _postpone(self, endpoint: Endpoint, seconds: float) -> None:
        self._not_before[endpoint.id] = time.monotonic() + seconds

    def _is_postponed(self, endpoint: Endpoint) -> bool:
        return time.monotonic() < self._not_before.get(endpoint.id, 0)

    def _on_started(self, instance_id: int) -> None:
        self._starting.pop(instance_id, None)
        self.poke()

    async def _start(self, endpoint: Endpoint, instance: Instance) -> None:
        try:
            state = await self._start_workload(endpoint, instance)
        except NoCapacity as problem:
            self._postpone(endpoint, RETRY_SECONDS)
            self._crowded.add(endpoint.id)
            await asyncio.to_thread(self._withdraw, endpoint, instance, problem.message)
        except BadWorkload as problem:
            await asyncio.to_thread(self._refuse, endpoint, instance, problem.message)
        except TryLater as problem:
            self._postpone(endpoint, problem.after)
            await asyncio.to_thread(self._say, endpoint, problem.message)
        except Problem as problem:
            self._postpone(endpoint, RETRY_SECONDS)
            await asyncio.to_thread(self._say, endpoint, f"{problem.message} (it is tried again)")
        except Exception as error:  # must not be tried for ever
            log.exception("start of endpoint %s failed", endpoint.id)
            await asyncio.to_thread(self._refuse, endpoint, instance, f"the platform could not start it: {type(error).__name__}")
        else:
            if not await asyncio.to_thread(self._record_start, endpoint, instance, state):
                await self._platform.backend.stop(state, 0)

    async def _start_workload(self, endpoint: Endpoint, instance: Instance) -> dict[str, Any]:
        platform = self._platform
        check_catalog(platform.catalog, endpoint.flavor, endpoint.image)
        await ensure_image(platform, endpoint.image, lambda words: self._say(endpoint, words))
        # An instance that cannot fetch its model counts as failed; while MLflow itself is starting nobody is to blame.
        await self._tracking.check()
        return await platform.backend.start(self._make_workload(endpoint, instance))

    def _make_workload(self, endpoint: Endpoint, instance: Instance) -> Workload:
        platform = self._platform
        token = platform.workload_tokens.make(Kind.ENDPOINT, endpoint.noun_id, endpoint.user, ["models"])
        access = Access(inside_url(platform.settings) + PREFIX, token)
        home = platform.settings.folder.home(endpoint.user)
        return make_workload(endpoint, instance, platform.catalog, access, home, platform.settings.signing_key)

    # ---- replacing what the backend keeps alive

    def _begin_replace(self, endpoint: Endpoint, instance: Instance) -> None:
        if instance.backend_state is None or instance.id in self._starting:
            return
        wished = replace(instance, generation=endpoint.generation, version=endpoint.version, replicas=endpoint.instances)
        wished = replace(wished, most_replicas=endpoint.most_instances)
        task = asyncio.create_task(self._replace(endpoint, wished), name=f"replace endpoint {endpoint.id}")
        self._starting[instance.id] = task
        task.add_done_callback(lambda _: self._on_started(instance.id))

    async def _replace(self, endpoint: Endpoint, wished: Instance) -> None:
        """Until it is done the row keeps what it was, and the next pass tries again."""
        backend = self._platform.backend
        if not isinstance(backend, ScalesReplicas) or wished.backend_state is None:
            raise TypeError("only what a backend scales is replaced")
        try:
            state = await backend.replace(wished.backend_state, self._make_workload(endpoint, wished))
        except Problem as problem:
            self._postpone(endpoint, RETRY_SECONDS)
            await asyncio.to_thread(self._say, endpoint, problem.message)
            return
        await asyncio.to_thread(self._record_replace, wished, state)

    def _record_replace(self, wished: Instance, state: dict[str, Any]) -> None:
        with self._platform.database.transaction() as tx:
            values = {"generation": wished.generation, "version": wished.version, "replicas": wished.replicas}
            values["most_replicas"] = wished.most_replicas
            store.change_instance(tx, wished.id, backend_state=state, **values)

    def _record_start(self, endpoint: Endpoint, instance: Instance, state: dict[str, Any]) -> bool:
        """False when it is not wanted any more."""
        with self._platform.database.transaction() as tx:
            store.change_instance(tx, instance.id, backend_state=state)
            current = store.find(tx, endpoint.id)
            return current is not None and current.wanted == RUNNING

    def _say(self, endpoint: Endpoint, words: str) -> None:
        with self._platform.database.transaction() as tx:
            store.change(tx, endpoint.id, reason=words)

    def _withdraw(self, endpoint: Endpoint, instance: Instance, reason: str) -> None:
        """Nothing was started: the place is free again and no failure counts."""
        with self._platform.database.transaction() as tx:
            store.drop_instances(tx, [instance.id])
            store.change(tx, endpoint.id, reason=reason)

    def _refuse(self, endpoint: Endpoint, instance: Instance, reason: str) -> None:
        """Starting it again cannot help."""
        now = self._platform.clock()
        with self._platform.database.transaction() as tx:
            store.change_instance(tx, instance.id, phase=Phase.FAILED, ended_at=now)
            store.change(tx, endpoint.id, failures=MOST_FAILURES, reason=reason)

    async def _stop_instance(self, endpoint: Endpoint, instance: Instance) -> None:
        backend = self._platform.backend
        if instance.backend_state is not None:
            await backend.stop(instance.backend_state, GRACE_SECONDS)
        elif instance.id not in self._starting:
            # its start may have been cut off between making it and noting so
            if state := await backend.find(Kind.ENDPOINT, workload_name(instance), endpoint.tenant):
                await asyncio.to_thread(self._note_state, instance, state)
                await backend.stop(state, GRACE_SECONDS)
            else:
                await asyncio.to_thread(self._end_unstarted, instance)

    def _note_state(self, instance: Instance, state: dict[str, Any]) -> None:
        with self._platform.database.transaction() as tx:
            store.change_instance(tx, instance.id, backend_state=state)

    def _end_unstarted(self, instance: Instance) -> None:
        with self._platform.database.transaction() as tx:
            store.change_instance(tx, instance.id, phase=Phase.STOPPED, ended_at=self._platform.clock())

    # ---- the proxy

    async def _repair_routes(self, endpoints: Sequence[Endpoint], instances: dict[int, list[Instance]]) -> None:
        """Nothing to say and nothing ever set: the proxy is left alone."""
        wanted = routes_wanted(endpoints, instances)
        if not wanted and not endpoints and self._routes_set:
            return
        proxy = self._platform.proxy
        there = {path: target for path, target in (await proxy.routes()).items() if path.startswith(ROUTES)}
        for path, target in wanted.items():
            if there.get(path) != target:
                await proxy.set_route(path, target)
        for path in there.keys() - wanted.keys():
            await proxy.delete_route(path)
        self._routes_set = True


def moment_of(endpoint: Endpoint, instances: Sequence[Instance], phase: Phase, now: datetime) -> datetime:
    """When the change really happened, which may be while nobody looked. Never before it last began to run."""
    if phase is Phase.RUNNING:
        return first_ready(instances) or now
    if endpoint.phase in (Phase.RUNNING, Phase.STOPPING) and phase is not Phase.STOPPING:
        return min(last_end(instances) or now, now)
    return now
