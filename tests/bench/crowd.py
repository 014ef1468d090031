"""More people than the demo school has, made as an administrator would."""

from __future__ import annotations

from dataclasses import dataclass

from ltai_hub.client import Client
from ltai_hub.client.login import sign_in
from tests.bench.product import Product


@dataclass(frozen=True)
class Account:
    name: str
    password: str


def client_of(ours: Product, name: str) -> Client:
    """Signed in as ``ltai login`` does."""
    return Client(ours.url, sign_in(ours.url, name, ours.accounts[name]["password"]).token)


def make_crowd(ours: Product, size: int) -> list[Account]:
    """``size`` accounts in the course of student1, with quota enough for all of them."""
    admin, student = client_of(ours, "admin"), client_of(ours, "student1")
    course = student.me()["default_tenant"]
    if course is None:
        raise RuntimeError("student1 of the demo school is in no course")
    people = [Account(f"crowd{number}", f"a-long-password-{number}") for number in range(size)]
    for person in people:
        admin.users.create(person.name, password=person.password)
        admin.members.set(course, person.name, "member")
    tenant: str | None = course
    while tenant:
        for quota in admin.quotas.of(tenant):
            admin.quotas.set(tenant, quota["resource"], None, user=quota["user"])
        tenant = admin.tenants.get(tenant)["parent"]
    return people
