"""``client.flavors``, ``images``, ``profiles``: what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from ltai_hub.client.transport import Transport, part, wait_until
from ltai_hub.client.types import AssignedProfile, Flavor, Image, Page, Profile
from ltai_hub.errors import NotFound

SERVICE = "catalog"
T = TypeVar("T", Flavor, Profile)


@dataclass(frozen=True)
class Flavors:
    transport: Transport

    def list(self) -> Page[Flavor]:
        return self.transport.page(SERVICE, "/flavors", {})

    def get(self, name: str) -> Flavor:
        return named(self.list(), name, "flavor")


@dataclass(frozen=True)
class Images:
    transport: Transport

    def list(self) -> Page[Image]:
        return self.transport.page(SERVICE, "/images", {})

    def get(self, name: str) -> Image:
        image: Image = self.transport.call("GET", SERVICE, f"/images/{part(name)}")
        return image

    def build(self, name: str) -> Image:
        """Starts the build; ``wait`` for its end."""
        image: Image = self.transport.call("POST", SERVICE, f"/images/{part(name)}/build")
        return image

    def log(self, name: str) -> str:
        return self.transport.text(SERVICE, f"/images/{part(name)}/log", {})

    def wait(self, name: str, timeout: float | None = None) -> Image:
        """The image once it is ready or has failed. Raises Unavailable after ``timeout`` seconds."""
        return wait_until(lambda: self.get(name), is_built, self.transport.sleep, timeout, f"image {name}")


@dataclass(frozen=True)
class Profiles:
    transport: Transport

    def list(self, *, tenant: str | None = None, all: bool = False) -> Page[Profile]:
        """What the caller may start in the tenant, or in any of theirs; ``all``: everything in the catalogue, to assign."""
        return self.transport.page(SERVICE, "/profiles", {"tenant": tenant, "all": "true" if all else None})

    def get(self, name: str, *, tenant: str | None = None) -> Profile:
        return named(self.list(tenant=tenant), name, "profile")

    def assigned(self, tenant: str) -> Page[AssignedProfile]:
        return self.transport.page("tenancy", f"/tenants/{part(tenant)}/profiles", {})

    def assign(self, tenant: str, profile: str) -> None:
        """Members of the tenant may start it from now on."""
        self.transport.call("PUT", "tenancy", f"/tenants/{part(tenant)}/profiles/{part(profile)}")

    def unassign(self, tenant: str, profile: str) -> None:
        self.transport.call("DELETE", "tenancy", f"/tenants/{part(tenant)}/profiles/{part(profile)}")


def is_built(image: Image) -> bool:
    return image["state"] in ("ready", "failed")


def named(page: Page[T], name: str, what: str) -> T:
    """The catalogue has no address for a single row; the lists are short."""
    for item in page:
        if item["name"] == name:
            return item
    known = ", ".join(item["name"] for item in page) or "none"
    raise NotFound(f"there is no {what} {name!r} here; known: {known}")
