"""The verbs: asked for here, carried out by the hub, whose spawner admits, records and meters."""

from __future__ import annotations

from asyncio import to_thread

from sqlalchemy.engine import Connection

from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.environments import store
from ltai_hub.environments.store import DEFAULT_NAME, Environment
from ltai_hub.errors import BadInput, Conflict
from ltai_hub.metering.costs import hourly_price
from ltai_hub.service import Platform
from ltai_hub.slugs import check_title, make_slug
from ltai_hub.tenancy import store as tenancy
from ltai_hub.tenancy.admission import waiting
from ltai_hub.tenancy.choices import resolve
from ltai_hub.tenancy.permit import permit, permitted_tenants
from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import Paging, whose
from ltai_services.environments.models import EnvironmentOut, NewEnvironment

ACTIVE = (Phase.QUEUED, Phase.STARTING, Phase.RUNNING, Phase.STOPPING)
# JupyterHub allows [a-z][a-z0-9-]{0,29}
LONGEST_SERVER = 30


class EnvironmentService:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.database = platform.database

    def list(self, caller: Caller, paging: Paging, tenant: str | None, user: str | None, active: bool) -> tuple[list[EnvironmentOut], int]:
        """One's own, or with ``user`` "all" (or a name) those of others where the caller may see them."""
        name = whose(caller, user or "me")
        with self.database.reading() as tx:
            inside = None
            if tenant:
                permit(tx, caller, "environments:read", tenant)
                inside = tenancy.subtree(tx, [tenant])
            visible = permitted_tenants(tx, caller, "environments:read")
            phases = ACTIVE if active else ()
            found, total = store.select_environments(tx, caller.name, visible, paging.limit, paging.offset, inside, name, paging.q, phases)
            return [self._out(tx, row) for row in found], total

    def get(self, caller: Caller, environment_id: int) -> EnvironmentOut:
        with self.database.reading() as tx:
            return self._out(tx, self._permitted(tx, caller, environment_id, "environments:read"))

    async def create(self, caller: Caller, new: NewEnvironment) -> EnvironmentOut:
        """Ask the hub to start it; what is wrong with the choice is said before anything is begun."""
        title = check_title(new.name, "environment", longest=100)
        server = "" if title == DEFAULT_NAME else make_slug(title, LONGEST_SERVER)
        await to_thread(self._check, caller, new, server)
        options = {"profile": new.profile, "image": new.image, "flavor": new.flavor, "tenant": new.tenant, "display_name": title}
        await self.platform.hub.ensure_user(caller.name)
        await self.platform.hub.start_server(caller.name, server, options)
        return await to_thread(self._find, caller.name, server)

    def _check(self, caller: Caller, new: NewEnvironment, server: str) -> None:
        with self.database.reading() as tx:
            chosen = resolve(tx, self.platform.catalog, caller, new.tenant, new.profile, new.image, new.flavor)
            permit(tx, caller, "environments:create", chosen.tenant)
            running = store.find(tx, caller.name, server)
        if running is not None and not running.phase.is_final:
            raise Conflict(f"your environment {running.display_name} is {running.phase} already; stop it first or choose another name")

    async def start(self, caller: Caller, environment_id: int) -> EnvironmentOut:
        """Start a stopped one again with what it had."""
        row = await to_thread(self._permitted_row, caller, environment_id, "environments:create")
        if not row.phase.is_final:
            raise Conflict(f"the environment {row.display_name} is {row.phase} already")
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
        if not 0 < environment_id < 2**63:
            raise BadInput(f"{environment_id} is no environment number")
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
        queued = waiting(tx, Kind.ENVIRONMENT, row.run_id) if row.phase is Phase.QUEUED else None
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
            queue_position=queued.position if queued else None,
            price_micro_per_hour=hourly_price(tx, row.flavor, self.platform.clock()),
            currency=self.platform.settings.currency,
        )
