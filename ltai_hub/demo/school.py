"""The demo school: people, tenants, profiles, quotas and prices, so that the whole platform can be tried at once.

    Demo school
    ├── Computer Science
    │   └── ML 101      profile digits; teacher, assistant, student1 … student5
    └── Physics
        └── GPU Lab     profile gpu-intro; teacher, student1, student2

Making it twice changes nothing. Passwords are random and kept in ``$DATA/demo.json`` (0600) for ``ready.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy.engine import Connection

from ltai_hub.accounts.passwords import make_password
from ltai_hub.accounts.service import Accounts
from ltai_hub.catalog.prices import seed_prices
from ltai_hub.db.engine import Database
from ltai_hub.demo.courses import make_courses
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.permissions import Role
from ltai_hub.domain.tenants import Tenant, TenantKind
from ltai_hub.paths import DataFolder
from ltai_hub.tenancy import store
from ltai_hub.units import utc_now

GIB = 1 << 30
SCHOOL, ML, GPU = "demo-school", "ml-101", "gpu-lab"


@dataclass(frozen=True)
class DemoAccount:
    """One line of ``ready.json``; ``role`` is admin, teacher, assistant or student."""

    name: str
    password: str = field(repr=False)
    role: str
    display_name: str = ""


@dataclass(frozen=True)
class _Person:
    name: str
    display_name: str
    role: str
    places: tuple[tuple[str, Role], ...]


@dataclass(frozen=True)
class _Place:
    slug: str
    name: str
    kind: TenantKind
    parent: str | None
    profiles: tuple[str, ...] = ()


PLACES = (
    _Place(SCHOOL, "Demo school", TenantKind.ORGANISATION, None, ("plain",)),
    _Place("computer-science", "Computer Science", TenantKind.DEPARTMENT, SCHOOL),
    _Place("physics", "Physics", TenantKind.DEPARTMENT, SCHOOL),
    _Place(ML, "ML 101", TenantKind.COURSE, "computer-science", ("digits",)),
    _Place(GPU, "GPU Lab", TenantKind.COURSE, "physics", ("gpu-intro",)),
)
BOTH_COURSES = ((ML, Role.MEMBER), (GPU, Role.MEMBER))
PEOPLE = (
    _Person("admin", "Ada Admin", "admin", ((SCHOOL, Role.ADMIN),)),
    _Person("teacher", "Tang Min (teacher)", "teacher", ((ML, Role.TEACHER), (GPU, Role.TEACHER))),
    _Person("assistant", "Ana Silva (assistant)", "assistant", ((ML, Role.ASSISTANT),)),
    _Person("student1", "Li Na 李娜", "student", BOTH_COURSES),
    _Person("student2", "Max Weber", "student", BOTH_COURSES),
    _Person("student3", "Wang Fang 王芳", "student", ((ML, Role.MEMBER),)),
    _Person("student4", "Omar Haddad", "student", ((ML, Role.MEMBER),)),
    _Person("student5", "Sofía Núñez", "student", ((ML, Role.MEMBER),)),
)
# user: "" the tenant as a whole, "*" each of its members
QUOTAS: tuple[tuple[str, str, str, float], ...] = (
    (SCHOOL, "", "cpu", 64),
    (SCHOOL, "", "memory", 128 * GIB),
    (SCHOOL, "", "storage", 1024 * GIB),
    (ML, "*", "cpu", 8),
    (ML, "*", "memory", 16 * GIB),
    (ML, "*", "accelerators", 1),
    (GPU, "*", "cpu", 8),
    (GPU, "*", "memory", 16 * GIB),
    (GPU, "*", "accelerators", 2),
)


def make_demo_school(
    database: Database, data: DataFolder, catalog: Catalog, simulated_gpus: int = 2, clock: Callable[[], datetime] = utc_now
) -> list[DemoAccount]:
    """Make what is missing; returns everybody with password. Blocks for about half a second the first time.

    The tenants come last and in one transaction: a school that has its tenants is complete.
    """
    accounts = _load_accounts(data)
    with database.reading() as tx:
        complete = store.find_tenant(tx, SCHOOL) is not None
    if not complete or not accounts:
        accounts = accounts or [DemoAccount(p.name, make_password(), p.role, p.display_name) for p in PEOPLE]
        save_accounts(data, accounts)
        _make_people(Accounts(database, clock), accounts)
    if not complete:
        with database.transaction() as tx:
            _make_tenants(tx, catalog, simulated_gpus, clock())
    make_courses(data)
    return accounts


def _load_accounts(data: DataFolder) -> list[DemoAccount]:
    try:
        kept = json.loads((data.root / "demo.json").read_text("utf-8"))
        return [DemoAccount(a["name"], a["password"], a["role"], a["display_name"]) for a in kept["accounts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def save_accounts(data: DataFolder, accounts: list[DemoAccount]) -> None:
    """Before the accounts are made: a start that is cut short must not leave accounts whose password nobody knows."""
    path = data.root / "demo.json"
    unfinished = path.with_name(".demo.json.part")
    unfinished.unlink(missing_ok=True)
    kept = {"accounts": [asdict(account) for account in accounts]}
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1)
    unfinished.replace(path)


def _make_people(everybody: Accounts, accounts: list[DemoAccount]) -> None:
    passwords = {a.name: a.password for a in accounts}
    for person in PEOPLE:
        if person.name not in passwords:
            continue
        if everybody.find(person.name):
            everybody.set_password(person.name, passwords[person.name])
        else:
            everybody.create(person.name, person.display_name, admin=person.role == "admin", password=passwords[person.name])


def _make_tenants(tx: Connection, catalog: Catalog, simulated_gpus: int, now: datetime) -> None:
    made: dict[str, Tenant] = {}
    for place in PLACES:
        parent = made[place.parent] if place.parent else None
        made[place.slug] = store.find_tenant(tx, place.slug) or store.insert_tenant(tx, place.slug, place.name, place.kind, parent, now)
        for profile in place.profiles:
            if profile in catalog.profiles:
                store.assign_profile(tx, made[place.slug], profile)
    for person in PEOPLE:
        for slug, role in person.places:
            store.put_member(tx, made[slug], person.name, role, now)
    for slug, user, resource, limit in (*QUOTAS, (SCHOOL, "", "accelerators", simulated_gpus)):
        store.put_quota(tx, made[slug], user, resource, limit)
    seed_prices(tx, catalog, now)
