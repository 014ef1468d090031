"""The services process: one or several of the REST services behind one port.

``python -m ltai_hub.service [NAME …]`` serves the named services of the entry-point group ``ltai.services`` (all when none is named);
local mode runs all in one process, Kubernetes a Deployment each. Paths are the same in both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import entry_points

import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from uvicorn.loops.auto import auto_loop_factory

from ltai_hub.backends.base import Backend, left_to_queue
from ltai_hub.backends.loader import load_backend
from ltai_hub.catalog import load_catalog
from ltai_hub.collector import calm_collector
from ltai_hub.controllers.controller import Controller
from ltai_hub.controllers.lease import Leases
from ltai_hub.db.engine import Database
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.quotas import resource_names
from ltai_hub.errors import ConfigProblem, Unavailable
from ltai_hub.hubapi import HubApi, ProxyApi
from ltai_hub.settings import Settings
from ltai_hub.units import utc_now
from ltai_hub.web import problems
from ltai_hub.web.callers import TokenResolver
from ltai_hub.web.workload_tokens import WorkloadTokens

GROUP = "ltai.services"
PAGES = "ltai.pages"
PUBLIC_SECONDS, PUBLIC_LOOK_SECONDS = 60.0, 0.1
log = logging.getLogger("ltai.service")


@dataclass(frozen=True)
class Platform:
    """Everything a service may use; made once at the process's entry, faked part by part in tests."""

    settings: Settings
    database: Database
    backend: Backend
    hub: HubApi
    proxy: ProxyApi
    catalog: Catalog
    resolver: TokenResolver
    workload_tokens: WorkloadTokens
    clock: Callable[[], datetime] = utc_now

    @cached_property
    def left_to_queue(self) -> frozenset[str]:
        """Resources whose tenants' limits the cluster keeps; admission is told."""
        return left_to_queue(self.backend, resource_names(self.catalog.accelerators))


@dataclass(frozen=True)
class Parts:
    """What a service is made of: routes below ``/services/NAME/api/v1``, controllers, and other apps below ``/services/NAME/PATH``."""

    router: APIRouter
    controllers: Sequence[Controller] = ()
    mounts: Mapping[str, ASGIApp] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceSpec:
    name: str
    title: str
    make: Callable[[Platform], Parts]


def load_specs(names: Sequence[str] = ()) -> list[ServiceSpec]:
    """The named services, or all installed ones. All are imported: some read others' tables. Raises ConfigProblem for an unknown name."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ConfigProblem(f"there is no service {', '.join(unknown)}; installed are {', '.join(sorted(found))}")
    loaded = {name: point.load() for name, point in found.items()}
    return [loaded[name] for name in names or sorted(loaded)]


def make_platform(settings: Settings) -> Platform:
    database = Database(settings.database)
    own = WorkloadTokens(settings.signing_key, database)
    return Platform(
        settings=settings,
        database=database,
        backend=load_backend(settings),
        hub=HubApi(settings.hub_api_url, settings.hub_api_token),
        proxy=ProxyApi(settings.proxy_api_url, settings.proxy_api_token),
        catalog=load_catalog(settings.catalog),
        resolver=TokenResolver(settings.hub_api_url, own),
        workload_tokens=own,
    )


def build_app(specs: Sequence[ServiceSpec], platform: Platform) -> Starlette:
    """All services as one ASGI app; its lifespan runs the controllers, unless another process does."""
    made = {spec.name: (spec, spec.make(platform)) for spec in specs}
    controllers = {name: parts.controllers for name, (_, parts) in made.items() if parts.controllers}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        leases = Leases(platform.database, list(controllers))
        public = asyncio.create_task(wait_until_public(platform.proxy, list(made)), name="public")
        running = [asyncio.create_task(run_after(public, leases, name, them), name=name) for name, them in controllers.items()]
        keeping = asyncio.create_task(leases.keep(), name="leases") if controllers else None
        yield
        await end(public, *running)
        # only when they have stopped may others go on
        if keeping:
            await end(keeping)

    mounts = []
    for name, (spec, parts) in made.items():
        mounts += [Mount(f"/services/{name}/{path}", app) for path, app in parts.mounts.items()]
        mounts.append(Mount(f"/services/{name}", make_service_app(spec, parts, platform)))
    handlers = {HTTPException: problems.on_http}
    return Starlette(routes=[Route("/services/health", health), *mounts], lifespan=lifespan, exception_handlers=handlers)


async def wait_until_public(proxy: ProxyApi, names: Sequence[str]) -> None:
    """What controllers start asks the services by their public address at once, and the hub makes those routes last of all.

    Until then an endpoint or a job would get the hub's 404 and fail without any fault of its own.
    """
    until = time.monotonic() + PUBLIC_SECONDS
    missing = set(names)
    while missing and time.monotonic() < until:
        with suppress(Unavailable):
            missing = {name for name in missing if not await proxy.leads_to(f"/services/{name}")}
        if missing:
            await asyncio.sleep(PUBLIC_LOOK_SECONDS)
    if missing:
        log.warning("no route to %s after %.0f s; going on without", ", ".join(sorted(missing)), PUBLIC_SECONDS)


async def run_after(first: asyncio.Task[None], leases: Leases, name: str, controllers: Sequence[Controller]) -> None:
    await asyncio.shield(first)
    await leases.run(name, controllers)


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def make_service_app(spec: ServiceSpec, parts: Parts, platform: Platform) -> FastAPI:
    app = FastAPI(title=f"LtAI {spec.title}", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    app.state.platform = platform
    app.state.resolver = platform.resolver
    app.state.service_name = spec.name
    problems.install(app)
    app.include_router(parts.router, prefix="/api/v1")
    return app


async def serve(app: ASGIApp, host: str, port: int) -> None:
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    await uvicorn.Server(config).serve()


async def run(names: Sequence[str], settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. With the console among the services its pages are served too."""
    platform = make_platform(settings)
    app = build_app(load_specs(names), platform)
    host, _, port = settings.services_bind.rpartition(":")
    if settings.with_console:
        for point in entry_points(group=PAGES):
            point.load()()
    calm_collector()
    await serve(app, host, int(port))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        # uvicorn would choose so too, if it began the loop itself: libuv's, where there is one, takes half of the processor
        with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
            runner.run(run(sys.argv[1:], Settings()))
    except ConfigProblem as problem:
        print(problem.message, file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        os._exit(0)


if __name__ == "__main__":
    main()
