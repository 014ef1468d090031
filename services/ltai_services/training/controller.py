"""Jobs from queued to ended: look, compare, one step."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from ltai_hub.backends.base import HasQueue, Observed, observe_some
from ltai_hub.catalog.files import profile_mounts
from ltai_hub.controllers.controller import Controller
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.errors import BadWorkload, NoCapacity, Problem, TryLater
from ltai_hub.metering import store as metering
from ltai_hub.metering.phases import change_phase, to_note_seen
from ltai_hub.service import Platform
from ltai_hub.tenancy.admission import Admission, admit_waiting, standings
from ltai_services.images import check_catalog, ensure_image
from ltai_services.inside import inside_url
from ltai_services.tracking import PREFIX, NewRun, Run, Tracking
from ltai_services.training import store
from ltai_services.training.right_of_way import RightOfWay
from ltai_services.training.store import Job
from ltai_services.training.workload import Tracked, make_subject, make_workload, run_tags, workload_name

log = logging.getLogger("ltai.training")

# While something starts or runs its end should show soon; an idle platform should stay idle.
BUSY_SECONDS, IDLE_SECONDS = 0.5, 5.0
# Each start asks MLflow and the backend. A cluster that gets a thousand jobs quickly admits them more quickly; more at once than these
# were not faster.
STARTS_AT_ONCE = 8
GIVE_WAY_SECONDS = 1.0
RETRY_SECONDS = 3.0
# a start that is told again is told to the second
SAME_START = timedelta(seconds=1)
GRACE_SECONDS = 10
RUN_STATES = {Phase.SUCCEEDED: "FINISHED", Phase.FAILED: "FAILED", Phase.CANCELLED: "KILLED"}


@dataclass(frozen=True)
class Look:
    """What there is to do with."""

    # of our own queue: those that hold their reservation and are not being started yet
    due: list[Job]
    # in the cluster's queue: number → state
    waiting: Mapping[int, dict[str, Any]]
    # what has begun and is not done with
    begun: list[Job]
    # since when the running ones are metered
    since: Mapping[str, datetime]


@dataclass(frozen=True)
class Step:
    """What an observation makes of a job: the phases it goes through, each at its moment; none when only the reason is new."""

    phases: tuple[tuple[Phase, datetime], ...]
    reason: str = ""
    exit_code: int | None = None


class JobController(Controller):
    name = "jobs"
    interval = IDLE_SECONDS

    def __init__(self, platform: Platform, tracking: Tracking) -> None:
        super().__init__()
        self._platform = platform
        self._tracking = tracking
        self._not_before: dict[int, float] = {}
        self._starting: dict[int, asyncio.Task[None]] = {}
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self.way = RightOfWay()
        # of those left to the cluster's queue, which may be thousands: each is read once
        self._states: dict[int, dict[str, Any]] = {}

    async def pass_once(self) -> None:
        await self.way.give(GIVE_WAY_SECONDS)
        began = time.monotonic()
        look = await asyncio.to_thread(self._look, frozenset(self._starting))
        for job in look.due:
            self._begin_start(job)
        unfinished = [job for job in look.begun if not job.phase.is_final]
        await self._watch([*unfinished, *await self._moved(look.waiting)], look.since)
        for job in look.begun:
            if job.phase.is_final:
                with self.apart(f"the end of job {job.id}"):
                    await self._end_run(job)
        busy = self._starting or look.due or look.waiting or unfinished
        # with thousands of jobs most of the time is left for others
        self.interval = max(BUSY_SECONDS, time.monotonic() - began) if busy else IDLE_SECONDS

    async def settle(self) -> None:
        """Wait for the starts under way (tests, shutdown)."""
        await asyncio.gather(*self._starting.values(), return_exceptions=True)

    def _look(self, under_way: AbstractSet[int]) -> Look:
        with self._platform.database.reading() as tx:
            begun, left = store.begun(tx), store.waiting(tx)
            fresh = store.backend_states(tx, [number for number in left if number not in self._states])
            # what is being started need not be read again for each look; there may be thousands
            queued = [number for number in store.not_begun(tx) if number not in under_way]
            answers = self._standings(tx, queued)
            since = metering.open_since(tx, Kind.JOB)
        if any(not answer.held and answer.position == 1 for answer in answers.values()):
            with self._platform.database.transaction() as tx:
                admit_waiting(tx, self._platform.clock(), self._platform.left_to_queue)
                answers = self._standings(tx, queued)
        self._states = {number: self._states.get(number) or fresh[number] for number in left}
        due = self._read([int(number) for number, answer in answers.items() if answer.held])
        return Look(due, self._states, begun, since)

    def _standings(self, tx: Connection, numbers: Sequence[int]) -> dict[str, Admission]:
        return standings(tx, Kind.JOB, [str(number) for number in numbers], self._platform.left_to_queue)

    async def _moved(self, waiting: Mapping[int, dict[str, Any]]) -> list[Job]:
        """Those for which the cluster's queue has done something."""
        backend = self._platform.backend
        still = await backend.only_wait([*waiting.values()]) if isinstance(backend, HasQueue) else [False] * len(waiting)
        return await asyncio.to_thread(self._read, [number for number, waits in zip(waiting, still, strict=True) if not waits])

    def _read(self, numbers: Sequence[int]) -> list[Job]:
        with self._platform.database.reading() as tx:
            return [job for job in store.find_all(tx, numbers) if not job.phase.is_final]

    # ---- starting

    def _begin_start(self, job: Job) -> None:
        """Beside the loop, so that one slow start holds up nobody else."""
        if job.id in self._starting or time.monotonic() < self._not_before.get(job.id, 0):
            return
        task = asyncio.create_task(self._start(job), name=f"start job {job.id}")
        self._starting[job.id] = task
        task.add_done_callback(lambda _: self._on_started(job.id))

    def _on_started(self, job_id: int) -> None:
        self._starting.pop(job_id, None)
        # of many, those that have begun are looked at together
        if not self._starting:
            self.poke()

    async def _start(self, job: Job) -> None:
        try:
            async with self._starts:
                await self.way.give(GIVE_WAY_SECONDS)
                if not await asyncio.to_thread(self._still_waits, job):
                    return
                state = await self._start_workload(job)
        except BadWorkload as problem:
            await asyncio.to_thread(self._fail, job, problem.message)
        except (NoCapacity, TryLater) as problem:
            self._postpone(job, problem.after if isinstance(problem, TryLater) else RETRY_SECONDS)
            await asyncio.to_thread(self._say, job, problem.message)
        except Problem as problem:
            self._postpone(job, RETRY_SECONDS)
            await asyncio.to_thread(self._say, job, f"{problem.message} (it is tried again)")
        except Exception as error:  # a start that fails for a reason nobody foresaw must not be tried for ever
            log.exception("start of job %s failed", job.id)
            await asyncio.to_thread(
                self._fail, job, f"the platform could not start it: {type(error).__name__}; the log of the services says more"
            )
        else:
            if not await asyncio.to_thread(self._record_start, job, state):
                await self._stop_unwanted(state)

    async def _stop_unwanted(self, state: dict[str, Any]) -> None:
        """Nobody else knows of it any more."""
        while True:
            try:
                return await self._platform.backend.stop(state, 0)
            except Problem as problem:
                log.warning("what was cancelled while it began is stopped in a moment: %s", problem.message)
                await asyncio.sleep(RETRY_SECONDS)

    def _still_waits(self, job: Job) -> bool:
        """A pass that looked before the last start was written down would start it again, and then stop it as unwanted."""
        with self._platform.database.reading() as tx:
            current = store.find(tx, job.id)
        return current is not None and current.phase is Phase.QUEUED and current.backend_state is None

    async def _start_workload(self, job: Job) -> dict[str, Any]:
        settings, catalog = self._platform.settings, self._platform.catalog
        check_catalog(catalog, job.flavor, job.image)
        await ensure_image(self._platform, job.image, lambda words: self._say(job, words))
        run = await self._ensure_run(job)
        token = self._platform.workload_tokens.make(Kind.JOB, job.noun_id, job.user, ["models", "training"])
        home = settings.folder.home(job.user)
        profile = catalog.profiles.get(job.profile)
        mounts = profile_mounts(settings.folder, profile, home) if profile else ()
        tracked = Tracked(inside_url(settings) + PREFIX, run.run_id, run.experiment_id, token, settings.public_url + PREFIX)
        folder = await asyncio.to_thread(self._folder_of, job) if job.anywhere else b""
        return await self._platform.backend.start(make_workload(job, catalog, home, mounts, tracked, folder))

    def _folder_of(self, job: Job) -> bytes:
        with self._platform.database.reading() as tx:
            return store.folder_of(tx, job.id)

    async def _ensure_run(self, job: Job) -> Run:
        if job.run_id is not None and job.experiment_id is not None:
            return Run(job.run_id, job.experiment_id)
        new = NewRun(job.tenant, job.name, f"{job.name} {job.id}", job.user, run_tags(job), self._platform.clock())
        run = await self._tracking.create_run(new)
        await asyncio.to_thread(self._record, job, run_id=run.run_id, experiment_id=run.experiment_id)
        return run

    def _postpone(self, job: Job, seconds: float) -> None:
        self._not_before[job.id] = time.monotonic() + seconds

    def _record(self, job: Job, **values: str) -> None:
        with self._platform.database.transaction() as tx:
            store.change(tx, job.id, **values)

    def _record_start(self, job: Job, state: dict[str, Any]) -> bool:
        """False when it was cancelled, or also deleted, meanwhile."""
        self._not_before.pop(job.id, None)
        with self._platform.database.transaction() as tx:
            current = store.find(tx, job.id)
            if current is None or current.phase is not Phase.QUEUED:
                return False
            # in a cluster's queue it waits on
            phase = Phase.QUEUED if isinstance(self._platform.backend, HasQueue) else Phase.STARTING
            if phase is not current.phase:
                change_phase(tx, make_subject(job, self._platform.catalog), current.phase, phase, "", self._platform.clock())
            store.change(tx, job.id, phase=phase, reason="", backend_state=state)
        return True

    def _say(self, job: Job, reason: str) -> None:
        with self._platform.database.transaction() as tx:
            current = store.find(tx, job.id)
            if current is not None and current.phase is Phase.QUEUED and current.reason != reason:
                store.change(tx, job.id, reason=reason)

    def _fail(self, job: Job, reason: str) -> None:
        now = self._platform.clock()
        with self._platform.database.transaction() as tx:
            current = store.find(tx, job.id)
            if current is None or current.phase.is_final:
                return
            change_phase(tx, make_subject(job, self._platform.catalog), current.phase, Phase.FAILED, reason, now)
            store.change(tx, job.id, phase=Phase.FAILED, reason=reason, ended_at=now)

    # ---- watching

    async def _watch(self, jobs: list[Job], since: Mapping[str, datetime]) -> None:
        if not jobs:
            return
        looks = await observe_some(self._platform.backend, [job.backend_state or {} for job in jobs])
        seen = [(job, observed) for job, observed in zip(jobs, looks, strict=True) if observed is not None]
        now = self._platform.clock()
        for job, observed in seen:
            with self.apart(f"job {job.id}"):
                if observed.phase in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING):
                    await self._stop_if_due(job, now, since.get(job.noun_id))
                step = next_step(job, observed, now, since.get(job.noun_id))
                if step is not None:
                    await asyncio.to_thread(self._apply, job, step)
        await asyncio.to_thread(self._note_seen, seen, now)

    async def _stop_if_due(self, job: Job, now: datetime, since: datetime | None) -> None:
        """``since`` it runs: a program that begins again, after a preemption or on another node, has its time again."""
        reason = job.stop_reason
        if not reason and job.max_seconds and since and now > since + timedelta(seconds=job.max_seconds):
            reason = f"stopped after {job.max_seconds} s, the most its profile allows"
            await asyncio.to_thread(self._ask_to_stop, job, reason)
        if reason and job.backend_state is not None:
            await self._platform.backend.stop(job.backend_state, GRACE_SECONDS)

    def _ask_to_stop(self, job: Job, reason: str) -> None:
        with self._platform.database.transaction() as tx:
            store.change(tx, job.id, stop_reason=reason)

    def _apply(self, job: Job, step: Step) -> None:
        with self._platform.database.transaction() as tx:
            current = store.get(tx, job.id)
            if current.phase.is_final:
                return
            old = current.phase
            subject = make_subject(job, self._platform.catalog)
            values: dict[str, Any] = {"reason": step.reason, "exit_code": step.exit_code}
            for phase, at in step.phases:
                # A job that was asked to stop does not go back to running.
                if not (old is Phase.STOPPING and phase is Phase.RUNNING):
                    change_phase(tx, subject, old, phase, step.reason if phase is step.phases[-1][0] else "", at)
                    old = phase
                if phase is Phase.RUNNING and current.started_at is None:
                    values["started_at"] = at
                if phase.is_final:
                    values["ended_at"] = at
            if old is Phase.STOPPING:
                values.pop("reason")
            store.change(tx, job.id, phase=old, **values)
        self.poke()

    def _note_seen(self, seen: Sequence[tuple[Job, Observed]], now: datetime) -> None:
        due = to_note_seen([job for job, _ in seen], (observed.phase for _, observed in seen), now)
        if due:
            with self._platform.database.transaction() as tx:
                for job in due:
                    store.change(tx, job.id, seen_at=now)

    # ---- the MLflow run

    async def _end_run(self, job: Job) -> None:
        """When MLflow or the backend does not answer a later pass tries again."""
        if job.run_id is None or job.id in self._starting or time.monotonic() < self._not_before.get(job.id, 0):
            return
        try:
            await self._stop_unnoted(job)
            await self._tracking.end_run(
                job.tenant, job.run_id, RUN_STATES.get(job.phase, "KILLED"), job.ended_at or self._platform.clock()
            )
        except Problem as problem:
            self._postpone(job, RETRY_SECONDS)
            log.warning("the MLflow run of job %s stays open for now: %s", job.id, problem.message)
            return
        with self._platform.database.transaction() as tx:
            store.change(tx, job.id, run_ended=True)

    async def _stop_unnoted(self, job: Job) -> None:
        """Its start may have been cut off between making it and noting so, and then it was cancelled."""
        if job.backend_state is not None:
            return
        if state := await self._platform.backend.find(Kind.JOB, workload_name(job), job.tenant):
            await self._platform.backend.stop(state, 0)
            with self._platform.database.transaction() as tx:
                store.change(tx, job.id, backend_state=state)


def next_step(job: Job, seen: Observed, now: datetime, since: datetime | None = None) -> Step | None:
    """What the observation changes; None when the row already says it. ``since``: the beginning of its open usage interval. Pure."""
    if seen.phase is Phase.QUEUED:
        return _waits(job, seen, now)
    if seen.phase is Phase.STARTING:
        return _starts(job, seen, now)
    earlier = _earlier_run(job, seen, since)
    is_metered = job.phase in (Phase.RUNNING, Phase.STOPPING) and not earlier
    if seen.phase is Phase.RUNNING:
        if not is_metered:
            return Step((*earlier, (Phase.RUNNING, seen.started_at or now)), seen.reason)
        # the cluster it is in may have ceased to answer
        return Step((), seen.reason) if job.phase is Phase.RUNNING and seen.reason != job.reason else None
    ended = seen.ended_at or job.seen_at or seen.started_at or job.started_at or now
    outcome, reason = _outcome(job, seen)
    begun: tuple[tuple[Phase, datetime], ...] = ()
    if not is_metered and seen.started_at is not None:
        begun = ((Phase.RUNNING, min(seen.started_at, ended)),)
    started = begun[0][1] if begun else job.started_at
    return Step((*earlier, *begun, (outcome, max(ended, started or ended))), reason, seen.exit_code)


def _starts(job: Job, seen: Observed, now: datetime) -> Step | None:
    """Perhaps again: its node is lost, or somebody removed its pods."""
    if job.phase is Phase.QUEUED:
        return Step(((Phase.STARTING, now),), seen.reason)
    if job.phase is Phase.RUNNING:
        return Step(((Phase.STARTING, seen.ended_at or job.seen_at or now),), seen.reason)
    return Step((), seen.reason) if job.phase is Phase.STARTING and seen.reason != job.reason else None


def _earlier_run(job: Job, seen: Observed, since: datetime | None) -> tuple[tuple[Phase, datetime], ...]:
    """The end of a run that what is seen now came after, while nobody looked: it is metered to where it was seen last."""
    if job.phase is not Phase.RUNNING or since is None or seen.started_at is None or seen.started_at - since <= SAME_START:
        return ()
    return ((Phase.STARTING, max(min(job.seen_at or since, seen.started_at), since)),)


def _waits(job: Job, seen: Observed, now: datetime) -> Step | None:
    """In the cluster's queue; perhaps again, after others took its place."""
    if job.phase is Phase.QUEUED:
        # place and reason are told as they are when they are asked for: with thousands waiting each step of the queue changes them all
        return None
    if job.phase is Phase.STOPPING:
        return None
    return Step(((Phase.QUEUED, seen.ended_at or now),), seen.reason)


def _outcome(job: Job, seen: Observed) -> tuple[Phase, str]:
    if seen.phase is Phase.SUCCEEDED:
        return Phase.SUCCEEDED, ""
    if job.stop_reason.startswith("cancelled"):
        return Phase.CANCELLED, job.stop_reason
    if job.stop_reason:
        return Phase.FAILED, job.stop_reason
    if seen.phase is Phase.GONE:
        return Phase.FAILED, "its process is gone and left no exit code; the machine may have been restarted"
    return Phase.FAILED, seen.reason or (f"exit code {seen.exit_code}" if seen.exit_code is not None else "it failed")
