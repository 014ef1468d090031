"""Tenants, members, quotas, accounts, permissions and events."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.tenancy.api import make_router
from ltai_services.tenancy.service import TenancyService


def make(platform: Platform) -> Parts:
    return Parts(router=make_router(TenancyService(platform)))


SPEC = ServiceSpec(name="tenancy", title="tenancy", make=make)
