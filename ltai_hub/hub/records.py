"""What the hub writes into the platform's database about environments. Blocking: call from a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from ltai_hub.db.engine import Database
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.quotas import LEAVE_NONE
from ltai_hub.domain.tenants import Person
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.environments import store
from ltai_hub.environments.store import Choice, Environment
from ltai_hub.errors import BadInput
from ltai_hub.hub.choice import Offer, Wish
from ltai_hub.metering.phases import Subject, change_phase
from ltai_hub.tenancy import store as tenancy
from ltai_hub.tenancy.admission import Admission, Ask, admit, admit_waiting, release, waiting
from ltai_hub.tenancy.choices import resolve
from ltai_hub.tenancy.permit import default_tenant, permitted_tenants
from ltai_hub.units import utc_now

CREATE = "environments:create"
# where a start will be found, where that is known before it is made
Place = Callable[[Environment], dict[str, Any] | None]


@dataclass(frozen=True)
class Records:
    database: Database
    catalog: Catalog
    clock: Callable[[], datetime] = utc_now
    left: frozenset[str] = LEAVE_NONE

    def offer(self, person: Person) -> Offer:
        """Tenants where the person may start environments, their first own one first, with the profiles of each."""
        with self.database.reading() as tx:
            return self._offer(tx, person)

    def _offer(self, tx: Connection, person: Person) -> Offer:
        slugs = sorted(permitted_tenants(tx, person, CREATE, own=True))
        try:
            first = default_tenant(tx, person.name)
        except BadInput:
            first = ""
        # a tenant the person was put into comes before one that is only below it
        direct = tenancy.direct_tenants(tx, person.name)
        slugs.sort(key=lambda slug: (slug != first, slug not in direct))
        assigned = tenancy.profiles_of(tx, slugs)
        return Offer({slug: assigned.get(slug, []) for slug in slugs})

    def choose(self, person: Person, wish: Wish) -> Choice:
        """What the person may have of what they wish. Raises BadInput, Denied, NotFound."""
        with self.database.reading() as tx:
            chosen = resolve(tx, self.catalog, person, wish.tenant, wish.profile, wish.image, wish.flavor)
        return Choice(chosen.tenant, chosen.profile.name, chosen.image.name, chosen.flavor.name, wish.display_name)

    def begin(self, person: Person, server: str, choice: Choice, url: str, place: Place) -> tuple[Environment, Admission]:
        """Write the row and admit it, in one transaction; what may start is written down with its ``place``.

        Raises what they raise; then nothing is written.
        """
        now = self.clock()
        with self.database.transaction() as tx:
            found = store.find(tx, person.name, server)
            if found is not None:
                self._end_left_over(tx, found, now)
            row = store.begin(tx, person.name, server, choice, url, now, found)
            answer = admit(tx, person, CREATE, self._ask(row), now, self.left)
            phase, state = (Phase.STARTING, place(row)) if answer.held else (Phase.QUEUED, None)
            return self._move(tx, row, None, phase, answer.reason, now, backend_state=state, actor=person.name), answer

    def _end_left_over(self, tx: Connection, row: Environment, now: datetime) -> None:
        """A start that was cut off when the hub was killed."""
        if not row.phase.is_final:
            self._move(tx, row, row.phase, Phase.FAILED, "the platform was stopped while it started", now, ended_at=now)

    def look(self, environment: Environment) -> Admission:
        """Where a waiting environment stands now; held at once when there is room."""
        with self.database.transaction() as tx:
            admit_waiting(tx, self.clock(), self.left)
            answer = waiting(tx, Kind.ENVIRONMENT, environment.run_id, self.left)
            return answer or Admission(held=False, reason="its place in the queue was given up")

    def move(
        self,
        environment_id: int,
        phase: Phase,
        reason: str = "",
        at: datetime | None = None,
        backend_state: dict[str, Any] | None = None,
        actor: str = "platform",
    ) -> Environment:
        """One step of its life. What has ended stays ended; ``at`` is when it really happened.

        An end nobody saw is where it was last seen.
        """
        with self.database.transaction() as tx:
            row = store.get(tx, environment_id)
            if row.phase.is_final:
                return row
            at = at or (row.seen_at if phase.is_final else None) or self.clock()
            started_at = at if phase is Phase.RUNNING and row.started_at is None else None
            ended_at = at if phase.is_final else None
            return self._move(tx, row, row.phase, phase, reason, at, started_at, ended_at, backend_state, actor)

    def _move(
        self,
        tx: Connection,
        row: Environment,
        old: Phase | None,
        new: Phase,
        reason: str,
        at: datetime,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        backend_state: dict[str, Any] | None = None,
        actor: str = "platform",
    ) -> Environment:
        change_phase(tx, self._subject(row), old, new, reason, at, actor)
        return store.set_phase(tx, row, new, reason, started_at, ended_at, backend_state)

    def note_seen(self, environment_id: int) -> None:
        with self.database.transaction() as tx:
            store.note_seen(tx, environment_id, self.clock())

    def delete(self, user: str, server: str) -> None:
        """The row of a deleted server is kept for its bill but no longer shown."""
        with self.database.transaction() as tx:
            row = store.find(tx, user, server)
            if row is None:
                return
            if not row.phase.is_final:
                now = self.clock()
                self._move(tx, row, row.phase, Phase.STOPPED, "deleted", now, ended_at=now)
            release(tx, Kind.ENVIRONMENT, row.run_id, self.clock())
            store.mark_deleted(tx, row.id)

    def unfinished(self) -> list[Environment]:
        with self.database.reading() as tx:
            return store.unfinished(tx)

    def find(self, user: str, server: str) -> Environment | None:
        with self.database.reading() as tx:
            return store.find(tx, user, server)

    def _subject(self, row: Environment) -> Subject:
        return Subject(Kind.ENVIRONMENT, row.run_id, row.name, row.user, row.tenant, row.flavor, self.catalog.resources_of(row.flavor))

    def _ask(self, row: Environment) -> Ask:
        return Ask(Kind.ENVIRONMENT, row.run_id, row.user, row.tenant, row.flavor, self.catalog.resources_of(row.flavor))
