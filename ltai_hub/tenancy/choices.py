"""What a person chose (or left out) → tenant, profile, image and flavor that they may really use.

The same rules for an environment, a job and an endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from ltai_hub.domain.catalog import Catalog, Flavor, Image, Profile
from ltai_hub.domain.tenants import Person
from ltai_hub.errors import BadInput
from ltai_hub.slugs import shown
from ltai_hub.tenancy import store
from ltai_hub.tenancy.permit import direct_tenants, permit


@dataclass(frozen=True)
class Chosen:
    tenant: str
    profile: Profile
    image: Image
    flavor: Flavor


def resolve(
    tx: Connection, catalog: Catalog, person: Person, tenant: str = "", profile: str = "", image: str = "", flavor: str = ""
) -> Chosen:
    """Empty means "the usual": the person's default tenant, its first profile, the profile's image and flavor.

    Raises BadInput with what could be chosen instead, NotFound for names nobody has. Whether they may run there is asked by ``admit``.
    """
    mine = [tenant] if tenant else direct_tenants(tx, person.name)
    offers = store.profiles_of(tx, mine)
    # the first of theirs that offers what was named, else their default one
    where = next((slug for slug in mine if profile in offers.get(slug, [])), mine[0])
    permit(tx, person, "tenants:read", where)
    offered = [name for name in offers.get(where, []) if name in catalog.profiles]
    if not profile and not offered:
        raise BadInput(f"no profile is assigned to {where}; a teacher assigns one to the class (Console, Class, Profiles)")
    name = profile or offered[0]
    if name not in offered and not person.admin:
        raise BadInput(f"the profile {shown(name)} is not assigned to {where}; choose one of {', '.join(offered) or 'none'}")
    row = catalog.get_profile(name)
    return Chosen(
        tenant=where,
        profile=row,
        image=catalog.get_image(_one_of("image", image, row.image, row.images, row)),
        flavor=catalog.get_flavor(_one_of("flavor", flavor, row.flavor, row.flavors, row)),
    )


def _one_of(what: str, wanted: str, usual: str, allowed: tuple[str, ...], profile: Profile) -> str:
    if not wanted:
        return usual
    if wanted not in (usual, *allowed):
        raise BadInput(
            f"the profile {profile.name} does not offer the {what} {shown(wanted)}; choose one of {', '.join(allowed or (usual,))}"
        )
    return wanted
