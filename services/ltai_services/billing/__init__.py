"""Usage, bills and prices, read from the metered intervals."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.billing.api import make_router
from ltai_services.billing.service import BillingService


def make(platform: Platform) -> Parts:
    return Parts(router=make_router(BillingService(platform)))


SPEC = ServiceSpec(name="billing", title="billing", make=make)
