"""The verbs of jobs: permission, quota, one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy.engine import Connection

from ltai_hub.backends.base import RunsTogether, SpansClusters, check_fits
from ltai_hub.domain.lists import Part
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.errors import BadInput, BadWorkload, Conflict
from ltai_hub.metering.costs import costs_of
from ltai_hub.metering.phases import change_phase
from ltai_hub.service import Platform
from ltai_hub.slugs import check_number, check_title
from ltai_hub.tenancy.admission import Admission, Ask, admit, standings
from ltai_hub.tenancy.choices import resolve
from ltai_hub.tenancy.permit import permit, sight_of
from ltai_hub.web.callers import Caller
from ltai_hub.web.history import EventOut, history_of
from ltai_services.registry import Registry
from ltai_services.tracking import PREFIX, Tracking, from_pairs, metrics_of
from ltai_services.training import store
from ltai_services.training.folder import read_folder
from ltai_services.training.models import MOST_NODES, JobMetrics, JobOut, LoggedModelOut, NewJob, SpreadOut
from ltai_services.training.right_of_way import RightOfWay
from ltai_services.training.store import Job, NewRow
from ltai_services.training.workload import check_command, check_cwd, check_env, make_subject


class TrainingService:
    """``poke`` wakes the controller; it may be called from any thread. ``way``: the controller gives it to those who submit."""

    def __init__(self, platform: Platform, tracking: Tracking, poke: Callable[[], None], way: RightOfWay) -> None:
        self.platform = platform
        self.database = platform.database
        self.catalog = platform.catalog
        self.tracking = tracking
        self.registry = Registry(tracking)
        self.poke = poke
        self.way = way

    async def submit(self, caller: Caller, new: NewJob) -> JobOut:
        """Raises BadInput, Denied, BadWorkload for a flavor that can never run here, OverQuota."""
        return await self._submit(caller, partial(self._new_row, caller, new))

    async def rerun(self, caller: Caller, job_id: int) -> JobOut:
        """The same again as a new job of the caller."""
        return await self._submit(caller, partial(self._row_again, caller, job_id))

    def spread(self) -> SpreadOut:
        backend = self.platform.backend
        return SpreadOut(
            most_nodes=MOST_NODES if isinstance(backend, RunsTogether) else 1,
            clusters=[*backend.clusters()] if isinstance(backend, SpansClusters) else [],
        )

    async def _submit(self, caller: Caller, make_row: Callable[[], NewRow]) -> JobOut:
        with self.way.taken():
            job = await self._admit(caller, await asyncio.to_thread(make_row))
        # when the way is free again
        self.poke()
        return job

    async def _admit(self, caller: Caller, row: NewRow) -> JobOut:
        spread = self.spread()
        if row.nodes > spread.most_nodes:
            raise BadWorkload(f"this platform runs a job on one node and this asks for {row.nodes}; several nodes need a cluster")
        if row.anywhere and not spread.clusters:
            raise BadWorkload("this platform has one place where jobs run and no more clusters; submit the job without anywhere")
        await check_fits(self.platform.backend, self.catalog.get_flavor(row.flavor).resources, row.nodes, row.anywhere)
        return await asyncio.to_thread(self._insert, caller, row)

    def _new_row(self, caller: Caller, new: NewJob) -> NewRow:
        name, command = check_title(new.name, "job"), check_command(new.command)
        cwd, env = check_cwd(new.cwd), check_env(new.env)
        folder = read_folder(new.folder)
        if folder and not new.anywhere:
            raise BadInput("a folder goes along only with a job that may run anywhere; any other finds your home as it is")
        with self.database.reading() as tx:
            chosen = resolve(tx, self.catalog, caller, new.tenant or "", new.profile or "", new.image or "", new.flavor or "")
        return NewRow(
            name=name,
            user=caller.name,
            tenant=chosen.tenant,
            profile=chosen.profile.name,
            image=chosen.image.name,
            flavor=chosen.flavor.name,
            command=command,
            cwd=cwd,
            env=env,
            max_seconds=chosen.profile.max_seconds,
            nodes=new.nodes,
            anywhere=new.anywhere,
            folder=folder,
        )

    def _row_again(self, caller: Caller, job_id: int) -> NewRow:
        with self.database.reading() as tx:
            old = self._permitted(tx, caller, "jobs:read", job_id)
            permit(tx, caller, "jobs:create", old.tenant, owner=caller.name)
            chosen = resolve(tx, self.catalog, caller, old.tenant, old.profile, old.image, old.flavor)
            folder = store.folder_of(tx, old.id)
        return NewRow(
            name=old.name,
            user=caller.name,
            tenant=old.tenant,
            profile=old.profile,
            image=chosen.image.name,
            flavor=chosen.flavor.name,
            command=old.command,
            cwd=old.cwd,
            env=old.env,
            max_seconds=chosen.profile.max_seconds,
            nodes=old.nodes,
            anywhere=old.anywhere,
            folder=folder,
            attempt=old.attempt + 1,
            rerun_of=old.id,
        )

    def cancel(self, caller: Caller, job_id: int) -> JobOut:
        """A queued job ends at once, in a cluster's queue when it has been taken out; a running one is killed after its grace."""
        now = self.platform.clock()
        with self.database.transaction() as tx:
            job = self._permitted(tx, caller, "jobs:cancel", job_id)
            if job.phase.is_final:
                raise Conflict(f"job {job.id} has already {job.phase}; there is nothing to cancel")
            reason = f"cancelled by {caller.name}"
            if not job.stop_reason:
                store.change(tx, job.id, stop_reason=reason)
            if job.phase is Phase.QUEUED and job.backend_state is None:
                change_phase(tx, make_subject(job, self.catalog), job.phase, Phase.CANCELLED, reason, now, caller.name)
                store.change(tx, job.id, phase=Phase.CANCELLED, reason=reason, ended_at=now)
            elif job.phase is Phase.RUNNING:
                change_phase(tx, make_subject(job, self.catalog), job.phase, Phase.STOPPING, reason, now, caller.name)
                store.change(tx, job.id, phase=Phase.STOPPING, reason=reason)
            answer = self._out(tx, store.get(tx, job_id), now)
        self.poke()
        return answer

    async def delete(self, caller: Caller, job_id: int) -> None:
        """An ended job with its log; its MLflow run stays with the experiment, its usage with the bill."""
        with self.database.transaction() as tx:
            job = self._permitted(tx, caller, "jobs:delete", job_id)
            if not job.phase.is_final:
                raise Conflict(f"job {job.id} is {job.phase}; cancel it first, then delete it")
            store.change(tx, job.id, deleted=True)
            store.drop_folder(tx, job.id)
        if job.backend_state is not None:
            await self.platform.backend.forget(job.backend_state)

    def select(self, caller: Caller, part: Part, tenant: str | None, user: str | None, phase: Phase | None) -> tuple[list[JobOut], int]:
        now = self.platform.clock()
        with self.database.reading() as tx:
            sight = sight_of(tx, caller, "jobs:read", tenant, user)
            found, total = store.select_jobs(tx, sight, part, now, phase)
            return self._out_all(tx, found, now), total

    def show(self, caller: Caller, job_id: int) -> JobOut:
        with self.database.reading() as tx:
            return self._out(tx, self._permitted(tx, caller, "jobs:read", job_id), self.platform.clock())

    def events(self, caller: Caller, job_id: int) -> list[EventOut]:
        with self.database.reading() as tx:
            return history_of(tx, Kind.JOB, self._permitted(tx, caller, "jobs:read", job_id).noun_id)

    def read(self, caller: Caller, job_id: int) -> Job:
        """The row, for the log."""
        with self.database.reading() as tx:
            return self._permitted(tx, caller, "jobs:read", job_id)

    def again(self, job_id: int) -> Job:
        """The row as it is now; the caller was permitted before."""
        with self.database.reading() as tx:
            return store.get(tx, job_id)

    async def metrics(self, job: Job) -> JobMetrics:
        """What its MLflow run holds now."""
        if job.run_id is None or job.experiment_id is None:
            return JobMetrics(metrics={}, params={}, models=[])
        run = await self.tracking.get_run(job.tenant, job.run_id)
        logged = await self.tracking.logged_models(job.tenant, job.experiment_id, job.run_id)
        models = [model["info"] for model in logged]
        frameworks = [await self.registry.framework_of(job.tenant, str(info["model_id"])) for info in models]
        return JobMetrics(
            metrics=metrics_of(run),
            params=from_pairs(run.get("data", {}).get("params")),
            models=[
                LoggedModelOut(model_id=info["model_id"], name=info["name"], framework=framework.name)
                for info, framework in zip(models, frameworks, strict=True)
            ],
        )

    def _insert(self, caller: Caller, row: NewRow) -> JobOut:
        """The row and its reservation or place in the queue: both, or neither."""
        now = self.platform.clock()
        with self.database.transaction() as tx:
            job = store.insert_job(tx, row, now)
            subject = make_subject(job, self.catalog)
            ask = Ask(Kind.JOB, job.noun_id, job.user, job.tenant, job.flavor, subject.resources, job.nodes)
            admission = admit(tx, caller, "jobs:create", ask, now, self.platform.left_to_queue)
            change_phase(tx, subject, None, Phase.QUEUED, admission.reason, now, caller.name)
            if admission.reason:
                store.change(tx, job.id, reason=admission.reason)
        return self._one_out(job, admission, 0, now)

    def _permitted(self, tx: Connection, caller: Caller, action: str, job_id: int) -> Job:
        check_number(job_id, "job")
        job = store.get(tx, job_id)
        permit(tx, caller, action, job.tenant, owner=job.user)
        return job

    def _out(self, tx: Connection, job: Job, now: datetime) -> JobOut:
        return self._out_all(tx, [job], now)[0]

    def _out_all(self, tx: Connection, jobs: Sequence[Job], now: datetime) -> list[JobOut]:
        queued = [job.noun_id for job in jobs if job.phase is Phase.QUEUED]
        queue = standings(tx, Kind.JOB, queued, self.platform.left_to_queue)
        costs = costs_of(tx, Kind.JOB, [job.noun_id for job in jobs], now)
        return [self._one_out(job, queue.get(job.noun_id), costs.get(job.noun_id, 0), now) for job in jobs]

    def _one_out(self, job: Job, queued: Admission | None, cost: int, now: datetime) -> JobOut:
        position, reason = (queued.position, queued.reason or job.reason) if queued is not None else (None, job.reason)
        end = job.ended_at or now
        out = JobOut(
            id=job.id,
            name=job.name,
            user=job.user,
            tenant=job.tenant,
            profile=job.profile,
            image=job.image,
            flavor=job.flavor,
            nodes=job.nodes,
            anywhere=job.anywhere,
            command=[*job.command],
            cwd=job.cwd,
            env=dict(job.env),
            phase=job.phase,
            reason=reason,
            exit_code=job.exit_code,
            queue_position=position,
            created_at=job.created_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            duration_seconds=max((end - job.started_at).total_seconds(), 0) if job.started_at else None,
            run_id=job.run_id,
            experiment_id=job.experiment_id,
            run_url=run_url(job),
            attempt=job.attempt,
            rerun_of=job.rerun_of,
            max_seconds=job.max_seconds,
            cost_micro=cost,
            currency=self.platform.settings.currency,
        )
        out._state = job.backend_state if job.phase is Phase.QUEUED else None
        return out


def run_url(job: Job) -> str | None:
    """MLflow's page of the run, a path on the platform's own address."""
    if job.run_id is None:
        return None
    return f"{PREFIX}/#/experiments/{job.experiment_id}/runs/{job.run_id}?workspace={job.tenant}"
