"""Models: MLflow behind the hub's login, and versions registered from jobs."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.models.api import make_router
from ltai_services.models.proxy import MlflowProxy, mounts
from ltai_services.models.service import ModelService
from ltai_services.tracking import make_tracking


def make(platform: Platform) -> Parts:
    tracking = make_tracking(platform.settings)
    proxy = MlflowProxy(platform.settings, platform.database, platform.resolver, tracking)
    return Parts(router=make_router(ModelService(platform, tracking)), mounts=mounts(proxy))


SPEC = ServiceSpec(name="models", title="models and experiments", make=make)
