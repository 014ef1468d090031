"""Routes: parse, one call, reply."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, status

from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import Page, page, require, whose
from ltai_services.environments.models import EnvironmentOut, NewEnvironment
from ltai_services.environments.service import EnvironmentService

Reader = Annotated[Caller, Depends(require("environments:read"))]
Creator = Annotated[Caller, Depends(require("environments:create"))]


def make_router(service: EnvironmentService) -> APIRouter:
    router = APIRouter()

    @router.get("/environments")
    def environments(
        caller: Reader, paging: Page, tenant: str | None = None, user: str | None = None, active: bool = False
    ) -> dict[str, Any]:
        """One's own, or with ``user`` "all" (or a name) those of others where the caller may see them."""
        return page(*service.select(caller, paging.part, tenant, whose(caller, user or "me"), active))

    @router.post("/environments", status_code=status.HTTP_201_CREATED)
    async def create(caller: Creator, new: NewEnvironment) -> EnvironmentOut:
        return await service.create(caller, new)

    @router.get("/environments/{environment_id}")
    def get(caller: Reader, environment_id: int) -> EnvironmentOut:
        return service.get(caller, environment_id)

    @router.post("/environments/{environment_id}/start")
    async def start(caller: Creator, environment_id: int) -> EnvironmentOut:
        return await service.start(caller, environment_id)

    @router.post("/environments/{environment_id}/stop")
    async def stop(caller: Annotated[Caller, Depends(require("environments:stop"))], environment_id: int) -> EnvironmentOut:
        return await service.stop(caller, environment_id)

    @router.delete("/environments/{environment_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete(caller: Annotated[Caller, Depends(require("environments:delete"))], environment_id: int) -> None:
        await service.delete(caller, environment_id)

    return router
