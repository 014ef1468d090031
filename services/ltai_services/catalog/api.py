"""Routes: parse, one call, reply."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, status
from fastapi.responses import PlainTextResponse

from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import page, require
from ltai_services.catalog.models import ImageOut
from ltai_services.catalog.service import CatalogService

Reader = Annotated[Caller, Depends(require("catalog:read"))]


def make_router(service: CatalogService) -> APIRouter:
    router = APIRouter()

    @router.get("/flavors")
    async def flavors(_caller: Reader) -> dict[str, Any]:
        return page(await service.list_flavors())

    @router.get("/images")
    def images(_caller: Reader) -> dict[str, Any]:
        return page(service.list_images())

    @router.get("/images/{name}")
    def image(_caller: Reader, name: str) -> ImageOut:
        return service.get_image(name)

    @router.post("/images/{name}/build", status_code=status.HTTP_202_ACCEPTED)
    async def build(caller: Annotated[Caller, Depends(require("images:build"))], name: str) -> ImageOut:
        return await service.build(caller, name)

    @router.get("/images/{name}/log")
    def log(_caller: Reader, name: str) -> PlainTextResponse:
        return PlainTextResponse(service.read_log(name))

    @router.get("/profiles")
    def profiles(
        caller: Annotated[Caller, Depends(require("profiles:read"))], tenant: str | None = None, all: bool = False
    ) -> dict[str, Any]:
        return page(service.all_profiles() if all else service.list_profiles(caller, tenant))

    return router
