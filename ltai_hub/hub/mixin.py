"""What both spawners share: tenant, admission, profile → resources, and the metering of environments.

A start: choose and admit (one transaction) → wait in the queue → launch → running. The row in ``environments`` is the
truth about phase and usage; JupyterHub's own database only says which servers exist. A subclass brings ``launch``,
``halt`` and ``look``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jupyterhub.spawner import Spawner, SpawnException
from tornado import web
from traitlets import Integer, Unicode

from ltai_hub.catalog.files import profile_mounts
from ltai_hub.domain.quotas import LEAVE_NONE
from ltai_hub.domain.tenants import Person
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.environments.store import Environment
from ltai_hub.errors import BadInput, BadWorkload, NoCapacity, Problem, TryLater, Unavailable
from ltai_hub.hub.answering import FirstAnswers
from ltai_hub.hub.choice import Wish, read_options
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.progress import Progress, Step
from ltai_hub.hub.records import Records
from ltai_hub.metering.phases import SEEN_SECONDS
from ltai_hub.tenancy.admission import Admission
from ltai_hub.units import utc_now

QUEUE_SECONDS = 1.0
CAPACITY_SECONDS = 2.0
LOOK_SECONDS = 0.25
RECORD_SECONDS = 1.0
# what a server gets to shut its kernels down
STOP_SECONDS = 5


class DidNotStart(Problem):
    status, code = 500, "did-not-start"


@dataclass(frozen=True)
class Seen:
    """A backend's view of one server. ``code`` None while it runs; ``ended_at`` as the backend recorded it, None where it saw no end."""

    code: int | None
    reason: str = ""
    ended_at: datetime | None = None


class PlatformSpawner(Spawner):  # type: ignore[misc]  # JupyterHub has no types
    """Abstract; see ``LocalSpawner`` and ``KubernetesSpawner``."""

    platform_url = Unicode("http://127.0.0.1:8000", config=True, help="The platform's address as programs inside a server reach it.")
    answer_seconds = Integer(60, config=True, help="A server that has not answered after so many seconds has failed to start.")

    # Whether environments, and starts that are under way, go on while the hub is away
    outlives_hub = False
    # before their first use; else an image is a container that the node pulls
    builds_images = True
    # the hub is shutting down: nobody cancelled anything
    hub_is_leaving = False

    environment_id: int | None = None
    backend_state: dict[str, Any] | None = None
    # how it is ending, when the hub was asked to end it
    ending: tuple[Phase, str] | None = None
    # when the profile's time is over
    deadline: datetime | None = None
    # since when it runs, where the backend knows it better than our clock
    began_at: datetime | None = None
    # monotonic; when the row is told again that it still runs
    note_again = 0.0
    told: Progress
    first_answers = FirstAnswers()

    # ---- for subclasses

    async def launch(self, row: Environment) -> tuple[str, int]:
        """Start the server and return its address once it answers. Sets ``backend_state`` as soon as there is one, unless ``place`` did."""
        raise NotImplementedError

    def place(self, row: Environment) -> dict[str, Any] | None:
        """The ``backend_state`` of what ``launch`` is about to make, where it is known before."""
        return None

    async def fits(self, resources: Resources) -> str:
        """ "" when it could run once everything else has ended, else why it never can."""
        raise NotImplementedError

    @classmethod
    def left_to_queue(cls) -> frozenset[str]:
        """Resources whose tenants' limits a cluster's own queue keeps; admission leaves them to it."""
        return LEAVE_NONE

    async def halt(self, now: bool) -> None:
        """End it and wait until it has ended; ending what is gone is fine."""
        raise NotImplementedError

    async def look(self) -> Seen:
        """What is known of it now; ``code`` 0 when nothing is known any more."""
        raise NotImplementedError

    @classmethod
    async def end_stray(cls, state: dict[str, Any] | None) -> None:
        """End what a hub that was killed had begun to start; ``state`` is the row's ``backend_state``."""
        raise NotImplementedError

    @classmethod
    async def sweep(cls) -> None:
        """Remove what ended and could not be removed then."""

    # ---- JupyterHub's seam

    async def start(self) -> tuple[str, int]:
        self.told = Progress()
        self.ending = None
        self.began_at = None
        try:
            row = await self._admitted()
            address = await self._launched(row)
            await self.record(Phase.RUNNING, at=self.began_at)
            self._set_deadline(row)
        except Problem as problem:
            await self._failed_start(problem.message)
            raise refusal(problem) from problem
        except asyncio.CancelledError:
            if self.outlives_hub and self.hub_is_leaving:
                raise
            # Cancel on the pending page: give everything back before the hub goes on
            self.ending = (Phase.CANCELLED, "cancelled")
            await self.halt(now=True)
            await self.record_end()
            raise
        except Exception as error:
            await self._failed_start(f"the platform failed to start it: {error}")
            raise
        self.told.tell(Step("ready", 95, "It answers"))
        return address

    async def stop(self, now: bool = False) -> None:
        self.ending = self.ending or (Phase.STOPPED, "stopped")
        await self.record(Phase.STOPPING)
        await self.halt(now)

    async def poll(self) -> int | None:
        seen = await self.look()
        if seen.code is None:
            await self._note_seen()
        if seen.code is None and self.deadline is not None and utc_now() >= self.deadline:
            self.ending = (Phase.STOPPED, "the time its profile allows is over")
            await self.halt(now=False)
            seen = await self.look()
        return seen.code

    async def _note_seen(self) -> None:
        """Where its usage ends should the machine go down now."""
        if self.environment_id is not None and time.monotonic() >= self.note_again:
            self.note_again = time.monotonic() + SEEN_SECONDS
            await in_thread(self.records.note_seen, self.environment_id)

    def _set_deadline(self, row: Environment) -> None:
        limit = hub_core().catalog.get_profile(row.profile).max_seconds
        self.deadline = utc_now() + timedelta(seconds=limit) if limit else None

    async def run_post_stop_hook(self) -> None:
        """JupyterHub calls this at every end: asked for, died, failed to start, found dead at the hub's start."""
        await self.record_end()

    async def delete_forever(self) -> None:
        await in_thread(self.records.delete, self.user.name, self.name)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.environment_id is not None:
            state.update(environment=self.environment_id, backend=self.backend_state)
            state["deadline"] = self.deadline.isoformat() if self.deadline else None
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.environment_id = state.get("environment")
        self.backend_state = state.get("backend")
        self.deadline = datetime.fromisoformat(state["deadline"]) if state.get("deadline") else None

    def clear_state(self) -> None:
        super().clear_state()
        self.environment_id = None
        self.backend_state = None
        self.deadline = None

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        told = getattr(self, "told", None)
        if told is not None:
            async for step in told.follow():
                yield step.as_event()

    def options_from_form(self, form_data: dict[str, Any]) -> dict[str, str]:
        """Also of ``?opt-profile=…`` in the address of the spawn page."""
        try:
            return read_options(form_data)
        except BadInput as problem:
            raise web.HTTPError(400, "%s", problem.message) from problem

    # ---- steps

    @property
    def records(self) -> Records:
        core = hub_core()
        return Records(core.database, core.catalog, left=self.left_to_queue())

    async def _admitted(self) -> Environment:
        """Chosen, admitted and, where it had to, waited for."""
        self.told.tell(Step("asked", 5, "Looking for a place"))
        named = {"display_name": self.orm_spawner.display_name or ""}
        wish = Wish(**(named | read_options(self.user_options or {})))
        row = await self._under_way(wish)
        if row is None:
            row, answer = await self._begun(wish)
        else:
            answer = await in_thread(self.records.look, row)
        self.environment_id, self.backend_state = row.id, row.backend_state
        while not answer.held:
            self.told.tell(Step("queued", 10, f"Waiting, place {answer.position}: {answer.reason}", answer.position, answer.reason))
            await asyncio.sleep(QUEUE_SECONDS)
            answer = await in_thread(self.records.look, row)
        if row.phase is Phase.QUEUED and row.backend_state is None:
            row = await in_thread(self.records.move, row.id, Phase.STARTING, backend_state=self.place(row))
            self.backend_state = row.backend_state
        return row

    async def _under_way(self, wish: Wish) -> Environment | None:
        """A start that the hub left behind when it went away; it goes on where it was, unless something else is wished now."""
        row = await in_thread(self.records.find, self.user.name, self.name) if self.outlives_hub else None
        if row is None or row.phase.is_final:
            return None
        if wish.suits(row) and row.phase is not Phase.STOPPING:
            return row
        await self.end_stray(row.backend_state)
        return None

    async def _begun(self, wish: Wish) -> tuple[Environment, Admission]:
        person = Person(self.user.name, admin=bool(self.user.admin))
        url = self.user.server_url(self.name) + "lab"
        choice = await in_thread(self.records.choose, person, wish)
        if never := await self.fits(hub_core().catalog.resources_of(choice.flavor)):
            raise BadWorkload(never)
        beginning = asyncio.ensure_future(in_thread(self.records.begin, person, self.name, choice, url, self.place))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            # it is written down all the same, and has to be ended too
            row, _ = await beginning
            self.environment_id, self.backend_state = row.id, row.backend_state
            raise

    async def _launched(self, row: Environment) -> tuple[str, int]:
        """Launch, waiting while the machine itself has nothing free."""
        while True:
            try:
                return await self.launch(row)
            except NoCapacity as full:
                self.told.tell(Step("full", 10, f"Waiting: {full.message}", detail=full.message))
                await asyncio.sleep(CAPACITY_SECONDS)
            except TryLater as later:
                self.told.tell(Step("later", 10, f"Waiting: {later.message}", detail=later.message))
                await asyncio.sleep(later.after)

    def _workload(self, row: Environment, command: Sequence[str]) -> Workload:
        core = hub_core()
        profile, image = core.catalog.get_profile(row.profile), core.catalog.get_image(row.image)
        home = core.settings.folder.home(self.user.name)
        return Workload(
            name=workload_name(row),
            kind=Kind.ENVIRONMENT,
            user=self.user.name,
            tenant=row.tenant,
            image=row.image,
            flavor=row.flavor,
            resources=core.catalog.get_flavor(row.flavor).resources,
            command=(*command, *self.get_args()),
            env={**image.environment, **profile.environment, **self.get_env(), **self._platform_env(row)},
            home=str(home),
            cwd=str(home),
            mounts=profile_mounts(core.settings.folder, profile, home),
            copies=profile.copy,
            max_seconds=profile.max_seconds,
        )

    def _platform_env(self, row: Environment) -> dict[str, str]:
        """What SDK, CLI, MLflow and the Lab extension inside need to reach the platform as this person."""
        return {
            "LTAI_URL": self.platform_url,
            "LTAI_SERVICES_URL": self.platform_url,
            "LTAI_PUBLIC_URL": hub_core().settings.public_url,
            "LTAI_TOKEN": self.api_token,
            "LTAI_TENANT": row.tenant,
            "LTAI_ENVIRONMENT": str(row.id),
            "MLFLOW_TRACKING_URI": f"{self.platform_url}/services/models/mlflow",
            "MLFLOW_TRACKING_TOKEN": self.api_token,
            "MLFLOW_WORKSPACE": row.tenant,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }

    async def _answered(self, host: str, port: int) -> None:
        """Raises DidNotStart when it ended or took too long."""
        answer = asyncio.ensure_future(self.first_answers.wait(host, port, f"{self.server.base_url}api"))
        try:
            async with asyncio.timeout(self.answer_seconds):
                while not answer.done():
                    await asyncio.wait([answer], timeout=LOOK_SECONDS)
                    seen = await self.look()
                    if seen.code is not None:
                        raise DidNotStart(f"JupyterLab ended before it answered: {seen.reason or f'exit code {seen.code}'}")
        except TimeoutError:
            raise DidNotStart(f"JupyterLab did not answer within {self.answer_seconds} seconds") from None
        finally:
            answer.cancel()

    async def record(self, phase: Phase, reason: str = "", at: datetime | None = None) -> None:
        """However long the database is away: an environment that starts or ends meanwhile does so, and is written down after."""
        while self.environment_id is not None:
            try:
                await in_thread(self.records.move, self.environment_id, phase, reason, at, self.backend_state)
                return
            except Unavailable as away:
                self.log.warning("%s of %s is not written down yet: %s", phase, self._log_name, away.message)
                await asyncio.sleep(RECORD_SECONDS)

    async def record_end(self) -> None:
        """The final phase, with the time at which it really ended; a second call changes nothing."""
        if self.environment_id is None:
            return
        seen = await self.look()
        if seen.code is None:
            await self.halt(now=True)
            seen = await self.look()
        phase, reason = self.ending or how_it_ended(seen)
        await self.record(phase, reason, seen.ended_at)

    async def _failed_start(self, reason: str) -> None:
        if self.environment_id is not None:
            self.ending = (Phase.FAILED, reason)
            await self.halt(now=True)
            await self.record_end()


def workload_name(row: Environment) -> str:
    return f"environment-{row.id}-{row.generation}"


def how_it_ended(seen: Seen) -> tuple[Phase, str]:
    """Of a server nobody stopped: File → Shut Down leaves with 0, everything else is a failure."""
    if seen.code == 0:
        return Phase.STOPPED, seen.reason or "ended by itself"
    return Phase.FAILED, seen.reason or f"exit code {seen.code}"


def refusal(problem: Problem) -> SpawnException:
    """The problem as JupyterHub shows it: its sentence, no traceback."""
    error = SpawnException(problem.message, reason=problem.code, status_code=problem.status)
    # without it the spawn page shows str(error), which has the class and the code
    error.jupyterhub_message = problem.message
    return error
