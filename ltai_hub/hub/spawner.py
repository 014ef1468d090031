"""Environments as processes of this machine, forked from the preloaded fork server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Integer, List

from ltai_hub.backends.local.client import ForkServer
from ltai_hub.backends.local.devices import lacking
from ltai_hub.catalog.files import copy_into_home
from ltai_hub.catalog.images import ImageState, build_image, image_state
from ltai_hub.domain.catalog import Profile
from ltai_hub.domain.workloads import Resources
from ltai_hub.environments.store import Environment
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.mixin import STOP_SECONDS, PlatformSpawner, Seen
from ltai_hub.hub.progress import Step

SERVER = ("jupyterhub-singleuser",)


class LocalSpawner(PlatformSpawner):
    forward = List(Integer(), config=True, help="Ports of the machine's loopback that a server with a private network reaches.")

    # ---- PlatformSpawner's seam

    async def launch(self, row: Environment) -> tuple[str, int]:
        await self._image_ready(row.image)
        profile = hub_core().catalog.get_profile(row.profile)
        self.told.tell(Step("starting", 60, "Starting JupyterLab"))
        self.backend_state, host, port = await self.forks.start_server(self._workload(row, SERVER))
        await self.record(row.phase, row.reason)
        # the fork server has just made the home and given it to its owner
        await in_thread(self._copy_course_files, profile)
        self.told.tell(Step("waiting", 80, "Waiting for its first answer"))
        await self._answered(host, port)
        return host, port

    async def fits(self, resources: Resources) -> str:
        return await in_thread(lacking, hub_core().settings.folder, resources, 1)

    async def halt(self, now: bool) -> None:
        if self.backend_state is not None:
            await self._end(self.forks, self.backend_state, now)

    @classmethod
    async def end_stray(cls, state: dict[str, Any] | None) -> None:
        if state is not None:
            await cls._end(ForkServer(hub_core().settings.folder), state, now=True)

    @staticmethod
    async def _end(forks: ForkServer, state: dict[str, Any], now: bool) -> None:
        grace = 0.0 if now else STOP_SECONDS
        await forks.stop(state, grace_seconds=grace)
        await forks.wait(state, timeout=grace + STOP_SECONDS)

    async def look(self) -> Seen:
        if self.backend_state is None:
            return Seen(0)
        code = await self.forks.poll(self.backend_state)
        record = self.forks.find(self.backend_state) if code is not None else None
        if record is None or record.exit is None:
            return Seen(code)
        return Seen(code, record.exit.reason, record.exit.moment)

    # ---- steps

    @property
    def forks(self) -> ForkServer:
        return ForkServer(hub_core().settings.folder, forward=tuple(self.forward))

    async def _image_ready(self, name: str) -> None:
        """Built at its first use, with progress. Raises Unavailable with what uv said."""
        core = hub_core()
        image = core.catalog.get_image(name)
        if image_state(core.settings.folder, image).python is None:
            self.told.tell(Step("image", 15, f"Building the image {name}"))
            await build_image(core.settings.folder, image, self._on_build)

    def _on_build(self, state: ImageState) -> None:
        self.told.tell(Step("image", 15 + int(state.progress * 40), "Building the image", detail=state.message))

    def _copy_course_files(self, profile: Profile) -> None:
        folder = hub_core().settings.folder
        home: Path = folder.home(self.user.name)
        owner = home.stat()
        copy_into_home(folder, profile.copy, home, owner.st_uid, owner.st_gid)
