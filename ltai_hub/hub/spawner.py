"""Environments as processes of this machine, forked from the preloaded fork server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from traitlets import Integer, List, Unicode

from ltai_hub.backends.local.client import ForkServer
from ltai_hub.backends.local.devices import lacking
from ltai_hub.catalog.files import copy_into_home, profile_mounts
from ltai_hub.catalog.images import ImageState, build_image, image_state
from ltai_hub.domain.catalog import Profile
from ltai_hub.domain.workloads import Kind, Resources, Workload
from ltai_hub.environments.store import Environment
from ltai_hub.errors import Problem
from ltai_hub.hub.answering import wait_until_it_answers
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.mixin import PlatformSpawner, Seen
from ltai_hub.hub.progress import Step

STOP_SECONDS = 5.0
LOOK_SECONDS = 0.25


class DidNotStart(Problem):
    status, code = 500, "did-not-start"


class LocalSpawner(PlatformSpawner):
    platform_url = Unicode("http://127.0.0.1:8000", config=True, help="The platform's address as programs inside a server reach it.")
    forward = List(Integer(), config=True, help="Ports of the machine's loopback that a server with a private network reaches.")
    answer_seconds = Integer(60, config=True, help="A server that has not answered after so many seconds has failed to start.")

    # ---- PlatformSpawner's seam

    async def launch(self, row: Environment) -> tuple[str, int]:
        await self._image_ready(row.image)
        profile = hub_core().catalog.get_profile(row.profile)
        self.told.tell(Step("starting", 60, "Starting JupyterLab"))
        self.backend_state, host, port = await self.forks.start_server(self._workload(row, profile))
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

    def _workload(self, row: Environment, profile: Profile) -> Workload:
        core = hub_core()
        home = core.settings.folder.home(self.user.name)
        return Workload(
            name=f"environment-{row.id}-{row.generation}",
            kind=Kind.ENVIRONMENT,
            user=self.user.name,
            tenant=row.tenant,
            image=row.image,
            resources=core.catalog.get_flavor(row.flavor).resources,
            command=("jupyterhub-singleuser", *self.get_args()),
            env={**core.catalog.get_image(row.image).environment, **profile.environment, **self.get_env(), **self._platform_env(row)},
            home=str(home),
            cwd=str(home),
            mounts=profile_mounts(core.settings.folder, profile, home),
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

    def _copy_course_files(self, profile: Profile) -> None:
        folder = hub_core().settings.folder
        home: Path = folder.home(self.user.name)
        owner = home.stat()
        copy_into_home(folder, profile, home, owner.st_uid, owner.st_gid)

    async def _answered(self, host: str, port: int) -> None:
        """Raises DidNotStart when it ended or took too long."""
        answer = asyncio.ensure_future(wait_until_it_answers(host, port, f"{self.server.base_url}api"))
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
