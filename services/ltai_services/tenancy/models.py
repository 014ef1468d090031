"""What callers send and get."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ltai_hub.domain.permissions import Role
from ltai_hub.domain.tenants import TenantKind

Language = Literal["", "en", "zh-CN"]
MOST_WEIGHT = 1000


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewTenant(Body):
    name: str = Field(description="any text")
    kind: TenantKind = TenantKind.PROJECT
    parent: str | None = Field(default=None, description="slug of the tenant above; none for an organisation (platform administrators)")
    slug: str | None = Field(default=None, description="name in URLs, a-z 0-9 -; made from the name when left out")


class TenantChange(Body):
    """What is left out stays."""

    name: str | None = None
    weight: int | None = Field(default=None, ge=1, le=MOST_WEIGHT, description="part of what several tenants of a cluster borrow at once")


class Cluster(BaseModel):
    """Whether the cluster has the tenant's queue, as its quotas say; else what is in the way."""

    ready: bool
    message: str


class TenantOut(BaseModel):
    slug: str
    name: str
    kind: TenantKind
    parent: str | None
    path: list[str]
    depth: int
    members: int
    weight: int
    role: Role | None
    created_at: datetime
    cluster: Cluster | None = Field(default=None, description="none where the platform keeps the quotas itself")


class MemberRole(Body):
    role: Role


class MemberOut(BaseModel):
    user: str
    display_name: str
    role: Role
    inherited_from: str | None


class NewQuota(Body):
    resource: str = Field(description='"cpu" (cores), "memory" and "storage" (bytes), "accelerators" or "accelerator:KIND"')
    limit: float | None = Field(ge=0, allow_inf_nan=False, description="none takes the quota away")
    guaranteed: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="of the limit, what is the tenant's whenever it asks; left out: as before"
    )
    user: str | None = Field(default=None, description='none: the tenant as a whole; "*": each user of it; else one user')


class QuotaOut(BaseModel):
    tenant: str
    tenant_name: str
    user: str | None
    resource: str
    limit: float | None
    guaranteed: float
    used: float
    borrowed: float = Field(description="of what is used, more than is guaranteed")


class ProfileOut(BaseModel):
    profile: str
    inherited: bool


class NewUser(Body):
    name: str
    display_name: str = ""
    admin: bool = False
    password: str = Field(default="", repr=False, description="left out: the person sets one through an invite link")
    language: Language = ""


class UserChange(Body):
    display_name: str | None = None
    admin: bool | None = None
    disabled: bool | None = None
    language: Language | None = None


class TenantRole(BaseModel):
    slug: str
    role: Role


class UserOut(BaseModel):
    name: str
    display_name: str
    admin: bool
    disabled: bool
    language: str
    created_at: datetime
    last_login_at: datetime | None
    tenants: list[TenantRole]


class NewInvite(Body):
    hours: float = Field(default=72, gt=0, le=24 * 90)


class InviteOut(BaseModel):
    link: str
    expires_at: datetime


class PasswordChange(Body):
    old: str = Field(repr=False)
    new: str = Field(repr=False)


class MeChange(Body):
    language: Language


class MeTenant(BaseModel):
    slug: str
    name: str
    path: list[str]
    kind: TenantKind
    role: Role | None


class Me(BaseModel):
    name: str
    display_name: str
    admin: bool
    language: str
    tenants: list[MeTenant]
    default_tenant: str | None
    actions: dict[str, list[str]]


class EventOut(BaseModel):
    at: datetime
    noun: str
    noun_id: str
    name: str
    user: str
    tenant: str | None
    actor: str
    from_phase: str | None
    to_phase: str
    reason: str


class ActionOut(BaseModel):
    action: str
    help: str
    own: list[Role]
    others: list[Role]
