"""Somebody else's things, a role too small, a token that may not: refused everywhere, and refused alike."""

from __future__ import annotations

from typing import Any

import pytest

from ltai_hub.domain.permissions import ACTIONS, Role, may
from tests.faults.test_fuzz import operations
from tests.faults.whole import SERVICES, Whole

# (method, service, path of a thing of sam's, body); {job} {endpoint} {environment} are his
OF_SAM: list[tuple[str, str, str, Any]] = [
    ("GET", "training", "/jobs/{job}", None),
    ("GET", "training", "/jobs/{job}/log", None),
    ("GET", "training", "/jobs/{job}/events", None),
    ("GET", "training", "/jobs/{job}/metrics", None),
    ("POST", "training", "/jobs/{job}/cancel", None),
    ("POST", "training", "/jobs/{job}/rerun", None),
    ("DELETE", "training", "/jobs/{job}", None),
    ("POST", "models", "/models", {"job": "{job}", "name": "stolen"}),
    ("GET", "monitor", "/metrics/job/{job}", None),
    ("GET", "monitor", "/metrics/environment/{environment}", None),
    ("GET", "environments", "/environments/{environment}", None),
    ("POST", "environments", "/environments/{environment}/start", None),
    ("POST", "environments", "/environments/{environment}/stop", None),
    ("DELETE", "environments", "/environments/{environment}", None),
    ("PATCH", "serving", "/endpoints/{endpoint}", {"instances": 2}),
    ("POST", "serving", "/endpoints/{endpoint}/start", None),
    ("POST", "serving", "/endpoints/{endpoint}/stop", None),
    ("POST", "serving", "/endpoints/{endpoint}/token", None),
    ("GET", "serving", "/endpoints/{endpoint}/log", None),
    ("DELETE", "serving", "/endpoints/{endpoint}", None),
]
# what every member of the tenant may see of a published model, and nobody outside it
SHARED: list[tuple[str, str, str, Any]] = [
    ("GET", "serving", "/endpoints/{endpoint}", None),
    ("GET", "serving", "/endpoints/{endpoint}/events", None),
    ("POST", "serving", "/endpoints/{endpoint}/predict", {"inputs": []}),
    ("GET", "monitor", "/metrics/endpoint/{endpoint}", None),
]


@pytest.fixture
def things(whole: Whole) -> dict[str, int]:
    whole.a_model()
    return {"job": whole.a_job("sam"), "endpoint": whole.an_endpoint("sam")["id"], "environment": whole.an_environment("sam")}


def ask(whole: Whole, who: str, request: tuple[str, str, str, Any], things: dict[str, int]) -> Any:
    method, service, path, body = request
    if isinstance(body, dict):
        body = {key: int(value.format(**things)) if value == "{job}" else value for key, value in body.items()}
    return whole.call(who, method, service, path.format(**things), **({"json": body} if body is not None else {}))


def test_another_student_of_the_class_gets_nothing_of_sams(whole: Whole, things: dict[str, int]) -> None:
    for request in OF_SAM:
        reply = ask(whole, "sue", request, things)
        assert reply.status_code == 403, (request, reply.text)
    assert ask(whole, "sam", OF_SAM[0], things).json()["phase"] == "queued"


def test_somebody_outside_the_tenant_is_not_told_that_it_exists(whole: Whole, things: dict[str, int]) -> None:
    whole.call("root", "POST", "tenancy", "/tenants", json={"name": "elsewhere"})
    whole.call("root", "PUT", "tenancy", "/tenants/elsewhere/members/eve", json={"role": "admin"})
    for request in OF_SAM + SHARED:
        reply = ask(whole, "eve", request, things)
        assert reply.status_code == 404, (request, reply.text)
        assert "sam" not in reply.text


def test_lists_and_bills_show_nothing_of_others(whole: Whole, things: dict[str, int]) -> None:
    for who in ("sue", "vic"):
        for path in ("/jobs", "/jobs?user=sam", "/jobs?user=all", "/jobs?tenant=ml&user=sam", "/jobs?q=fit"):
            assert whole.call(who, "GET", "training", path).json()["total"] == 0, (who, path)
        for path in ("/environments?user=sam", "/environments?user=all", "/environments?tenant=ml&user=all"):
            assert whole.call(who, "GET", "environments", path).json().get("total", 0) == 0, (who, path)
        for path in ("/usage?user=sam", "/usage?user=all", "/usage?tenant=ml&group=user"):
            assert whole.call(who, "GET", "billing", path).json().get("items", []) == [], (who, path)
        for path in ("/bills?user=sam", "/bills?tenant=ml", "/bills"):
            assert whole.call(who, "GET", "billing", path).json().get("lines", []) == [], (who, path)
        lines = whole.call(who, "GET", "billing", f"/bills/lines/job:{things['job']}/intervals").json()
        assert lines.get("items", []) == []
        events = whole.call(who, "GET", "tenancy", "/events?noun=job").json()
        assert events.get("items", []) == []
    assert whole.call("vic", "GET", "training", "/jobs?tenant=school").status_code in (403, 404)


def test_a_viewer_changes_nothing(whole: Whole, things: dict[str, int]) -> None:
    new: list[tuple[str, str, str, Any]] = [
        ("POST", "training", "/jobs", {"name": "x", "command": ["true"]}),
        ("POST", "serving", "/endpoints", {"name": "x", "model": "digits", "version": "1"}),
        ("POST", "environments", "/environments", {"name": "x"}),
        ("DELETE", "models", "/models/ml/digits", None),
        ("DELETE", "models", "/models/ml/digits/versions/1", None),
        ("PUT", "tenancy", "/tenants/ml/members/vic", {"role": "admin"}),
        ("POST", "tenancy", "/tenants", {"name": "x", "parent": "ml"}),
        ("PUT", "tenancy", "/tenants/ml/profiles/digits", None),
        ("PUT", "tenancy", "/tenants/ml/quotas", {"resource": "cpu", "limit": 100}),
        ("POST", "billing", "/prices", {"flavor": "cpu-small", "price_micro_per_hour": 0}),
        ("POST", "catalog", "/images/scikit-learn/build", None),
        ("POST", "tenancy", "/users", {"name": "mallory", "admin": True}),
        ("PATCH", "tenancy", "/users/vic", {"admin": True}),
        ("DELETE", "tenancy", "/users/sam", None),
        ("POST", "tenancy", "/users/root/invite", None),
    ]
    before = len(whole.platform.hub.asked)  # type: ignore[attr-defined]
    for request in new + OF_SAM:
        reply = ask(whole, "vic", request, things)
        assert reply.status_code == 403, (request, reply.text)
    assert len(whole.platform.hub.asked) == before  # type: ignore[attr-defined]


def test_a_teacher_cannot_become_more(whole: Whole) -> None:
    for path, body in (
        ("/tenants/physics/members/tina", {"role": "admin"}),
        ("/tenants/ml/members/tina", {"role": "admin"}),
        ("/tenants/school/members/tina", {"role": "teacher"}),
        ("/tenants/ml/members/sam", {"role": "admin"}),
    ):
        assert whole.call("tina", "PUT", "tenancy", path, json=body).status_code in (403, 404), path
    for who in ("tina", "ada"):
        assert whole.call(who, "PATCH", "tenancy", f"/users/{who}", json={"admin": True}).status_code == 403
        assert whole.call(who, "POST", "tenancy", "/users/root/invite").status_code == 403


def test_no_route_answers_without_a_valid_token(whole: Whole) -> None:
    for service in SERVICES:
        for method, path, _, _ in operations(whole, service):
            where = path.replace("{", "").replace("}", "")
            assert whole.call("wrong", method, service, where).status_code == 401, (service, path)
            for header in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic cm9vdDpyb290"}):
                reply = whole.client.request(method, f"/services/{service}/api/v1{where}", headers=header)
                assert reply.status_code == 401, (service, path, header)
            # a token in the address would end in logs and histories
            assert whole.client.request(method, f"/services/{service}/api/v1{where}?token=root").status_code == 401


def test_a_token_for_one_service_opens_no_other(whole: Whole) -> None:
    for service in SERVICES:
        for method, path, _, _ in operations(whole, service):
            reply = whole.call("limited-root", method, service, path.replace("{", "").replace("}", ""))
            if service != "training":
                assert reply.status_code == 403, (service, path, reply.text)
                assert f"access:services!service={service}" in reply.json()["detail"]


def test_no_role_acts_on_others_things_with_more_than_on_its_own() -> None:
    for action in ACTIONS:
        for role in Role:
            assert may(role, action, is_own=True) or not may(role, action, is_own=False), (role, action)
