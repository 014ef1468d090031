"""The verbs of the catalogue; the rows themselves come from ``spawner_profiles/*.yaml``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from ltai_hub.backends.base import RunsContainers, lack_of
from ltai_hub.catalog.images import build_image, image_log
from ltai_hub.catalog.load import picture_uri
from ltai_hub.domain.catalog import Flavor, Image, Profile
from ltai_hub.errors import Conflict, Denied, NotFound, Problem
from ltai_hub.metering.costs import hourly_prices
from ltai_hub.service import Platform
from ltai_hub.tenancy import store
from ltai_hub.tenancy.permit import permit, permitted_tenants
from ltai_hub.web.callers import Caller
from ltai_services.catalog.models import FlavorOut, ImageOut, ProfileOut
from ltai_services.images import state_of

log = logging.getLogger("ltai.catalog")


class CatalogService:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.database = platform.database
        self.catalog = platform.catalog
        self._builds: dict[str, asyncio.Task[Path]] = {}

    async def list_flavors(self) -> list[FlavorOut]:
        flavors = self.catalog.flavors.values()
        lacks = await asyncio.gather(*(lack_of(self.platform.backend, flavor.resources) for flavor in flavors))
        prices = await asyncio.to_thread(self._prices)
        return [self._flavor_out(flavor, prices.get(flavor.name, 0), not lack) for flavor, lack in zip(flavors, lacks, strict=True)]

    def _prices(self) -> Mapping[str, int]:
        with self.database.reading() as tx:
            return hourly_prices(tx, self.platform.clock())

    def _flavor_out(self, flavor: Flavor, price: int, usable: bool) -> FlavorOut:
        amounts = flavor.resources
        return FlavorOut(
            name=flavor.name,
            title=flavor.title.as_dict(),
            cpu=amounts.cpu,
            memory=amounts.memory,
            disk=amounts.disk,
            accelerator=amounts.accelerator,
            accelerator_count=amounts.accelerator_count,
            accelerator_title=flavor.accelerator_title,
            architecture=amounts.architecture,
            price_micro_per_hour=price,
            currency=self.platform.settings.currency,
            simulated=flavor.simulated,
            available_now=usable,
        )

    def list_images(self) -> list[ImageOut]:
        return [self._image_out(image) for image in self.catalog.images.values()]

    def get_image(self, name: str) -> ImageOut:
        return self._image_out(self.catalog.get_image(name))

    def _image_out(self, image: Image) -> ImageOut:
        state = state_of(self.platform, image)
        return ImageOut(
            name=image.name,
            title=image.title.as_dict(),
            description=image.description.as_dict(),
            framework=image.framework,
            version=image.version,
            state=state.state.value,
            progress=state.progress,
            message=state.message,
            requirements=list(image.requirements),
            container=image.container,
        )

    async def build(self, caller: Caller, name: str) -> ImageOut:
        """Begin building; the image's state tells how far it is."""
        if not caller.admin:
            raise Denied("only platform administrators build images by hand; images are built by themselves when first used")
        image = self.catalog.get_image(name)
        if isinstance(self.platform.backend, RunsContainers):
            raise Conflict(f"{name} is the container {image.container}, which the nodes pull; nothing is built here")
        running = self._builds.get(name)
        if running is not None and not running.done():
            raise Conflict(f"the image {name} is being built already")
        task = asyncio.create_task(build_image(self.platform.settings.folder, image))
        task.add_done_callback(_log_failure)
        self._builds[name] = task
        await asyncio.sleep(0.05)
        return self._image_out(image)

    def read_log(self, name: str) -> str:
        """The log of the last build. Raises NotFound when there was none."""
        self.catalog.get_image(name)
        path = image_log(self.platform.settings.folder, name)
        if not path.exists():
            raise NotFound(f"the image {name} was never built here")
        return path.read_text(errors="replace")

    def list_profiles(self, caller: Caller, tenant: str | None) -> list[ProfileOut]:
        """Profiles the caller may use: of one tenant, or of all they are in (each tenant's on its own row)."""
        with self.database.reading() as tx:
            if tenant:
                permit(tx, caller, "profiles:read", tenant)
                slugs = {tenant}
            else:
                slugs = permitted_tenants(tx, caller, "profiles:read", own=True)
            offers = store.profiles_of(tx, slugs)
            prices = hourly_prices(tx, self.platform.clock())
            return [
                self._profile_out(self.catalog.profiles[name], slug, prices)
                for slug in sorted(offers)
                for name in offers[slug]
                if name in self.catalog.profiles
            ]

    def all_profiles(self) -> list[ProfileOut]:
        """Every row of the catalogue, for those who assign them."""
        with self.database.reading() as tx:
            prices = hourly_prices(tx, self.platform.clock())
        return [self._profile_out(profile, "", prices) for profile in self.catalog.profiles.values()]

    def _profile_out(self, profile: Profile, tenant: str, prices: Mapping[str, int]) -> ProfileOut:
        state = state_of(self.platform, self.catalog.images[profile.image])
        return ProfileOut(
            name=profile.name,
            title=profile.title.as_dict(),
            description=profile.description.as_dict(),
            image=profile.image,
            flavor=profile.flavor,
            images=list(profile.images) or [profile.image],
            flavors=list(profile.flavors) or [profile.flavor],
            picture=picture_uri(self.platform.settings.catalog, profile),
            ready=state.state == "ready",
            price_micro_per_hour=prices.get(profile.flavor, 0),
            currency=self.platform.settings.currency,
            tenant=tenant,
        )


def _log_failure(task: asyncio.Task[Path]) -> None:
    """A failed build is told by the image's state; here it only must not vanish unread."""
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, Problem):
        log.warning("image build failed: %s", error.message)
    elif error is not None:
        log.error("image build failed", exc_info=error)
