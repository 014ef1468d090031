"""The question every verb asks first: may this person do that here?"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from ltai_hub.domain.lists import Sight
from ltai_hub.domain.permissions import ACTIONS, Role, may
from ltai_hub.domain.tenants import Person
from ltai_hub.errors import BadInput, Denied, NotFound
from ltai_hub.slugs import shown
from ltai_hub.tenancy import store


def permit(tx: Connection, person: Person, action: str, tenant: str, owner: str | None = None) -> None:
    """Raises Denied, or NotFound when the tenant does not exist or the person has no role in it.

    ``owner`` is whose thing it is; None when it is nobody's in particular.
    """
    if person.admin:
        store.get_tenant(tx, tenant)
        return
    role = store.roles_of(tx, person.name).get(tenant)
    if role is None:
        raise NotFound(f"there is no tenant {shown(tenant)}, or you are not a member of it")
    if not may(role, action, is_own=owner in (None, person.name)):
        raise Denied(refusal(person, role, action, tenant, owner))


def refusal(person: Person, role: Role, action: str, tenant: str, owner: str | None) -> str:
    whose = f" of {owner}" if owner and owner != person.name else ""
    row = ACTIONS[action]
    able = row.own if not whose else row.others
    helpers = ", ".join(sorted((r.value for r in able), key=lambda r: Role(r).rank)) or "a platform administrator"
    return f"{person.name} is {role} in {tenant} and may not {row.help}{whose}; it takes {helpers}"


def permitted_tenants(tx: Connection, person: Person, action: str, own: bool = False) -> set[str]:
    """Slugs of the tenants where the person may do ``action`` to what is others' (or, with ``own``, their own)."""
    if person.admin:
        return {tenant.slug for tenant in store.all_tenants(tx)}
    return {slug for slug, role in store.roles_of(tx, person.name).items() if may(role, action, is_own=own)}


def sight_of(tx: Connection, person: Person, action: str, tenant: str | None = None, user: str | None = None) -> Sight:
    """What the person sees in a list: their own and what ``action`` lets them see of others; of one tenant with those below, of one user.

    Raises Denied or NotFound for a tenant that is not theirs.
    """
    inside = None
    if tenant:
        permit(tx, person, action, tenant)
        inside = store.subtree(tx, [tenant])
    return Sight(person.name, permitted_tenants(tx, person, action), inside, user)


def default_tenant(tx: Connection, user: str) -> str:
    """The tenant taken when none is named: the one the person was put into first; of nested ones the deepest.

    Raises BadInput when the person is in none.
    """
    return direct_tenants(tx, user)[0]


def direct_tenants(tx: Connection, user: str) -> list[str]:
    """Tenants the person was put into, the default one first. Raises BadInput when there is none."""
    direct = store.direct_tenants(tx, user)
    if not direct:
        raise BadInput(f"{user} is not a member of any tenant; ask a teacher or administrator to add you")
    return direct
