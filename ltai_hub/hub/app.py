"""JupyterHub with two additions: at its start it brings the platform's rows of environments in line with what really runs,
and a proxy that was started again gets its routes back at once.
"""

from __future__ import annotations

from jupyterhub.app import JupyterHub
from tornado.ioloop import PeriodicCallback

from ltai_hub.domain.workloads import Phase
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.records import Records

# JupyterHub itself looks every five minutes; until then no service and no environment could be reached
PROXY_SECONDS = 2.0


class PlatformHub(JupyterHub):  # type: ignore[misc]  # JupyterHub has no types
    name = "jupyterhub"

    async def start(self) -> None:
        # JupyterHub does it last; asked to stop while services start, it would leave environments to be killed
        self.init_signal()
        await super().start()
        PeriodicCallback(self.restore_lost_routes, 1e3 * PROXY_SECONDS).start()

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
        checked: int = await super().init_spawners()
        await self.end_cut_off_starts()
        return checked

    async def end_cut_off_starts(self) -> None:
        """Starts that were under way when the hub was killed: nobody waits for them any more."""
        records = Records(hub_core().database, hub_core().catalog)
        for row in await in_thread(records.unfinished):
            user = next((u for u in self.users.values() if u.name == row.user), None)
            spawner = user.spawners.get(row.server) if user is not None else None
            if spawner is None or not spawner.active:
                await self.spawner_class.end_stray(row.backend_state)
                await in_thread(records.move, row.id, Phase.FAILED, "the platform was stopped while it started")


main = PlatformHub.launch_instance
