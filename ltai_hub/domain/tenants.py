"""The tenant tree: organisation → department → course or project, any depth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ltai_hub.domain.permissions import Role


class TenantKind(StrEnum):
    ORGANISATION = "organisation"
    DEPARTMENT = "department"
    COURSE = "course"
    PROJECT = "project"


@dataclass(frozen=True)
class Tenant:
    """``slug`` is unique on the platform and used in URLs, MLflow workspaces and groups; ``name`` is any text;
    ``weight`` is its part of what several tenants of a cluster borrow at once."""

    id: int
    slug: str
    name: str
    kind: TenantKind
    parent: str | None
    path: tuple[str, ...]
    created_at: datetime
    weight: int = 1

    @property
    def depth(self) -> int:
        return len(self.path) - 1


@dataclass(frozen=True)
class Member:
    """``inherited_from`` is the slug of the tenant above where the role was given, None when it was given here."""

    user: str
    role: Role
    inherited_from: str | None = None


@dataclass(frozen=True)
class Quota:
    """``user``: "" the tenant as a whole, "*" each user of it, else one user."""

    tenant: str
    user: str
    resource: str
    limit: float
    used: float
    guaranteed: float = 0


@dataclass(frozen=True)
class Person:
    """Who asks. Platform administrators may do everything; their own notebooks' tokens are not (``admin`` False there)."""

    name: str
    admin: bool = False
