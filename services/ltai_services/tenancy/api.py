"""Routes: parse, one call, reply."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, status

from ltai_hub.domain.permissions import ACTIONS
from ltai_hub.web.callers import Caller
from ltai_hub.web.dependencies import Page, logged_in, page, require
from ltai_services.tenancy.models import (
    ActionOut,
    InviteOut,
    Me,
    MeChange,
    MemberOut,
    MemberRole,
    NewInvite,
    NewQuota,
    NewTenant,
    NewUser,
    PasswordChange,
    TenantChange,
    TenantOut,
    UserChange,
    UserOut,
)
from ltai_services.tenancy.service import TenancyService

Anybody = Annotated[Caller, Depends(logged_in)]
Reader = Annotated[Caller, Depends(require("tenants:read"))]
UserReader = Annotated[Caller, Depends(require("users:read"))]
UserWriter = Annotated[Caller, Depends(require("users:write"))]


def make_router(service: TenancyService) -> APIRouter:
    router = APIRouter()
    add_me(router, service)
    add_tenants(router, service)
    add_members(router, service)
    add_quotas(router, service)
    add_users(router, service)
    return router


def add_me(router: APIRouter, service: TenancyService) -> None:
    @router.get("/me")
    def me(caller: Anybody) -> Me:
        return service.me(caller)

    @router.patch("/me")
    def change_me(caller: Anybody, change: MeChange) -> Me:
        service.accounts.update(caller.name, language=change.language)
        return service.me(caller)

    @router.post("/me/password", status_code=status.HTTP_204_NO_CONTENT)
    def change_password(caller: Anybody, change: PasswordChange) -> None:
        service.accounts.change_password(caller.name, change.old, change.new)

    @router.get("/permissions")
    def permissions(_caller: Anybody) -> dict[str, list[ActionOut]]:
        rows = [ActionOut(action=name, help=a.help, own=sorted(a.own), others=sorted(a.others)) for name, a in ACTIONS.items()]
        return {"actions": rows}

    @router.get("/events")
    def events(
        caller: Annotated[Caller, Depends(require("events:read"))],
        paging: Page,
        tenant: str | None = None,
        noun: str | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        return page(*service.list_events(caller, paging.part, tenant, noun, id))


def add_tenants(router: APIRouter, service: TenancyService) -> None:
    @router.get("/tenants")
    def tenants(caller: Reader, paging: Page) -> dict[str, Any]:
        return page(*service.list_tenants(caller, paging.part))

    @router.post("/tenants", status_code=status.HTTP_201_CREATED)
    def create_tenant(caller: Annotated[Caller, Depends(require("tenants:create"))], new: NewTenant) -> TenantOut:
        return service.create_tenant(caller, new)

    @router.get("/tenants/{slug}")
    def tenant(caller: Reader, slug: str) -> TenantOut:
        return service.get_tenant(caller, slug)

    @router.patch("/tenants/{slug}")
    def change_tenant(caller: Annotated[Caller, Depends(require("tenants:update"))], slug: str, change: TenantChange) -> TenantOut:
        return service.change_tenant(caller, slug, change)

    @router.delete("/tenants/{slug}", status_code=status.HTTP_204_NO_CONTENT)
    def delete_tenant(caller: Annotated[Caller, Depends(require("tenants:delete"))], slug: str) -> None:
        service.delete_tenant(caller, slug)


def add_members(router: APIRouter, service: TenancyService) -> None:
    @router.get("/tenants/{slug}/members")
    def members(caller: Annotated[Caller, Depends(require("members:read"))], slug: str) -> dict[str, Any]:
        return page(service.list_members(caller, slug))

    @router.put("/tenants/{slug}/members/{user}")
    def put_member(caller: Annotated[Caller, Depends(require("members:write"))], slug: str, user: str, member: MemberRole) -> MemberOut:
        return service.put_member(caller, slug, user, member.role)

    @router.delete("/tenants/{slug}/members/{user}", status_code=status.HTTP_204_NO_CONTENT)
    def delete_member(caller: Annotated[Caller, Depends(require("members:write"))], slug: str, user: str) -> None:
        service.delete_member(caller, slug, user)

    @router.get("/tenants/{slug}/profiles")
    def profiles(caller: Annotated[Caller, Depends(require("profiles:read"))], slug: str) -> dict[str, Any]:
        return page(service.list_profiles(caller, slug))

    @router.put("/tenants/{slug}/profiles/{profile}", status_code=status.HTTP_204_NO_CONTENT)
    def assign_profile(caller: Annotated[Caller, Depends(require("profiles:assign"))], slug: str, profile: str) -> None:
        service.assign_profile(caller, slug, profile)

    @router.delete("/tenants/{slug}/profiles/{profile}", status_code=status.HTTP_204_NO_CONTENT)
    def unassign_profile(caller: Annotated[Caller, Depends(require("profiles:assign"))], slug: str, profile: str) -> None:
        service.unassign_profile(caller, slug, profile)


def add_quotas(router: APIRouter, service: TenancyService) -> None:
    @router.get("/quotas")
    def my_quotas(caller: Annotated[Caller, Depends(require("quotas:read"))], tenant: str | None = None) -> dict[str, Any]:
        return page(service.my_quotas(caller, tenant))

    @router.get("/tenants/{slug}/quotas")
    def quotas(caller: Annotated[Caller, Depends(require("quotas:read"))], slug: str) -> dict[str, Any]:
        return page(service.list_quotas(caller, slug))

    @router.put("/tenants/{slug}/quotas")
    def put_quota(caller: Annotated[Caller, Depends(require("quotas:write"))], slug: str, new: NewQuota) -> dict[str, Any]:
        return page(service.put_quota(caller, slug, new))


def add_users(router: APIRouter, service: TenancyService) -> None:
    @router.get("/users")
    def users(_caller: UserReader, paging: Page) -> dict[str, Any]:
        return page(*service.list_users(paging.part))

    @router.post("/users", status_code=status.HTTP_201_CREATED)
    async def create_user(_caller: UserWriter, new: NewUser) -> UserOut:
        return await service.create_user(new)

    @router.get("/users/{name}")
    def user(_caller: UserReader, name: str) -> UserOut:
        return service.get_user(name)

    @router.patch("/users/{name}")
    async def change_user(caller: UserWriter, name: str, change: UserChange) -> UserOut:
        return await service.change_user(caller, name, change)

    @router.delete("/users/{name}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_user(caller: UserWriter, name: str) -> None:
        await service.delete_user(caller, name)

    @router.post("/users/{name}/invite")
    def invite(_caller: UserWriter, name: str, new: NewInvite | None = None) -> InviteOut:
        return service.invite(name, (new or NewInvite()).hours)
