from __future__ import annotations

from pathlib import Path

import pytest
from ltai_services.tenancy import SPEC

from tests.services.platform import Api, a_platform, an_api

NASTY_NAMES = [
    "Kurs für Anfänger",
    "机器学习导论",
    "🚀 rockets",
    "a" * 200,
    "../../etc/passwd",
    'it\'s "quoted"',
    "<script>alert(1)</script>",
]


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return an_api(SPEC, a_platform(tmp_path))


def test_me_tells_tenants_roles_and_actions(api: Api) -> None:
    me = api.get("/me", "sam").json()
    assert (me["name"], me["display_name"], me["admin"], me["default_tenant"]) == ("sam", "Sam", False, "ml")
    assert [(t["slug"], t["role"], t["path"]) for t in me["tenants"]] == [("ml", "member", ["School", "Physics", "Ml"])]
    assert "jobs:create" in me["actions"]["ml"]
    assert "members:write" not in me["actions"]["ml"]


def test_every_tenant_of_a_thousand_deep_path_is_shown_with_its_path(api: Api) -> None:
    parent = "school"
    for number in range(12):
        made = api.post("/tenants", "ada", json={"name": f"Level {number}", "parent": parent})
        assert made.status_code == 201, made.text
        parent = made.json()["slug"]
    assert len(api.get(f"/tenants/{parent}", "ada").json()["path"]) == 13


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_odd_names_are_kept_as_they_are(api: Api, name: str) -> None:
    made = api.post("/tenants", "ada", json={"name": name, "parent": "school"})
    assert made.status_code == 201, made.text
    slug = made.json()["slug"]
    assert api.get(f"/tenants/{slug}", "ada").json()["name"] == name
    other = api.post("/tenants", "ada", json={"name": name + "!", "parent": "school"}) if len(name) < 200 else None
    assert other is None or other.json()["slug"] != slug


def test_a_slug_reads_like_the_name_while_nobody_has_it(api: Api) -> None:
    slugs = [api.post("/tenants", "ada", json={"name": name, "parent": "school"}).json()["slug"] for name in ("ML 1", "ml 1", "ML 三")]
    assert slugs[0] == "ml-1"
    assert all(slug.startswith("ml-") and slug != "ml-1" for slug in slugs[1:])
    assert len(set(slugs)) == 3


@pytest.mark.parametrize(
    ("name", "words"), [("", "is empty"), ("   ", "is empty"), ("a" * 300, "300 characters"), ("a\x00b", "control character")]
)
def test_impossible_names_are_refused_by_name(api: Api, name: str, words: str) -> None:
    refused = api.post("/tenants", "ada", json={"name": name, "parent": "school"})
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert words in refused.json()["detail"]


def test_only_platform_administrators_make_organisations(api: Api) -> None:
    assert api.post("/tenants", "ada", json={"name": "Other", "kind": "organisation"}).status_code == 403
    assert api.post("/tenants", "root", json={"name": "Other", "kind": "organisation"}).status_code == 201


def test_a_slug_is_never_given_twice(api: Api) -> None:
    assert api.post("/tenants", "ada", json={"name": "x", "slug": "ml", "parent": "school"}).status_code == 409
    assert api.post("/tenants", "ada", json={"name": "x", "slug": "../ml", "parent": "school"}).status_code == 400


def test_a_teacher_adds_a_member_but_no_admin(api: Api) -> None:
    assert api.put("/tenants/ml/members/eve", "tina", json={"role": "assistant"}).status_code == 200
    refused = api.put("/tenants/ml/members/eve", "tina", json={"role": "admin"})
    assert refused.status_code == 403
    assert refused.json()["detail"] == "tina is teacher in physics and may not give or take the role admin".replace("physics", "Ml")
    assert api.put("/tenants/ml/members/sue", "sam", json={"role": "viewer"}).status_code == 403
    assert api.put("/tenants/ml/members/ghost", "tina", json={"role": "member"}).status_code == 404


def test_inherited_members_are_listed_with_where_they_come_from(api: Api) -> None:
    found = {m["user"]: m for m in api.get("/tenants/ml/members", "tina").json()["items"]}
    assert found["ada"]["inherited_from"] == "school"
    assert found["sam"]["inherited_from"] is None
    assert api.delete("/tenants/ml/members/ada", "tina").status_code == 403


def test_quotas_are_set_from_above_and_bind(api: Api) -> None:
    assert api.put("/tenants/ml/quotas", "ada", json={"resource": "cpu", "limit": 4}).status_code == 200
    assert api.put("/tenants/school/quotas", "ada", json={"resource": "cpu", "limit": 400}).status_code == 403
    assert api.put("/tenants/ml/quotas", "ada", json={"resource": "gpus", "limit": 4}).status_code == 400
    assert api.put("/tenants/ml/quotas", "ada", json={"resource": "cpu", "limit": -1}).status_code == 400
    (row,) = api.get("/quotas", "sam").json()["items"]
    assert (row["tenant"], row["resource"], row["limit"], row["used"]) == ("ml", "cpu", 4, 0)


def test_profiles_are_handed_to_a_class_by_its_teacher(api: Api) -> None:
    name = api.get("/tenants/ml/profiles", "sam").json()["items"][0]["profile"]
    assert api.delete(f"/tenants/ml/profiles/{name}", "sam").status_code == 403
    assert api.delete(f"/tenants/ml/profiles/{name}", "tina").status_code == 204
    assert name not in [p["profile"] for p in api.get("/tenants/ml/profiles", "sam").json()["items"]]
    assert api.put("/tenants/ml/profiles/nothing", "tina").status_code == 404


def test_accounts_are_for_platform_administrators(api: Api) -> None:
    assert api.get("/users", "ada").status_code == 403
    made = api.post("/users", "root", json={"name": "nina", "display_name": "Nina 妮娜"})
    assert made.status_code == 201, made.text
    assert api.post("/users", "root", json={"name": "nina"}).status_code == 409
    assert api.post("/users", "root", json={"name": "../x"}).status_code == 400
    assert "/hub/invite/" in api.post("/users/nina/invite", "root").json()["link"]
    assert api.call("PATCH", "/users/root", "root", json={"admin": False}).status_code == 409
    assert [u["name"] for u in api.get("/users?q=妮", "root").json()["items"]] == ["nina"]


def test_no_token_a_wrong_one_and_one_for_another_service_are_told_apart(api: Api) -> None:
    assert api.client.get("/services/tenancy/api/v1/me").status_code == 401
    assert api.get("/me", "wrong").status_code == 401
    limited = api.get("/me", "limited-sam")
    assert (limited.status_code, limited.json()["code"]) == (403, "denied")
    assert "access:services!service=tenancy" in limited.json()["detail"]


def test_every_reply_carries_its_request_id(api: Api) -> None:
    refused = api.get("/tenants/nowhere", "sam")
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


def test_openapi_is_served(api: Api) -> None:
    assert api.get("/openapi.json", "sam").json()["openapi"].startswith("3.1")


def test_a_tenant_with_a_history_or_children_is_kept(api: Api) -> None:
    assert "below it" in api.delete("/tenants/school", "root").json()["detail"]
    made = api.post("/tenants", "ada", json={"name": "short-lived", "parent": "school"}).json()
    assert api.delete(f"/tenants/{made['slug']}", "ada").status_code == 204
