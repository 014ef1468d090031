"""Endpoints: model versions served as HTTP addresses with instances, tokens, logs and a run duration."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.serving.api import make_router
from ltai_services.serving.controller import EndpointController
from ltai_services.serving.service import ServingService
from ltai_services.tracking import make_tracking


def make(platform: Platform) -> Parts:
    tracking = make_tracking(platform.settings)
    controller = EndpointController(platform, tracking)
    return Parts(router=make_router(ServingService(platform, tracking, controller.poke)), controllers=(controller,))


SPEC = ServiceSpec(name="serving", title="endpoints", make=make)
