"""Who may do what: one table of actions × roles, used by every route.

``docs/reference/permissions.md`` is generated from ``ACTIONS``. A role held in a tenant holds in everything below it.
Platform administrators (the admin flag of an account) may do everything everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    ADMIN = "admin"
    TEACHER = "teacher"
    ASSISTANT = "assistant"
    MEMBER = "member"
    VIEWER = "viewer"

    @property
    def rank(self) -> int:
        return _RANK[self]


_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ASSISTANT: 2, Role.TEACHER: 3, Role.ADMIN: 4}

NOBODY: frozenset[Role] = frozenset()
EVERYBODY = frozenset(Role)
WORKERS = EVERYBODY - {Role.VIEWER}
STAFF = frozenset({Role.ASSISTANT, Role.TEACHER, Role.ADMIN})
LEADERS = frozenset({Role.TEACHER, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})


@dataclass(frozen=True)
class Action:
    """``own``: roles that may do it to what is theirs (or to nobody's); ``others``: to what belongs to somebody else."""

    own: frozenset[Role]
    others: frozenset[Role]
    help: str


ACTIONS: dict[str, Action] = {
    "environments:create": Action(WORKERS, NOBODY, "start an environment"),
    "environments:read": Action(EVERYBODY, STAFF, "see environments, their state and use"),
    "environments:stop": Action(WORKERS, STAFF, "stop an environment"),
    "environments:delete": Action(WORKERS, LEADERS, "delete a stopped environment"),
    "jobs:create": Action(WORKERS, NOBODY, "submit a job, run one again"),
    "jobs:read": Action(EVERYBODY, STAFF, "see jobs and their logs"),
    "jobs:cancel": Action(WORKERS, STAFF, "cancel a job"),
    "jobs:delete": Action(WORKERS, LEADERS, "delete an ended job with its log"),
    "models:read": Action(EVERYBODY, EVERYBODY, "see the tenant's models and experiments (MLflow)"),
    "models:write": Action(WORKERS, WORKERS, "log runs, register models and versions (MLflow)"),
    "models:delete": Action(WORKERS, LEADERS, "delete a model or a version"),
    "endpoints:create": Action(WORKERS, NOBODY, "publish a model version"),
    "endpoints:read": Action(EVERYBODY, EVERYBODY, "see endpoints and try them in the page"),
    "endpoints:update": Action(WORKERS, STAFF, "start, stop, scale, change version, renew the token"),
    "endpoints:delete": Action(WORKERS, LEADERS, "delete an endpoint"),
    "tenants:read": Action(EVERYBODY, EVERYBODY, "see the tenant and its place in the tree"),
    "tenants:create": Action(ADMINS, ADMINS, "create a tenant below this one"),
    "tenants:update": Action(ADMINS, ADMINS, "rename the tenant"),
    "tenants:delete": Action(ADMINS, ADMINS, "delete an empty tenant"),
    "members:read": Action(STAFF, STAFF, "see the members"),
    "members:write": Action(LEADERS, LEADERS, "add and remove members, give roles up to one's own"),
    "profiles:read": Action(EVERYBODY, EVERYBODY, "see the profiles of the tenant"),
    "profiles:assign": Action(LEADERS, LEADERS, "hand profiles to the tenant or take them back"),
    "quotas:read": Action(EVERYBODY, STAFF, "see quotas and what is used of them"),
    "quotas:write": Action(ADMINS, ADMINS, "set quotas below this tenant"),
    "usage:read": Action(EVERYBODY, LEADERS, "see usage"),
    "bills:read": Action(EVERYBODY, LEADERS, "see bills and the intervals behind a line"),
    "events:read": Action(EVERYBODY, STAFF, "see what happened, by whom and why"),
    "catalog:read": Action(EVERYBODY, EVERYBODY, "see flavors and images"),
    "images:build": Action(NOBODY, NOBODY, "build an image of the catalogue (platform administrators)"),
    "prices:write": Action(NOBODY, NOBODY, "set the price of a flavor (platform administrators)"),
    "users:read": Action(NOBODY, NOBODY, "see all accounts (platform administrators)"),
    "users:write": Action(NOBODY, NOBODY, "create, invite and disable accounts (platform administrators)"),
    "nodes:read": Action(NOBODY, NOBODY, "see machines and their accelerators (platform administrators)"),
}


def may(role: Role, action: str, is_own: bool = True) -> bool:
    """Whether ``role`` may do ``action``. Raises KeyError for an action that is not in the table."""
    row = ACTIONS[action]
    return role in (row.own if is_own else row.others)


def actions_of(role: Role) -> list[str]:
    """Every action the role may do at least to its own things."""
    return [name for name in ACTIONS if may(role, name)]
