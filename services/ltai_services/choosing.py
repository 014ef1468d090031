"""From the profile, image and flavor somebody named to the ones that are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from ltai_hub.domain.catalog import Catalog, Profile
from ltai_hub.errors import BadInput, Denied
from ltai_hub.slugs import shown
from ltai_hub.tenancy import store


@dataclass(frozen=True)
class Chosen:
    profile: Profile | None
    image: str
    flavor: str


def choose(tx: Connection, catalog: Catalog, tenant: str, profile: str | None, image: str | None, flavor: str | None) -> Chosen:
    """Without a profile the tenant's first one is taken. Raises BadInput, Denied, NotFound with the names there are."""
    assigned = [name for name in store.profiles_of(tx, [tenant]).get(tenant, []) if name in catalog.profiles]
    if profile is None:
        if not assigned:
            raise BadInput(f"the tenant {tenant} has no profile yet; a teacher assigns profiles to it")
        profile = next((name for name in assigned if _offers(catalog.get_profile(name), image, flavor)), assigned[0])
    if profile not in assigned:
        raise Denied(f"the profile {shown(profile)} is not assigned to the tenant {tenant}; it has {', '.join(assigned) or 'none'}")
    row = catalog.get_profile(profile)
    chosen = Chosen(row, _allowed("image", image, row.image, row.images, row), _allowed("flavor", flavor, row.flavor, row.flavors, row))
    catalog.get_image(chosen.image)
    catalog.get_flavor(chosen.flavor)
    return chosen


def _offers(profile: Profile, image: str | None, flavor: str | None) -> bool:
    return (image or profile.image) in (profile.image, *profile.images) and (flavor or profile.flavor) in (profile.flavor, *profile.flavors)


def _allowed(what: str, wanted: str | None, default: str, allowed: Sequence[str], profile: Profile) -> str:
    if wanted is None or wanted == default or wanted in allowed:
        return wanted or default
    choices = ", ".join(dict.fromkeys([default, *allowed]))
    raise Denied(f"the profile {profile.name} does not offer the {what} {shown(wanted)}; it offers {choices}")
