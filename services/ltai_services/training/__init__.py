"""Jobs: submit, queue, run, log, cancel, run again; each is an MLflow run of its tenant's workspace."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.tracking import make_tracking
from ltai_services.training.api import make_router
from ltai_services.training.controller import JobController
from ltai_services.training.service import TrainingService


def make(platform: Platform) -> Parts:
    tracking = make_tracking(platform.settings)
    controller = JobController(platform, tracking)
    service = TrainingService(platform, tracking, controller.poke, controller.way)
    return Parts(router=make_router(service), controllers=(controller,))


SPEC = ServiceSpec(name="training", title="training jobs", make=make)
