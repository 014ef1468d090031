"""Routes: parse, one call, reply."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, status

from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import Page, page, require
from ltai_services.models.models import AliasChange, ModelDetails, NewVersion, VersionOut
from ltai_services.models.service import ModelService

Reader = Annotated[Caller, Depends(require("models:read"))]
Writer = Annotated[Caller, Depends(require("models:write"))]
Deleter = Annotated[Caller, Depends(require("models:delete"))]
NONE = status.HTTP_204_NO_CONTENT


def make_router(service: ModelService) -> APIRouter:
    router = APIRouter()

    @router.get("/models")
    async def list_models(caller: Reader, paging: Page, tenant: str | None = None) -> dict[str, Any]:
        return page(*await service.select(caller, paging.part, tenant))

    @router.post("/models", status_code=status.HTTP_201_CREATED)
    async def register(caller: Writer, new: NewVersion) -> VersionOut:
        return await service.register(caller, new)

    @router.get("/models/{tenant}/{name}")
    async def show_model(caller: Reader, tenant: str, name: str) -> ModelDetails:
        return await service.show(caller, tenant, name)

    @router.delete("/models/{tenant}/{name}", status_code=NONE)
    async def delete_model(caller: Deleter, tenant: str, name: str) -> None:
        await service.delete_model(caller, tenant, name)

    @router.delete("/models/{tenant}/{name}/versions/{version}", status_code=NONE)
    async def delete_version(caller: Deleter, tenant: str, name: str, version: str) -> None:
        await service.delete_version(caller, tenant, name, version)

    @router.put("/models/{tenant}/{name}/aliases/{alias}", status_code=NONE)
    async def set_alias(caller: Writer, tenant: str, name: str, alias: str, change: AliasChange) -> None:
        await service.set_alias(caller, tenant, name, alias, change.version)

    @router.delete("/models/{tenant}/{name}/aliases/{alias}", status_code=NONE)
    async def delete_alias(caller: Writer, tenant: str, name: str, alias: str) -> None:
        await service.delete_alias(caller, tenant, name, alias)

    return router
