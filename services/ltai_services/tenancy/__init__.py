"""Tenants, members, quotas, accounts, permissions and events."""

from __future__ import annotations

from ltai_hub.backends.base import HasQueue
from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.tenancy.api import make_router
from ltai_services.tenancy.controller import TenantController
from ltai_services.tenancy.service import TenancyService


def make(platform: Platform) -> Parts:
    service = TenancyService(platform)
    if not isinstance(platform.backend, HasQueue):
        return Parts(router=make_router(service))
    controller = TenantController(platform, platform.backend)
    service.on_change = controller.poke
    return Parts(router=make_router(service), controllers=(controller,))


SPEC = ServiceSpec(name="tenancy", title="tenancy", make=make)
