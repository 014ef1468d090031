"""Routes: parse, one call, reply."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import logged_in, page, require
from ltai_services.monitor.models import MetricsOut, Noun, OverviewOut
from ltai_services.monitor.service import MonitorService


def make_router(service: MonitorService) -> APIRouter:
    router = APIRouter()

    # Which action of the table it takes depends on the noun; the verb asks for it.
    @router.get("/metrics/{noun}/{number}")
    async def metrics(caller: Annotated[Caller, Depends(logged_in)], noun: Noun, number: int) -> MetricsOut:
        return await service.metrics(caller, noun, number)

    @router.get("/nodes")
    async def nodes(_caller: Annotated[Caller, Depends(require("nodes:read"))]) -> dict[str, Any]:
        return page(await service.nodes())

    @router.get("/overview")
    def overview(caller: Annotated[Caller, Depends(require("tenants:read"))], tenant: str | None = None) -> OverviewOut:
        return service.overview(caller, tenant)

    return router
