"""The verbs: asked for here, carried out by the hub, whose spawner admits, records and meters."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Sequence

from sqlalchemy.engine import Connection

from ltai_hub.backends.base import check_fits
from ltai_hub.domain.lists import Part
from ltai_hub.domain.workloads import Kind, Phase, Resources
from ltai_hub.environments import store
from ltai_hub.environments.store import DEFAULT_NAME, Environment
from ltai_hub.errors import Conflict
from ltai_hub.metering.costs import hourly_prices
from ltai_hub.service import Platform
from ltai_hub.slugs import check_number, check_title, make_slug
from ltai_hub.tenancy.admission import Admission, standings
from ltai_hub.tenancy.choices import resolve
from ltai_hub.tenancy.permit import permit, sight_of
from ltai_hub.web.callers import Caller
from ltai_services.environments.models import EnvironmentOut, NewEnvironment

# JupyterHub allows [a-z][a-z0-9-]{0,29}
LONGEST_SERVER = 30


class EnvironmentService:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.database = platform.database

    def select(self, caller: Caller, part: Part, tenant: str | None, user: str | None, active: bool) -> tuple[list[EnvironmentOut], int]:
        with self.database.reading() as tx:
            sight = sight_of(tx, caller, "environments:read", tenant, user)
            found, total = store.select_environments(tx, sight, part, self.platform.clock(), active)
            return self._out_all(tx, found), total

    def get(self, caller: Caller, environment_id: int) -> EnvironmentOut:
        with self.database.reading() as tx:
            return self._out(tx, self._permitted(tx, caller, environment_id, "environments:read"))

    async def create(self, caller: Caller, new: NewEnvironment) -> EnvironmentOut:
        """Ask the hub to start it; what is wrong with the choice is said before anything is begun."""
        title = check_title(new.name, "environment", longest=100)
        server = "" if title == DEFAULT_NAME else make_slug(title, LONGEST_SERVER)
        resources = await to_thread(self._check, caller, new, server)
        await check_fits(self.platform.backend, resources)
        options = {"profile": new.profile, "image": new.image, "flavor": new.flavor, "tenant": new.tenant, "display_name": title}
        await self.platform.hub.ensure_user(caller.name)
        await self.platform.hub.start_server(caller.name, server, options)
        return await to_thread(self._find, caller.name, server)

    def _check(self, caller: Caller, new: NewEnvironment, server: str) -> Resources:
        with self.database.reading() as tx:
            chosen = resolve(tx, self.platform.catalog, caller, new.tenant, new.profile, new.image, new.flavor)
            permit(tx, caller, "environments:create", chosen.tenant)
            running = store.find(tx, caller.name, server)
        if running is not None and not running.phase.is_final:
            raise Conflict(f"your environment {running.display_name} is {running.phase} already; stop it first or choose another name")
        return chosen.flavor.resources

    async def start(self, caller: Caller, environment_id: int) -> EnvironmentOut:
        """Start a stopped one again with what it had."""
        row = await to_thread(self._permitted_row, caller, environment_id, "environments:create")
        if not row.phase.is_final:
            raise Conflict(f"the environment {row.display_name} is {row.phase} already")
        await check_fits(self.platform.backend, self.platform.catalog.resources_of(row.flavor))
        options = {"profile": row.profile, "image": row.image, "flavor": row.flavor, "tenant": row.tenant, "display_name": row.display_name}
        await self.platform.hub.start_server(row.user, row.server, options)
        return await to_thread(self._find, row.user, row.server)

    async def stop(self, caller: Caller, environment_id: int) -> EnvironmentOut:
        row = await to_thread(self._permitted_row, caller, environment_id, "environments:stop")
        if not row.phase.is_final:
            await self.platform.hub.stop_server(row.user, row.server)
        return await to_thread(self._find, row.user, row.server)

    async def delete(self, caller: Caller, environment_id: int) -> None:
        """Stop and forget it; the home with all files stays."""
        row = await to_thread(self._permitted_row, caller, environment_id, "environments:delete")
        await self.platform.hub.delete_server(row.user, row.server)
        await to_thread(self._mark_deleted, row)

    def _mark_deleted(self, row: Environment) -> None:
        with self.database.transaction() as tx:
            store.mark_deleted(tx, row.id)

    def _permitted_row(self, caller: Caller, environment_id: int, action: str) -> Environment:
        with self.database.reading() as tx:
            return self._permitted(tx, caller, environment_id, action)

    def _permitted(self, tx: Connection, caller: Caller, environment_id: int, action: str) -> Environment:
        check_number(environment_id, "environment")
        row = store.get(tx, environment_id)
        permit(tx, caller, action, row.tenant, owner=row.user)
        return row

    def _find(self, user: str, server: str) -> EnvironmentOut:
        with self.database.reading() as tx:
            row = store.find(tx, user, server)
            if row is None:
                raise Conflict("the hub has not begun to start the environment; look at the list in a moment")
            return self._out(tx, row)

    def _out(self, tx: Connection, row: Environment) -> EnvironmentOut:
        return self._out_all(tx, [row])[0]

    def _out_all(self, tx: Connection, rows: Sequence[Environment]) -> list[EnvironmentOut]:
        queued = [row.run_id for row in rows if row.phase is Phase.QUEUED]
        queue = standings(tx, Kind.ENVIRONMENT, queued, self.platform.left_to_queue)
        prices = hourly_prices(tx, self.platform.clock())
        return [self._one_out(row, queue.get(row.run_id), prices.get(row.flavor, 0)) for row in rows]

    def _one_out(self, row: Environment, queued: Admission | None, price: int) -> EnvironmentOut:
        return EnvironmentOut(
            id=row.id,
            name=row.name,
            display_name=row.display_name,
            user=row.user,
            tenant=row.tenant,
            profile=row.profile,
            image=row.image,
            flavor=row.flavor,
            phase=row.phase,
            reason=queued.reason if queued and queued.reason else row.reason,
            url=row.url,
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            queue_position=(queued.position if queued else None) or row.position,
            price_micro_per_hour=price,
            currency=self.platform.settings.currency,
        )
