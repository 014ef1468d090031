"""The verbs: permission, then one transaction."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from sqlalchemy.engine import Connection

from ltai_hub.accounts.service import Accounts
from ltai_hub.accounts.store import Account
from ltai_hub.backends.base import HasQueue
from ltai_hub.domain.lists import Part, in_order
from ltai_hub.domain.permissions import ACTIONS, Role, actions_of
from ltai_hub.domain.quotas import ACCELERATOR, Limit, can_be_guaranteed, guaranteed_inside, resource_names, say
from ltai_hub.domain.tenants import Quota, Tenant
from ltai_hub.errors import BadInput, Conflict, Denied, NotFound
from ltai_hub.metering import store as metering
from ltai_hub.service import Platform
from ltai_hub.slugs import check_title, make_slug, shown
from ltai_hub.tenancy import store
from ltai_hub.tenancy.admission import admit_waiting, limits_for
from ltai_hub.tenancy.permit import default_tenant, permit, permitted_tenants
from ltai_hub.web.callers import Caller
from ltai_services.tenancy.models import (
    Cluster,
    EventOut,
    InviteOut,
    Me,
    MemberOut,
    MeTenant,
    NewQuota,
    NewTenant,
    NewUser,
    ProfileOut,
    QuotaOut,
    TenantChange,
    TenantOut,
    TenantRole,
    UserChange,
    UserOut,
)
from ltai_services.tenancy.store import ALL, cluster_sentences

TENANT_SORTS: Mapping[str, Callable[[TenantOut], Any]] = {
    "slug": lambda tenant: tenant.slug,
    "name": lambda tenant: tenant.name.lower(),
    "kind": lambda tenant: tenant.kind,
    "path": lambda tenant: tenant.path,
    "depth": lambda tenant: tenant.depth,
    "members": lambda tenant: tenant.members,
    "role": lambda tenant: tenant.role.rank if tenant.role else None,
    "created_at": lambda tenant: tenant.created_at,
}
NOT_YET = "the cluster has not heard of it yet"
SLUG = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")


def free_slug(tx: Connection, name: str) -> str:
    """``ML 1`` becomes ``ml-1``; with a hash when another tenant has that already or letters were lost."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if name.isascii() and SLUG.fullmatch(readable) and store.find_tenant(tx, readable) is None:
        return readable
    return make_slug(name)


def _quota_out(quota: Quota | Limit, tenant_name: str) -> QuotaOut:
    return QuotaOut(
        tenant=quota.tenant,
        tenant_name=tenant_name,
        user=quota.user or None,
        resource=quota.resource,
        limit=quota.limit,
        guaranteed=quota.guaranteed,
        used=quota.used,
        borrowed=max(quota.used - quota.guaranteed, 0) if quota.guaranteed else 0,
    )


class TenancyService:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.has_queue = isinstance(platform.backend, HasQueue)
        # tenants, quotas or weights are other ones now
        self.on_change: Callable[[], None] = lambda: None
        self.database = platform.database
        self.accounts = Accounts(platform.database, platform.clock)

    # ---- oneself

    def me(self, caller: Caller) -> Me:
        account = self.accounts.find(caller.name)
        with self.database.reading() as tx:
            roles = store.roles_of(tx, caller.name)
            seen = [t for t in store.all_tenants(tx) if caller.admin or t.slug in roles]
            direct = store.direct_tenants(tx, caller.name)
        everything = sorted(ACTIONS)
        return Me(
            name=caller.name,
            display_name=account.display_name if account else caller.name,
            admin=caller.admin,
            language=account.language if account else "",
            tenants=[MeTenant(slug=t.slug, name=t.name, path=list(t.path), kind=t.kind, role=roles.get(t.slug)) for t in seen],
            default_tenant=direct[0] if direct else None,
            actions={t.slug: everything if caller.admin else actions_of(roles[t.slug]) for t in seen},
        )

    # ---- tenants

    def list_tenants(self, caller: Caller, part: Part) -> tuple[list[TenantOut], int]:
        """A page, by the path in the tree if not told otherwise, and the total. Raises BadInput for an unknown ``part.sort``."""
        with self.database.reading() as tx:
            visible = permitted_tenants(tx, caller, "tenants:read", own=True)
            wanted = part.text.lower()
            found = [t for t in store.all_tenants(tx) if t.slug in visible and wanted in " ".join((*t.path, t.slug)).lower()]
            rows = in_order(self._tenants_out(tx, caller, found), part.sort, TENANT_SORTS)
        return rows[part.offset : part.offset + part.limit], len(rows)

    def get_tenant(self, caller: Caller, slug: str) -> TenantOut:
        with self.database.reading() as tx:
            permit(tx, caller, "tenants:read", slug)
            return self._tenant_out(tx, caller, slug)

    def create_tenant(self, caller: Caller, new: NewTenant) -> TenantOut:
        name = check_title(new.name, "tenant")
        if new.slug is not None and not SLUG.fullmatch(new.slug):
            raise BadInput(f"{shown(new.slug)} cannot be a slug: use 1 to 40 of a-z, 0-9 and '-', beginning with a letter")
        with self.database.transaction() as tx:
            parent = self._parent(tx, caller, new.parent)
            slug = new.slug or free_slug(tx, name)
            if store.find_tenant(tx, slug):
                raise Conflict(f"the slug {slug} is taken by another tenant; choose another name or give a slug of your own")
            tenant = store.insert_tenant(tx, slug, name, new.kind, parent, self.platform.clock())
            self._event(tx, caller, tenant, "created", "")
            answer = self._tenant_out(tx, caller, slug)
        self.on_change()
        return answer

    def _parent(self, tx: Connection, caller: Caller, parent: str | None) -> Tenant | None:
        if parent is not None:
            permit(tx, caller, "tenants:create", parent)
            return store.get_tenant(tx, parent)
        if not caller.admin:
            raise Denied(f"{caller.name} is no platform administrator, and only they may make an organisation; name a tenant above")
        return None

    def change_tenant(self, caller: Caller, slug: str, change: TenantChange) -> TenantOut:
        title = None if change.name is None else check_title(change.name, "tenant")
        with self.database.transaction() as tx:
            permit(tx, caller, "tenants:update", slug)
            if title is not None:
                store.rename_tenant(tx, slug, title)
            if change.weight is not None:
                self._weigh(tx, caller, store.get_tenant(tx, slug), change.weight)
            answer = self._tenant_out(tx, caller, slug)
        self.on_change()
        return answer

    def _weigh(self, tx: Connection, caller: Caller, tenant: Tenant, weight: int) -> None:
        permit(tx, caller, "quotas:write", tenant.slug)
        self._check_set_from_above(tx, caller, tenant, "weight")
        store.weigh_tenant(tx, tenant.slug, weight)
        self._event(tx, caller, tenant, "weight", f"{tenant.weight} → {weight}")

    def delete_tenant(self, caller: Caller, slug: str) -> None:
        with self.database.transaction() as tx:
            permit(tx, caller, "tenants:delete", slug)
            tenant = store.get_tenant(tx, slug)
            if store.has_children(tx, tenant):
                raise Conflict(f"{tenant.name} has tenants below it; delete those first")
            if store.has_history(tx, tenant):
                raise Conflict(f"{tenant.name} has environments, jobs, endpoints or bills; tenants with a history are kept")
            store.delete_tenant(tx, tenant)
        self.on_change()

    def _tenant_out(self, tx: Connection, caller: Caller, slug: str) -> TenantOut:
        return self._tenants_out(tx, caller, [store.get_tenant(tx, slug)])[0]

    def _tenants_out(self, tx: Connection, caller: Caller, tenants: Sequence[Tenant]) -> list[TenantOut]:
        roles, members = store.roles_of(tx, caller.name), store.count_members(tx)
        clusters = cluster_sentences(tx) if self.has_queue else {}
        return [
            TenantOut(
                slug=tenant.slug,
                name=tenant.name,
                kind=tenant.kind,
                parent=tenant.parent,
                path=list(tenant.path),
                depth=tenant.depth,
                members=members.get(tenant.id, 0),
                weight=tenant.weight,
                role=roles.get(tenant.slug),
                created_at=tenant.created_at,
                cluster=self._cluster(clusters.get(tenant.slug, NOT_YET) or clusters.get(ALL, "")),
            )
            for tenant in tenants
        ]

    def _cluster(self, sentence: str) -> Cluster | None:
        return Cluster(ready=not sentence, message=sentence) if self.has_queue else None

    # ---- members

    def list_members(self, caller: Caller, slug: str) -> list[MemberOut]:
        with self.database.reading() as tx:
            permit(tx, caller, "members:read", slug)
            found = store.members_of(tx, store.get_tenant(tx, slug))
        names = self.accounts.display_names([m.user for m in found])
        return [MemberOut(user=m.user, display_name=names.get(m.user, m.user), role=m.role, inherited_from=m.inherited_from) for m in found]

    def put_member(self, caller: Caller, slug: str, user: str, role: Role) -> MemberOut:
        account = self.accounts.get(user)
        with self.database.transaction() as tx:
            permit(tx, caller, "members:write", slug)
            tenant = store.get_tenant(tx, slug)
            self._check_rank(tx, caller, tenant, user, role)
            store.put_member(tx, tenant, user, role, self.platform.clock())
            self._event(tx, caller, tenant, "member", f"{user} is {role}", user)
        return MemberOut(user=user, display_name=account.display_name, role=role, inherited_from=None)

    def delete_member(self, caller: Caller, slug: str, user: str) -> None:
        with self.database.transaction() as tx:
            permit(tx, caller, "members:write", slug)
            tenant = store.get_tenant(tx, slug)
            self._check_rank(tx, caller, tenant, user, Role.VIEWER)
            if not store.delete_member(tx, tenant, user):
                raise NotFound(f"{user} was not put into {tenant.name} directly; look in the tenants above it")
            self._event(tx, caller, tenant, "member", f"{user} was removed", user)

    def _check_rank(self, tx: Connection, caller: Caller, tenant: Tenant, user: str, role: Role) -> None:
        """Nobody gives or takes a role above their own."""
        if caller.admin:
            return
        own = store.roles_of(tx, caller.name)[tenant.slug]
        theirs = next((m.role for m in store.members_of(tx, tenant) if m.user == user), Role.VIEWER)
        highest = max(role, theirs, key=lambda r: r.rank)
        if highest.rank > own.rank:
            raise Denied(f"{caller.name} is {own} in {tenant.name} and may not give or take the role {highest}")

    # ---- profiles

    def list_profiles(self, caller: Caller, slug: str) -> list[ProfileOut]:
        with self.database.reading() as tx:
            permit(tx, caller, "profiles:read", slug)
            here = store.assigned_profiles(tx, store.get_tenant(tx, slug))
            names = store.profiles_of(tx, [slug]).get(slug, [])
        return [ProfileOut(profile=name, inherited=name not in here) for name in names]

    def assign_profile(self, caller: Caller, slug: str, profile: str) -> None:
        self.platform.catalog.get_profile(profile)
        with self.database.transaction() as tx:
            permit(tx, caller, "profiles:assign", slug)
            tenant = store.get_tenant(tx, slug)
            store.assign_profile(tx, tenant, profile)
            self._event(tx, caller, tenant, "profile", f"{profile} was assigned")

    def unassign_profile(self, caller: Caller, slug: str, profile: str) -> None:
        with self.database.transaction() as tx:
            permit(tx, caller, "profiles:assign", slug)
            tenant = store.get_tenant(tx, slug)
            if not store.unassign_profile(tx, tenant, profile):
                raise NotFound(f"{profile} is not assigned to {tenant.name} itself; look in the tenants above it")
            self._event(tx, caller, tenant, "profile", f"{profile} was taken back")

    # ---- quotas

    def list_quotas(self, caller: Caller, slug: str) -> list[QuotaOut]:
        """Quotas set at the tenant; for members, those that bind them with what they use."""
        with self.database.reading() as tx:
            permit(tx, caller, "quotas:read", slug)
            tenant = store.get_tenant(tx, slug)
            if slug in permitted_tenants(tx, caller, "quotas:read"):
                return [_quota_out(q, tenant.name) for q in store.quota_rows(tx, tenant)]
            return self._binding(tx, tenant, caller.name)

    def my_quotas(self, caller: Caller, slug: str | None) -> list[QuotaOut]:
        """Every quota that binds the caller in a tenant (the default one when none is named)."""
        with self.database.reading() as tx:
            name = slug or default_tenant(tx, caller.name)
            permit(tx, caller, "quotas:read", name)
            return self._binding(tx, store.get_tenant(tx, name), caller.name)

    def _binding(self, tx: Connection, tenant: Tenant, user: str) -> list[QuotaOut]:
        return [_quota_out(limit, limit.tenant_name) for limit in limits_for(tx, tenant.id, user)]

    def put_quota(self, caller: Caller, slug: str, new: NewQuota) -> list[QuotaOut]:
        known = resource_names(self.platform.catalog.accelerators)
        if new.resource not in known:
            raise BadInput(f"there is no resource {shown(new.resource)}; choose one of {', '.join(known)}")
        if new.user not in (None, "", "*"):
            self.accounts.get(str(new.user))
        with self.database.transaction() as tx:
            permit(tx, caller, "quotas:write", slug)
            tenant = store.get_tenant(tx, slug)
            self._check_set_from_above(tx, caller, tenant, "quota")
            guaranteed = self._guaranteed(tx, tenant, new)
            store.put_quota(tx, tenant, new.user or "", new.resource, new.limit, guaranteed)
            whose = {None: "the tenant", "": "the tenant", "*": "each user"}.get(new.user, new.user)
            how_much = "unlimited" if new.limit is None else f"{new.limit:g}"
            safe = f", {guaranteed:g} of it guaranteed" if guaranteed else ""
            self._event(tx, caller, tenant, "quota", f"{new.resource} of {whose} is {how_much}{safe}")
            admit_waiting(tx, self.platform.clock(), self.platform.left_to_queue)
        self.on_change()
        return self.list_quotas(caller, slug)

    def _check_set_from_above(self, tx: Connection, caller: Caller, tenant: Tenant, what: str) -> None:
        """An admin of a tenant divides it among those below; the tenant's own part is set from above."""
        if caller.admin:
            return
        above = store.roles_of(tx, caller.name).get(tenant.parent or "")
        if above is not Role.ADMIN:
            raise Denied(f"the {what} of {tenant.name} is set by an administrator of the tenant above it")

    def _guaranteed(self, tx: Connection, tenant: Tenant, new: NewQuota) -> float:
        """What the quota will guarantee. Raises BadInput when that cannot be kept, with the numbers."""
        rows = [quota for quota in store.tenant_quotas(tx) if quota.resource == new.resource]
        before = {quota.tenant: quota.guaranteed for quota in rows}
        if new.user:
            if new.guaranteed:
                raise BadInput("only a tenant as a whole can have something guaranteed, not a user of it")
            return 0
        wished = before.get(tenant.slug, 0) if new.guaranteed is None else new.guaranteed
        if wished and not can_be_guaranteed(new.resource):
            raise BadInput(f"{new.resource} cannot be guaranteed; cpu, memory and {ACCELERATOR}KIND can")
        if new.limit is None:
            if new.guaranteed:
                raise BadInput("what is guaranteed is a part of the limit; set a limit too")
            return 0
        caps = {quota.tenant: quota.limit for quota in rows} | {tenant.slug: new.limit}
        self._check_caps(tx, tenant, new.resource, before | {tenant.slug: wished}, caps)
        return wished

    def _check_caps(self, tx: Connection, tenant: Tenant, resource: str, own: Mapping[str, float], caps: Mapping[str, float]) -> None:
        """The tenant and those above it must have room for all that is guaranteed inside of them."""
        tenants = {one.slug: one for one in store.all_tenants(tx)}
        inside = guaranteed_inside({slug: one.parent for slug, one in tenants.items()}, own)
        slug: str | None = tenant.slug
        while slug is not None:
            if inside[slug] > caps.get(slug, inf):
                raise BadInput(
                    f"{tenants[slug].name} may use {say(resource, caps[slug])} in all, and {say(resource, inside[slug])} would be "
                    "guaranteed in it; guarantee less, or raise its limit first"
                )
            slug = tenants[slug].parent

    # ---- accounts

    def list_users(self, part: Part) -> tuple[list[UserOut], int]:
        found, total = self.accounts.search(part)
        return self._users_out(found), total

    def get_user(self, name: str) -> UserOut:
        return self._user_out(self.accounts.get(name))

    async def create_user(self, new: NewUser) -> UserOut:
        """The account, known to the hub at once so that tokens and servers can be made for it."""
        account = await to_thread(self.accounts.create, new.name, new.display_name, new.admin, new.password, new.language)
        await self.platform.hub.ensure_user(account.name)
        return self._user_out(account)

    async def change_user(self, caller: Caller, name: str, change: UserChange) -> UserOut:
        if name == caller.name and (change.admin is False or change.disabled):
            raise Conflict("you cannot take the administrator's rights from yourself or disable yourself; ask another administrator")
        account = await to_thread(self.accounts.update, name, change.display_name, change.admin, change.disabled, change.language)
        if change.admin is not None:
            await self.platform.hub.ensure_user(name)
            await self.platform.hub.set_admin(name, change.admin)
        if change.disabled:
            # a disabled person's tokens and running servers must not live on
            await self.platform.hub.delete_user(name)
        return self._user_out(account)

    async def delete_user(self, caller: Caller, name: str) -> None:
        """The account and its tokens go; home, models and bills stay."""
        if name == caller.name:
            raise Conflict("you cannot delete yourself; ask another administrator")
        await to_thread(self.accounts.get, name)
        await self.platform.hub.delete_user(name)
        # the hub asks the authenticator to forget the person, and ours deletes the account then
        with suppress(NotFound):
            await to_thread(self.accounts.delete, name)
        with self.database.transaction() as tx:
            store.delete_memberships(tx, name)

    def invite(self, name: str, hours: float) -> InviteOut:
        invitation = self.accounts.invite(name, hours=hours)
        return InviteOut(link=invitation.link(self.platform.settings.public_url), expires_at=invitation.expires_at)

    def _user_out(self, account: Account) -> UserOut:
        return self._users_out([account])[0]

    def _users_out(self, accounts: Sequence[Account]) -> list[UserOut]:
        names = [account.name for account in accounts]
        with self.database.reading() as tx:
            direct = store.direct_tenants_of_all(tx, names)
            roles = store.roles_of_all(tx, names)
        return [
            UserOut(
                name=account.name,
                display_name=account.display_name,
                admin=account.admin,
                disabled=account.disabled,
                language=account.language,
                created_at=account.created_at,
                last_login_at=account.last_login_at,
                tenants=[TenantRole(slug=slug, role=roles[account.name][slug]) for slug in direct[account.name]],
            )
            for account in accounts
        ]

    # ---- history

    def list_events(
        self, caller: Caller, part: Part, tenant: str | None, noun: str | None, noun_id: str | None
    ) -> tuple[list[EventOut], int]:
        with self.database.reading() as tx:
            scope = None if caller.admin else metering.Scope(permitted_tenants(tx, caller, "events:read"), caller.name)
            found, total = metering.list_events(tx, part, scope, tenant, noun, noun_id)
        return [EventOut(**{name: getattr(event, name) for name in EventOut.model_fields}) for event in found], total

    def _event(self, tx: Connection, caller: Caller, tenant: Tenant, what: str, reason: str, user: str = "") -> None:
        at = self.platform.clock()
        metering.insert_event(tx, at, "tenant", tenant.slug, tenant.name, user or caller.name, tenant.slug, caller.name, None, what, reason)
