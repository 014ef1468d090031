"""Environments: JupyterHub's named servers with profile, image, flavor, tenant and state."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.environments.api import make_router
from ltai_services.environments.service import EnvironmentService


def make(platform: Platform) -> Parts:
    return Parts(router=make_router(EnvironmentService(platform)))


SPEC = ServiceSpec(name="environments", title="environments", make=make)
