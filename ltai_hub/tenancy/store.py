"""SQL of tenants, members, quotas, profile assignments and reservations.

What every submit asks is built once (``@cache``) and given its values when it runs: building such a statement takes longer than sqlite
takes to answer it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import CTE, Insert, Select, Update, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.engine import Connection

from ltai_hub.db.engine import in_parts, new_id
from ltai_hub.db.tables import (
    environments,
    members,
    profile_assignments,
    quotas,
    reservation_amounts,
    reservations,
    tenants,
    usage_intervals,
)
from ltai_hub.domain.permissions import Role
from ltai_hub.domain.quotas import Amounts
from ltai_hub.domain.tenants import Member, Quota, Tenant, TenantKind
from ltai_hub.errors import NotFound
from ltai_hub.slugs import shown

WAITING, HELD, RELEASED = "waiting", "held", "released"


# ---- the tree


@dataclass(frozen=True)
class Node:
    id: int
    slug: str
    name: str


def above() -> CTE:
    """The tenant itself (the parameter ``tenant_id``, distance 0) and everything above it."""
    start = (
        select(tenants.c.id, tenants.c.parent_id, literal(0).label("distance"))
        .where(tenants.c.id == bindparam("tenant_id"))
        .cte("above", recursive=True)
    )
    return start.union_all(
        select(tenants.c.id, tenants.c.parent_id, (start.c.distance + 1).label("distance")).where(tenants.c.id == start.c.parent_id)
    )


def below(tenant_ids: Select[Any]) -> CTE:
    """The chosen tenants and everything below them."""
    start = tenant_ids.cte("below", recursive=True)
    return start.union(select(tenants.c.id).where(tenants.c.parent_id == start.c.id))


def path_of(tx: Connection, tenant_id: int) -> list[Node]:
    """From the root down to the tenant."""
    return [Node(*row) for row in tx.execute(_path(), {"tenant_id": tenant_id})]


@cache
def _path() -> Select[Any]:
    tree = above()
    return select(tenants.c.id, tenants.c.slug, tenants.c.name).join(tree, tree.c.id == tenants.c.id).order_by(tree.c.distance.desc())


def find_tenant(tx: Connection, slug: str) -> Tenant | None:
    row = tx.execute(_by_slug(), {"slug": slug}).mappings().first()
    return None if row is None else _tenant(row, path_of(tx, row["id"]))


@cache
def _by_slug() -> Select[Any]:
    return select(tenants).where(tenants.c.slug == bindparam("slug"))


def get_tenant(tx: Connection, slug: str) -> Tenant:
    """Raises NotFound."""
    found = find_tenant(tx, slug)
    if found is None:
        raise _no_tenant(slug)
    return found


def get_tenant_id(tx: Connection, slug: str) -> int:
    """Raises NotFound."""
    row = tx.execute(_by_slug(), {"slug": slug}).first()
    if row is None:
        raise _no_tenant(slug)
    return int(row.id)


def _no_tenant(slug: str) -> NotFound:
    return NotFound(f"there is no tenant {shown(slug)}")


def _tenant(row: Any, path: Sequence[Node]) -> Tenant:
    parent = path[-2].slug if len(path) > 1 else None
    names = tuple(node.name for node in path)
    return Tenant(row["id"], row["slug"], row["name"], TenantKind(row["kind"]), parent, names, row["created_at"], row["weight"])


def all_tenants(tx: Connection) -> list[Tenant]:
    """Every tenant, parents before children, siblings by name."""
    rows = {row["id"]: row for row in tx.execute(select(tenants)).mappings()}

    def path(tenant_id: int) -> list[Node]:
        row = rows[tenant_id]
        up = path(row["parent_id"]) if row["parent_id"] else []
        return [*up, Node(row["id"], row["slug"], row["name"])]

    return sorted((_tenant(row, path(row["id"])) for row in rows.values()), key=lambda t: (t.path, t.slug))


def subtree(tx: Connection, slugs: Iterable[str]) -> set[str]:
    """Slugs of these tenants and of all below them."""
    tree = below(select(tenants.c.id).where(tenants.c.slug.in_(list(slugs))))
    return set(tx.scalars(select(tenants.c.slug).join(tree, tree.c.id == tenants.c.id)))


def insert_tenant(tx: Connection, slug: str, name: str, kind: TenantKind, parent: Tenant | None, at: datetime) -> Tenant:
    tx.execute(insert(tenants).values(slug=slug, name=name, kind=kind, parent_id=parent.id if parent else None, created_at=at))
    return get_tenant(tx, slug)


def rename_tenant(tx: Connection, slug: str, name: str) -> None:
    tx.execute(update(tenants).where(tenants.c.slug == slug).values(name=name))


def weigh_tenant(tx: Connection, slug: str, weight: int) -> None:
    tx.execute(update(tenants).where(tenants.c.slug == slug).values(weight=weight))


def delete_tenant(tx: Connection, tenant: Tenant) -> None:
    tx.execute(delete(tenants).where(tenants.c.id == tenant.id))


def has_children(tx: Connection, tenant: Tenant) -> bool:
    return tx.execute(select(tenants.c.id).where(tenants.c.parent_id == tenant.id).limit(1)).first() is not None


def has_history(tx: Connection, tenant: Tenant) -> bool:
    """Whether anything ever ran or was charged in the tenant."""
    tables = (reservations, usage_intervals, environments)
    return any(tx.execute(select(t.c.id).where(t.c.tenant_id == tenant.id).limit(1)).first() is not None for t in tables)


# ---- members


def roles_of(tx: Connection, user: str) -> dict[str, Role]:
    """Slug → effective role for every tenant the person is in, inherited ones included."""
    return roles_of_all(tx, [user])[user]


def roles_of_all(tx: Connection, users: Collection[str]) -> dict[str, dict[str, Role]]:
    """The same for many people at once."""
    best: dict[str, dict[str, Role]] = {user: {} for user in users}
    for user, slug, name in tx.execute(_roles(), {"users": list(users)}):
        role = Role(name)
        if slug not in best[user] or role.rank > best[user][slug].rank:
            best[user][slug] = role
    return best


@cache
def _roles() -> Select[Any]:
    given = select(members.c.user, members.c.tenant_id.label("id"), members.c.role)
    held = given.where(members.c.user.in_(bindparam("users", expanding=True))).cte("held", recursive=True)
    tree = held.union_all(select(held.c.user, tenants.c.id, held.c.role).where(tenants.c.parent_id == held.c.id))
    return select(tree.c.user, tenants.c.slug, tree.c.role).join(tree, tree.c.id == tenants.c.id)


def direct_tenants(tx: Connection, user: str) -> list[str]:
    """Tenants the person was put into directly, oldest first."""
    return direct_tenants_of_all(tx, [user])[user]


def direct_tenants_of_all(tx: Connection, users: Collection[str]) -> dict[str, list[str]]:
    """The same for many people at once."""
    found: dict[str, list[str]] = {user: [] for user in users}
    for user, slug in tx.execute(_direct(), {"users": list(users)}):
        found[user].append(slug)
    return found


@cache
def _direct() -> Select[Any]:
    query = select(members.c.user, tenants.c.slug).join(tenants, tenants.c.id == members.c.tenant_id)
    return query.where(members.c.user.in_(bindparam("users", expanding=True))).order_by(members.c.added_at, tenants.c.id)


def count_members(tx: Connection) -> dict[int, int]:
    """Tenant id → how many people have a role in it, there or in a tenant above."""
    start = select(tenants.c.id.label("top"), tenants.c.id, tenants.c.parent_id).cte("chain", recursive=True)
    chain = start.union_all(select(start.c.top, tenants.c.id, tenants.c.parent_id).where(tenants.c.id == start.c.parent_id))
    query = select(chain.c.top, func.count(members.c.user.distinct())).join(members, members.c.tenant_id == chain.c.id)
    return {tenant: number for tenant, number in tx.execute(query.group_by(chain.c.top))}


def members_of(tx: Connection, tenant: Tenant) -> list[Member]:
    """Everybody with a role in the tenant; of several the strongest, with where it was given."""
    tree = above()
    query = (
        select(members.c.user, members.c.role, tenants.c.slug, tree.c.distance)
        .join(tree, tree.c.id == members.c.tenant_id)
        .join(tenants, tenants.c.id == members.c.tenant_id)
        .order_by(tree.c.distance)
    )
    best: dict[str, Member] = {}
    for user, role, slug, distance in tx.execute(query, {"tenant_id": tenant.id}):
        member = Member(user, Role(role), slug if distance else None)
        if user not in best or member.role.rank > best[user].role.rank:
            best[user] = member
    return sorted(best.values(), key=lambda m: (-m.role.rank, m.user))


def put_member(tx: Connection, tenant: Tenant, user: str, role: Role, at: datetime) -> None:
    key = (members.c.tenant_id == tenant.id) & (members.c.user == user)
    if tx.execute(update(members).where(key).values(role=role)).rowcount == 0:
        tx.execute(insert(members).values(tenant_id=tenant.id, user=user, role=role, added_at=at))


def delete_member(tx: Connection, tenant: Tenant, user: str) -> bool:
    return tx.execute(delete(members).where((members.c.tenant_id == tenant.id) & (members.c.user == user))).rowcount > 0


def delete_memberships(tx: Connection, user: str) -> None:
    tx.execute(delete(members).where(members.c.user == user))


# ---- profiles


def profiles_of(tx: Connection, slugs: Iterable[str]) -> dict[str, list[str]]:
    """Tenant slug → names of the profiles assigned to it or to a tenant above it."""
    found: dict[str, list[str]] = {}
    for slug, profile in tx.execute(_profiles(), {"slugs": list(slugs)}):
        names = found.setdefault(slug, [])
        if profile not in names:
            names.append(profile)
    return found


@cache
def _profiles() -> Select[Any]:
    chosen = select(tenants.c.id, tenants.c.id.label("top")).where(tenants.c.slug.in_(bindparam("slugs", expanding=True)))
    start = chosen.cte("chain", recursive=True)
    chain = start.union_all(select(tenants.c.parent_id, start.c.top).where((tenants.c.id == start.c.id) & tenants.c.parent_id.is_not(None)))
    top = tenants.alias("top_tenant")
    return (
        select(top.c.slug, profile_assignments.c.profile)
        .join(chain, chain.c.top == top.c.id)
        .join(profile_assignments, profile_assignments.c.tenant_id == chain.c.id)
        .order_by(profile_assignments.c.profile)
    )


def assigned_profiles(tx: Connection, tenant: Tenant) -> list[str]:
    query = select(profile_assignments.c.profile).where(profile_assignments.c.tenant_id == tenant.id)
    return list(tx.scalars(query.order_by(profile_assignments.c.profile)))


def assign_profile(tx: Connection, tenant: Tenant, profile: str) -> None:
    if profile not in assigned_profiles(tx, tenant):
        tx.execute(insert(profile_assignments).values(tenant_id=tenant.id, profile=profile))


def unassign_profile(tx: Connection, tenant: Tenant, profile: str) -> bool:
    key = (profile_assignments.c.tenant_id == tenant.id) & (profile_assignments.c.profile == profile)
    return tx.execute(delete(profile_assignments).where(key)).rowcount > 0


# ---- quotas


def put_quota(tx: Connection, tenant: Tenant, user: str, resource: str, limit: float | None, guaranteed: float = 0) -> None:
    """Sets the limit and what of it is guaranteed; None removes both."""
    key = (quotas.c.tenant_id == tenant.id) & (quotas.c.user == user) & (quotas.c.resource == resource)
    tx.execute(delete(quotas).where(key))
    if limit is not None:
        tx.execute(insert(quotas).values(tenant_id=tenant.id, user=user, resource=resource, limit=limit, guaranteed=guaranteed))


def quota_rows(tx: Connection, tenant: Tenant) -> list[Quota]:
    """Quotas set at this tenant with what is held of each now; "*" rows carry used 0 (see ``used_by_user``)."""
    rows = tx.execute(select(quotas).where(quotas.c.tenant_id == tenant.id).order_by(quotas.c.user, quotas.c.resource)).mappings().all()
    return [
        Quota(
            tenant.slug,
            r["user"],
            r["resource"],
            r["limit"],
            0 if r["user"] == "*" else used(tx, tenant.id, r["user"], r["resource"]),
            r["guaranteed"],
        )
        for r in rows
    ]


def tenant_quotas(tx: Connection) -> list[Quota]:
    """Of every tenant as a whole, without looking what is used of them."""
    query = select(tenants.c.slug, quotas.c.resource, quotas.c.limit, quotas.c.guaranteed).join(tenants, tenants.c.id == quotas.c.tenant_id)
    rows = tx.execute(query.where(quotas.c.user == "").order_by(tenants.c.slug, quotas.c.resource))
    return [Quota(slug, "", resource, limit, 0, guaranteed) for slug, resource, limit, guaranteed in rows]


@dataclass(frozen=True)
class QuotaRow:
    tenant_id: int
    tenant: str
    tenant_name: str
    user: str
    resource: str
    limit: float
    guaranteed: float


def quotas_for(tx: Connection, tenant_id: int, user: str) -> list[QuotaRow]:
    """Every quota that binds ``user`` in the tenant: of the tenant and of all above it. A row for the user beats a "*" row."""
    rows = [QuotaRow(*row) for row in tx.execute(_quotas(), {"tenant_id": tenant_id, "user": user})]
    own = {(r.tenant_id, r.resource) for r in rows if r.user == user and user}
    return [r for r in rows if r.user != "*" or (r.tenant_id, r.resource) not in own]


@cache
def _quotas() -> Select[Any]:
    tree = above()
    return (
        select(quotas.c.tenant_id, tenants.c.slug, tenants.c.name, quotas.c.user, quotas.c.resource, quotas.c.limit, quotas.c.guaranteed)
        .join(tree, tree.c.id == quotas.c.tenant_id)
        .join(tenants, tenants.c.id == quotas.c.tenant_id)
        .where(or_(quotas.c.user == "", quotas.c.user == "*", quotas.c.user == bindparam("user")))
        .order_by(tree.c.distance, quotas.c.user, quotas.c.resource)
    )


def used(tx: Connection, tenant_id: int, user: str, resource: str) -> float:
    """What is held of a resource in the tenant and everything below it, by one user or ("") by all."""
    values = {"tenant_id": tenant_id, "resource": resource} | ({"user": user} if user else {})
    return float(tx.execute(_used(bool(user)), values).scalar_one())


@cache
def _used(by_one: bool) -> Select[Any]:
    tree = below(select(tenants.c.id).where(tenants.c.id == bindparam("tenant_id")))
    query = (
        select(func.coalesce(func.sum(reservation_amounts.c.amount), 0.0))
        .join(reservations, reservations.c.id == reservation_amounts.c.reservation_id)
        .join(tree, tree.c.id == reservations.c.tenant_id)
        .where((reservations.c.state == HELD) & (reservation_amounts.c.resource == bindparam("resource")))
    )
    return query.where(reservations.c.user == bindparam("user")) if by_one else query


# ---- reservations


@dataclass(frozen=True)
class Reservation:
    id: int
    kind: str
    noun_id: str
    user: str
    tenant_id: int
    state: str
    amounts: Amounts


def insert_reservation(
    tx: Connection, kind: str, noun_id: str, user: str, tenant_id: int, flavor: str, replicas: int, amounts: Amounts, at: datetime
) -> int:
    values = {"kind": kind, "noun_id": noun_id, "user": user, "tenant_id": tenant_id, "flavor": flavor, "replicas": replicas}
    return new_id(tx.execute(_new(), values | {"amounts": dict(amounts), "state": WAITING, "asked_at": at}))


@cache
def _new() -> Insert:
    return insert(reservations)


def hold(tx: Connection, reservation: Reservation, at: datetime) -> None:
    tx.execute(_change(), {"reservation": reservation.id, "state": HELD, "held_at": at})
    if reservation.amounts:
        rows = [{"reservation_id": reservation.id, "resource": name, "amount": amount} for name, amount in reservation.amounts.items()]
        tx.execute(_hold_amounts(), rows)


@cache
def _change() -> Update:
    return update(reservations).where(reservations.c.id == bindparam("reservation"))


@cache
def _hold_amounts() -> Insert:
    return insert(reservation_amounts)


def release_open(tx: Connection, kind: str, noun_id: str, at: datetime) -> bool:
    """Whether there was an open one."""
    found = find_open(tx, kind, noun_id)
    if found is None:
        return False
    tx.execute(_change(), {"reservation": found.id, "state": RELEASED, "released_at": at})
    tx.execute(delete(reservation_amounts).where(reservation_amounts.c.reservation_id == found.id))
    return True


def find_open(tx: Connection, kind: str, noun_id: str) -> Reservation | None:
    return next(iter(open_reservations(tx, kind, [noun_id])), None)


def open_reservations(tx: Connection, kind: str, noun_ids: Collection[str]) -> list[Reservation]:
    """At most one each, in no order."""
    some = ({"kind": kind, "noun_ids": part} for part in in_parts([*noun_ids]))
    return [_reservation(row) for values in some for row in tx.execute(_open(), values).mappings()]


@cache
def _open() -> Select[Any]:
    one_of = reservations.c.noun_id.in_(bindparam("noun_ids", expanding=True))
    return select(reservations).where((reservations.c.kind == bindparam("kind")) & one_of & (reservations.c.state != RELEASED))


def waiting_reservations(tx: Connection) -> list[Reservation]:
    """The queue in the order of admission; clocks of several processes would not agree on who came first."""
    return [_reservation(row) for row in tx.execute(_waiting()).mappings()]


@cache
def _waiting() -> Select[Any]:
    return select(reservations).where(reservations.c.state == WAITING).order_by(reservations.c.id)


def _reservation(row: Any) -> Reservation:
    return Reservation(row["id"], row["kind"], row["noun_id"], row["user"], row["tenant_id"], row["state"], row["amounts"])
