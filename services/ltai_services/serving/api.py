"""Routes: parse, one call, reply."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, status
from fastapi.responses import Response, StreamingResponse

from ltai_hub.errors import BadInput
from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import LARGEST, Page, page, require, whose
from ltai_services.places import tell_places
from ltai_services.serving.models import MOST_INSTANCES, EndpointChange, EndpointOut, EndpointWithToken, NewEndpoint, ScalingOut
from ltai_services.serving.service import ServingService

Reader = Annotated[Caller, Depends(require("endpoints:read"))]
Updater = Annotated[Caller, Depends(require("endpoints:update"))]
LARGEST_BODY = 64 << 20


def make_router(service: ServingService) -> APIRouter:
    router = APIRouter()

    @router.get("/endpoints")
    async def list_endpoints(caller: Reader, paging: Page, tenant: str | None = None, user: str | None = None) -> dict[str, Any]:
        endpoints, total = await asyncio.to_thread(service.select, caller, paging.part, tenant, whose(caller, user))
        await tell_places(service.platform.backend, endpoints)
        return page(endpoints, total)

    @router.post("/endpoints", status_code=status.HTTP_201_CREATED)
    async def create_endpoint(caller: Annotated[Caller, Depends(require("endpoints:create"))], new: NewEndpoint) -> EndpointWithToken:
        return await service.create(caller, new)

    @router.get("/scaling")
    async def show_scaling(caller: Reader) -> ScalingOut:
        """Whether instances can be added under load (`most_instances`)."""
        return await service.scaling()

    @router.get("/endpoints/{endpoint_id}")
    async def show_endpoint(caller: Reader, endpoint_id: int) -> EndpointOut:
        endpoint = await asyncio.to_thread(service.show, caller, endpoint_id)
        await tell_places(service.platform.backend, [endpoint])
        return endpoint

    @router.patch("/endpoints/{endpoint_id}")
    async def change_endpoint(caller: Updater, endpoint_id: int, change: EndpointChange) -> EndpointOut:
        return await service.change(caller, endpoint_id, change)

    @router.post("/endpoints/{endpoint_id}/start")
    async def start_endpoint(caller: Updater, endpoint_id: int) -> EndpointOut:
        return await service.start(caller, endpoint_id)

    @router.post("/endpoints/{endpoint_id}/stop")
    def stop_endpoint(caller: Updater, endpoint_id: int) -> EndpointOut:
        return service.stop(caller, endpoint_id)

    @router.post("/endpoints/{endpoint_id}/token")
    def renew_token(caller: Updater, endpoint_id: int) -> EndpointWithToken:
        return service.renew_token(caller, endpoint_id)

    @router.delete("/endpoints/{endpoint_id}", status_code=status.HTTP_204_NO_CONTENT)
    def delete_endpoint(caller: Annotated[Caller, Depends(require("endpoints:delete"))], endpoint_id: int) -> None:
        service.delete(caller, endpoint_id)

    @router.get("/endpoints/{endpoint_id}/log")
    async def read_log(
        caller: Updater,
        endpoint_id: int,
        instance: Annotated[int, Query(ge=0, lt=MOST_INSTANCES)] = 0,
        offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
        follow: bool = False,
    ) -> Response:
        found = await asyncio.to_thread(service.log_place, caller, endpoint_id, instance)
        if found is None:
            return Response(b"", media_type="text/plain; charset=utf-8")
        state, replica = found
        chunks = service.platform.backend.logs(state, replica, follow, offset)
        return StreamingResponse(chunks, media_type="text/plain; charset=utf-8")

    @router.get("/endpoints/{endpoint_id}/events")
    def endpoint_events(caller: Reader, endpoint_id: int) -> dict[str, Any]:
        return page(service.events(caller, endpoint_id))

    @router.post("/endpoints/{endpoint_id}/predict")
    async def predict(caller: Reader, endpoint_id: int, request: Request) -> dict[str, Any]:
        return await service.predict(caller, endpoint_id, request.headers.get("content-type", ""), await read_body(request))

    return router


async def read_body(request: Request) -> bytes:
    """Raises BadInput for more than the endpoint takes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise BadInput(f"the file is larger than {LARGEST_BODY >> 20} MiB")
    return bytes(body)
