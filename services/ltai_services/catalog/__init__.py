"""Flavors, images and profiles as people may choose them."""

from __future__ import annotations

from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_services.catalog.api import make_router
from ltai_services.catalog.service import CatalogService


def make(platform: Platform) -> Parts:
    return Parts(router=make_router(CatalogService(platform)))


SPEC = ServiceSpec(name="catalog", title="catalogue", make=make)
