"""``client.tenants``, ``members``, ``quotas``, ``users``: who there is and what they may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ltai_hub.client.transport import Transport, dropped, part
from ltai_hub.client.types import Event, Invite, Member, Page, Quota, Tenant, User

SERVICE = "tenancy"


@dataclass(frozen=True)
class Tenants:
    transport: Transport

    def create(self, name: str, *, kind: str | None = None, parent: str | None = None, slug: str | None = None) -> Tenant:
        """``kind``: organisation, department, course or project (the default); ``slug``: made from the name unless given."""
        body = {"name": name, "kind": kind, "parent": parent, "slug": slug}
        made: Tenant = self.transport.call("POST", SERVICE, "/tenants", json=dropped(body))
        return made

    def list(self, *, q: str | None = None, sort: str | None = None, limit: int | None = None, offset: int = 0) -> Page[Tenant]:
        return self.transport.page(SERVICE, "/tenants", {"q": q, "sort": sort}, limit, offset)

    def get(self, slug: str) -> Tenant:
        found: Tenant = self.transport.call("GET", SERVICE, f"/tenants/{part(slug)}")
        return found

    def rename(self, slug: str, name: str) -> Tenant:
        return self.update(slug, name=name)

    def update(self, slug: str, *, name: str | None = None, weight: int | None = None) -> Tenant:
        """``weight``: 1 to 1000, its part of what several tenants of a cluster borrow at once."""
        body = dropped({"name": name, "weight": weight})
        changed: Tenant = self.transport.call("PATCH", SERVICE, f"/tenants/{part(slug)}", json=body)
        return changed

    def delete(self, slug: str) -> None:
        self.transport.call("DELETE", SERVICE, f"/tenants/{part(slug)}")


@dataclass(frozen=True)
class Members:
    transport: Transport

    def list(self, tenant: str, *, q: str | None = None, limit: int | None = None, offset: int = 0) -> Page[Member]:
        return self.transport.page(SERVICE, f"/tenants/{part(tenant)}/members", {"q": q}, limit, offset)

    def set(self, tenant: str, user: str, role: str) -> Member:
        """Makes somebody a member or changes the role: admin, teacher, assistant, member or viewer."""
        path = f"/tenants/{part(tenant)}/members/{part(user)}"
        member: Member = self.transport.call("PUT", SERVICE, path, json={"role": role})
        return member

    def remove(self, tenant: str, user: str) -> None:
        self.transport.call("DELETE", SERVICE, f"/tenants/{part(tenant)}/members/{part(user)}")


@dataclass(frozen=True)
class Quotas:
    transport: Transport

    def list(self, *, tenant: str | None = None, limit: int | None = None, offset: int = 0) -> Page[Quota]:
        """What binds the caller: the tenant's and its parents' limits with what is used of them."""
        return self.transport.page(SERVICE, "/quotas", {"tenant": tenant}, limit, offset)

    def of(self, tenant: str) -> Page[Quota]:
        """The limits set on this very tenant."""
        return self.transport.page(SERVICE, f"/tenants/{part(tenant)}/quotas", {})

    def set(
        self, tenant: str, resource: str, limit: float | None, *, user: str | None = None, guaranteed: float | None = None
    ) -> Page[Quota]:
        """All quotas of the tenant afterwards. ``limit`` None lifts it; ``user``: a name, "*" for each member, None for the tenant.

        ``guaranteed``: of the tenant's limit, what a cluster gives it whenever it asks; None leaves that as it is.
        """
        body = {"resource": resource, "limit": limit, "user": user, **dropped({"guaranteed": guaranteed})}
        answer = self.transport.call("PUT", SERVICE, f"/tenants/{part(tenant)}/quotas", json=body)
        return Page(answer["items"], answer["total"])


@dataclass(frozen=True)
class Users:
    transport: Transport

    def create(self, name: str, *, display_name: str | None = None, admin: bool | None = None, password: str | None = None) -> User:
        """Without a password the person sets one through the link of ``invite``."""
        body = {"name": name, "display_name": display_name, "admin": admin, "password": password}
        made: User = self.transport.call("POST", SERVICE, "/users", json=dropped(body))
        return made

    def list(self, *, q: str | None = None, sort: str | None = None, limit: int | None = None, offset: int = 0) -> Page[User]:
        return self.transport.page(SERVICE, "/users", {"q": q, "sort": sort}, limit, offset)

    def get(self, name: str) -> User:
        found: User = self.transport.call("GET", SERVICE, f"/users/{part(name)}")
        return found

    def update(self, name: str, *, display_name: str | None = None, admin: bool | None = None, disabled: bool | None = None) -> User:
        body: dict[str, Any] = {"display_name": display_name, "admin": admin, "disabled": disabled}
        changed: User = self.transport.call("PATCH", SERVICE, f"/users/{part(name)}", json=dropped(body))
        return changed

    def invite(self, name: str, *, hours: float | None = None) -> Invite:
        """A link with which the person sets a password; it works once and for ``hours`` (72 unless told)."""
        made: Invite = self.transport.call("POST", SERVICE, f"/users/{part(name)}/invite", json=dropped({"hours": hours}))
        return made

    def delete(self, name: str) -> None:
        self.transport.call("DELETE", SERVICE, f"/users/{part(name)}")


@dataclass(frozen=True)
class Events:
    transport: Transport

    def list(
        self,
        *,
        tenant: str | None = None,
        noun: str | None = None,
        id: str | int | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Page[Event]:
        """State changes, newest first."""
        return self.transport.page(SERVICE, "/events", {"tenant": tenant, "noun": noun, "id": id, "sort": sort}, limit, offset)
