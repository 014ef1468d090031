"""What runs uses now, what the machines have, and the numbers of the first page."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.monitor.api import make_router
from ltai_services.monitor.service import MonitorService


def make(platform: Platform) -> Parts:
    return Parts(router=make_router(MonitorService(platform)))


SPEC = ServiceSpec(name="monitor", title="monitoring", make=make)
