"""Values for tests: ``database = a_database(tmp_path)``, ``tree(tx)``."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, create_mock_engine, make_url, text
from sqlalchemy.engine import Connection

import ltai_hub.accounts.tables
import ltai_hub.db.tables  # noqa: F401
from ltai_hub.db.engine import Database, make_engine
from ltai_hub.domain.permissions import Role
from ltai_hub.domain.tenants import Person, Tenant, TenantKind
from ltai_hub.domain.workloads import Kind, Resources
from ltai_hub.revision import all_tables
from ltai_hub.tenancy import store
from ltai_hub.tenancy.admission import Ask

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GIB = 1 << 30


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_database(folder: Path) -> Database:
    """A fresh database with every table: a sqlite file, or a schema of its own in LTAI_TEST_DATABASE (PostgreSQL's URL)."""
    url = os.environ.get("LTAI_TEST_DATABASE")
    database = Database(a_schema(url) if url else f"sqlite:///{folder / 'test.sqlite'}")
    # ``create_all`` asks for each table whether it is there, and makes the words for it anew
    with database.engine.begin() as tx:
        for statement in statements(database.engine.url.drivername):
            tx.exec_driver_sql(statement)
    return database


@cache
def statements(driver: str) -> tuple[str, ...]:
    """All that makes the tables."""
    said: list[str] = []
    engine = create_mock_engine(URL.create(driver), lambda ddl, *_, **__: said.append(str(ddl.compile(dialect=engine.dialect))))
    all_tables().create_all(engine, checkfirst=False)
    return tuple(said)


def a_schema(url: str) -> str:
    """The URL of a new empty schema in a PostgreSQL database."""
    name = f"test_{uuid4().hex[:12]}"
    engine = make_engine(url)
    with engine.begin() as tx:
        tx.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return make_url(url).update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)


def a_tenant(tx: Connection, slug: str, parent: Tenant | None = None, kind: TenantKind = TenantKind.PROJECT) -> Tenant:
    return store.insert_tenant(tx, slug, slug.capitalize(), kind, parent, NOW)


def a_school(tx: Connection) -> tuple[Tenant, Tenant, Tenant]:
    """school → physics → ml, with tina (teacher) in physics, sam and sue (members) in ml, ada (admin) in school."""
    school = a_tenant(tx, "school", kind=TenantKind.ORGANISATION)
    physics = a_tenant(tx, "physics", school, TenantKind.DEPARTMENT)
    ml = a_tenant(tx, "ml", physics, TenantKind.COURSE)
    store.put_member(tx, school, "ada", Role.ADMIN, NOW)
    store.put_member(tx, physics, "tina", Role.TEACHER, NOW)
    for student in ("sam", "sue"):
        store.put_member(tx, ml, student, Role.MEMBER, NOW)
    return school, physics, ml


def a_person(name: str = "sam", admin: bool = False) -> Person:
    return Person(name, admin)


def some_resources(cpu: float = 1, memory: int = GIB, gpus: int = 0) -> Resources:
    return Resources(cpu=cpu, memory=memory, accelerator="simulated-gpu" if gpus else "", accelerator_count=gpus)


def an_ask(noun_id: str = "1", user: str = "sam", tenant: str = "ml", gpus: int = 0, cpu: float = 1, replicas: int = 1) -> Ask:
    return Ask(Kind.JOB, noun_id, user, tenant, "cpu-small", some_resources(cpu=cpu, gpus=gpus), replicas)
