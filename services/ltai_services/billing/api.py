"""Routes: parse, one call, reply."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response, status

from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import page, require, whose
from ltai_services.billing.models import Bill, Group, NewPrice, PriceOut
from ltai_services.billing.service import BillingService, in_utc, month_bounds

BillReader = Annotated[Caller, Depends(require("bills:read"))]


def make_router(service: BillingService) -> APIRouter:
    router = APIRouter()

    @router.get("/usage")
    def usage(
        caller: Annotated[Caller, Depends(require("usage:read"))],
        tenant: str | None = None,
        user: str | None = None,
        start: Annotated[datetime | None, Query(alias="from")] = None,
        end: Annotated[datetime | None, Query(alias="to")] = None,
        group: Group = "none",
    ) -> dict[str, Any]:
        first, last = month_bounds("", service.platform.clock())
        return page(service.usage(caller, _aware(start) or first, _aware(end) or last, tenant, whose(caller, user), group))

    @router.get("/bills")
    def bill(caller: BillReader, month: str = "", tenant: str | None = None, user: str | None = None) -> Bill:
        return service.bill(caller, month, tenant, whose(caller, user))

    @router.get("/bills.csv")
    def bill_csv(caller: BillReader, month: str = "", tenant: str | None = None, user: str | None = None) -> Response:
        text = service.bill_csv(caller, month, tenant, whose(caller, user))
        headers = {"Content-Disposition": f'attachment; filename="bill-{month or "this-month"}.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    @router.get("/bills/lines/{key}/intervals")
    def intervals(caller: BillReader, key: str, month: str = "") -> dict[str, Any]:
        return page(service.line_intervals(caller, key, month))

    @router.get("/prices")
    def prices(_caller: Annotated[Caller, Depends(require("catalog:read"))]) -> dict[str, Any]:
        return page(service.list_prices())

    @router.post("/prices", status_code=status.HTTP_201_CREATED)
    def set_price(caller: Annotated[Caller, Depends(require("prices:write"))], new: NewPrice) -> PriceOut:
        return service.set_price(caller, new)

    return router


def _aware(moment: datetime | None) -> datetime | None:
    """In UTC; times without a zone are taken as UTC. Raises BadInput."""
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=UTC)
    return in_utc(moment)
