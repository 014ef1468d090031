"""JupyterHub with four additions: at its start it brings the platform's rows of environments in line with what really runs,
starts that outlive it go on, a proxy that was started again gets its routes back at once, and it says when its routes are given.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any
from urllib.parse import urlsplit

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.handlers.pages import HealthCheckHandler
from jupyterhub.services.service import Service
from sqlalchemy import event
from tornado.ioloop import PeriodicCallback

from ltai_hub.collector import calm_collector
from ltai_hub.db.engine import write_ahead
from ltai_hub.domain.workloads import Phase
from ltai_hub.environments.store import Environment
from ltai_hub.errors import Problem, Unavailable
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.outage import LOOK_SECONDS, DatabaseWatch, tell_of_outages
from ltai_hub.hub.records import Records
from ltai_hub.hubapi import HubApi

# JupyterHub itself looks every five minutes; until then no service and no environment could be reached
PROXY_SECONDS = 2.0
SWEEP_SECONDS = 120.0
# a start that was left behind goes on once the hub's API answers
ATTEMPTS, AGAIN_SECONDS = 120, 0.5
ANY_ADDRESS = ("", "0.0.0.0", "::")


class ReadyHandler(HealthCheckHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/ready``: 503 until every service and environment has its route; the hub answers before that, and would say 404 for them."""

    def initialize(self, hub: PlatformHub) -> None:
        self.hub_app = hub

    def get(self) -> None:
        self.set_status(200 if self.hub_app.has_begun else 503)

    head = get


class PlatformHub(JupyterHub):  # type: ignore[misc]  # JupyterHub has no types
    name = "jupyterhub"
    has_begun = False

    def init_handlers(self) -> None:
        self.extra_handlers.append(("/ready", ReadyHandler, {"hub": self}))
        super().init_handlers()

    def init_db(self) -> None:
        super().init_db()
        engine = self.db.get_bind()
        if engine.dialect.name == "sqlite":
            # a start and the page after it are two dozen commits
            event.listen(engine, "connect", write_ahead)
            engine.dispose()

    async def start(self) -> None:
        tell_of_outages()
        # JupyterHub does it last; asked to stop while services start, it would leave environments to be killed
        self.init_signal()
        await super().start()
        self.has_begun = True
        PeriodicCallback(self.restore_lost_routes, 1e3 * PROXY_SECONDS).start()
        PeriodicCallback(self.spawner_class.sweep, 1e3 * SWEEP_SECONDS).start()
        if self.spawner_class.outlives_hub:
            PeriodicCallback(DatabaseWatch(self.db.get_bind(), self.begin_anew).look, 1e3 * LOOK_SECONDS).start()
        calm_collector()
        self._going_on = [asyncio.create_task(self.go_on(row)) for row in self._left_behind]

    async def start_service(self, service_name: str, service: Service, ssl_context: Any = None) -> bool:
        """Those that the hub does not run itself get their routes at once: JupyterHub would first wait for each, 30 s long."""
        return not service.managed or bool(await super().start_service(service_name, service, ssl_context))

    def begin_anew(self) -> None:
        """As if it were told to end; whoever runs it starts it again."""
        self.db.rollback()
        os.kill(os.getpid(), signal.SIGTERM)

    async def shutdown_cancel_tasks(self, sig: Any = None) -> None:
        # starts are cancelled with everything else; those that outlive the hub are not to take it for a person's wish
        self.spawner_class.hub_is_leaving = True
        await super().shutdown_cancel_tasks(sig)

    async def restore_lost_routes(self) -> None:
        """A proxy without the hub's own route has forgotten everything."""
        try:
            routes = await self.proxy.get_all_routes()
            if self.hub.routespec not in routes:
                self.log.warning("The proxy was started again; giving it its routes")
                await self.proxy.check_routes(self.users, self._service_map, routes)
        except Exception as error:  # it is not there yet: the next look finds it
            self.log.info("The proxy does not answer (%s)", type(error).__name__)

    async def init_spawners(self) -> int:
        self._left_behind = await self.spare_starts() if self.spawner_class.outlives_hub else []
        checked: int = await super().init_spawners()
        await self.end_cut_off_starts({row.id for row in self._left_behind})
        return checked

    async def spare_starts(self) -> list[Environment]:
        """Starts that were under way: JupyterHub would take them for servers that have died, and revoke their tokens."""
        spared = []
        for row in await in_thread(self.records.unfinished):
            user = orm.User.find(self.db, row.user)
            spawner = user.orm_spawners.get(row.server) if user is not None else None
            # once a server has answered, its state is in the hub's own database
            if spawner is None or row.phase is Phase.STOPPING or (spawner.state or {}).get("environment") == row.id:
                continue
            if spawner.server is not None:
                self.db.delete(spawner.server)
            spared.append(row)
        self.db.commit()
        return spared

    async def go_on(self, row: Environment) -> None:
        """As if its owner clicked again: the spawner finds what there is already."""
        place = urlsplit(self.hub.bind_url)
        host = "127.0.0.1" if place.hostname in ANY_ADDRESS else place.hostname
        hub = HubApi(f"http://{host}:{place.port}{self.hub.base_url}api", self._service_map["ltai"].api_token)
        options = {name: getattr(row, name) for name in ("tenant", "profile", "image", "flavor", "display_name")}
        try:
            for _ in range(ATTEMPTS):
                if await self._goes_on(hub, row, options):
                    return
                await asyncio.sleep(AGAIN_SECONDS)
            await self.end_left_behind(row)
        except Problem as problem:
            await self.end_left_behind(row, problem.message)
        finally:
            await hub.close()

    async def _goes_on(self, hub: HubApi, row: Environment, options: dict[str, Any]) -> bool:
        try:
            await hub.start_server(row.user, row.server, options)
        except Unavailable as later:
            self.log.info("The start of %s/%s does not go on yet: %s", row.user, row.server, later.message)
            now = await in_thread(self.records.find, row.user, row.server)
            # it went on, and failed
            return now is None or now.phase.is_final
        return True

    async def end_cut_off_starts(self, spared: set[int]) -> None:
        """Starts that were under way when the hub was killed: nobody waits for them any more."""
        for row in await in_thread(self.records.unfinished):
            user = next((u for u in self.users.values() if u.name == row.user), None)
            spawner = user.spawners.get(row.server) if user is not None else None
            if row.id not in spared and (spawner is None or not spawner.active):
                await self.end_left_behind(row)

    async def end_left_behind(self, row: Environment, reason: str = "the platform was stopped while it started") -> None:
        await self.spawner_class.end_stray(row.backend_state)
        await in_thread(self.records.move, row.id, Phase.FAILED, reason)

    @property
    def records(self) -> Records:
        return Records(hub_core().database, hub_core().catalog)


main = PlatformHub.launch_instance
