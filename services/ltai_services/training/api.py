"""Routes: parse, one call, reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, status
from fastapi.responses import StreamingResponse

from ltai_hub.backends.base import Backend
from ltai_hub.domain.workloads import Phase
from ltai_hub.errors import BadInput
from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import LARGEST, Page, page, require, whose
from ltai_services.places import tell_places
from ltai_services.training.models import MOST_NODES, JobMetrics, JobOut, NewJob, SpreadOut
from ltai_services.training.service import TrainingService
from ltai_services.training.store import Job

Reader = Annotated[Caller, Depends(require("jobs:read"))]
Creator = Annotated[Caller, Depends(require("jobs:create"))]
WAIT_SECONDS = 0.3


def make_router(service: TrainingService) -> APIRouter:
    router = APIRouter()

    @router.get("/jobs")
    async def list_jobs(
        caller: Reader, paging: Page, tenant: str | None = None, user: str | None = None, phase: Phase | None = None
    ) -> dict[str, Any]:
        jobs, total = await asyncio.to_thread(service.select, caller, paging.part, tenant, whose(caller, user), phase)
        await tell_places(service.platform.backend, jobs)
        return page(jobs, total)

    @router.post("/jobs", status_code=status.HTTP_201_CREATED)
    async def submit_job(caller: Creator, new: NewJob) -> JobOut:
        return await service.submit(caller, new)

    @router.get("/spread")
    async def show_spread(caller: Reader) -> SpreadOut:
        """Over how many nodes a job can spread, and into which clusters."""
        return service.spread()

    @router.get("/jobs/{job_id}")
    async def show_job(caller: Reader, job_id: int) -> JobOut:
        job = await asyncio.to_thread(service.show, caller, job_id)
        await tell_places(service.platform.backend, [job])
        return job

    @router.post("/jobs/{job_id}/cancel")
    def cancel_job(caller: Annotated[Caller, Depends(require("jobs:cancel"))], job_id: int) -> JobOut:
        return service.cancel(caller, job_id)

    @router.post("/jobs/{job_id}/rerun", status_code=status.HTTP_201_CREATED)
    async def rerun_job(caller: Creator, job_id: int) -> JobOut:
        return await service.rerun(caller, job_id)

    @router.delete("/jobs/{job_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_job(caller: Annotated[Caller, Depends(require("jobs:delete"))], job_id: int) -> None:
        await service.delete(caller, job_id)

    @router.get("/jobs/{job_id}/log")
    async def read_log(
        caller: Reader,
        job_id: int,
        offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
        follow: bool = False,
        node: Annotated[int, Query(ge=0, lt=MOST_NODES)] = 0,
    ) -> StreamingResponse:
        """Of one of its nodes; what it printed there as `LTAI_NODE`."""
        job = await asyncio.to_thread(service.read, caller, job_id)
        check_node(job, node)
        return StreamingResponse(stream_log(service, job, offset, follow, node), media_type="text/plain; charset=utf-8")

    @router.get("/jobs/{job_id}/events")
    def job_events(caller: Reader, job_id: int) -> dict[str, Any]:
        return page(service.events(caller, job_id))

    @router.get("/jobs/{job_id}/metrics")
    async def job_metrics(caller: Reader, job_id: int) -> JobMetrics:
        return await service.metrics(await asyncio.to_thread(service.read, caller, job_id))

    return router


def check_node(job: Job, node: int) -> None:
    """Raises BadInput."""
    if node >= job.nodes:
        has = "one node, which is 0" if job.nodes == 1 else f"{job.nodes} nodes, 0 to {job.nodes - 1}"
        raise BadInput(f"job {job.id} has no node {node}; it has {has}")


async def stream_log(service: TrainingService, job: Job, offset: int, follow: bool, node: int = 0) -> AsyncIterator[bytes]:
    """Raw output from byte ``offset``; with ``follow`` it waits for a queued job to start and ends with the job."""
    backend: Backend = service.platform.backend
    while follow and job.backend_state is None and not job.phase.is_final:
        await asyncio.sleep(WAIT_SECONDS)
        job = await asyncio.to_thread(service.again, job.id)
    if job.backend_state is None:
        return
    async for chunk in backend.logs(job.backend_state, node, follow, offset):
        yield chunk
