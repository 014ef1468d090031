"""Guarantees, weights and what the cluster says of a tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ltai_services.tenancy import SPEC
from ltai_services.tenancy.api import make_router
from ltai_services.tenancy.controller import MOST_SECONDS, TenantController, make_shares
from ltai_services.tenancy.service import TenancyService

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.fake import FakeCluster
from ltai_hub.errors import TryLater
from ltai_hub.service import Parts, Platform, ServiceSpec
from ltai_hub.tenancy import store
from tests.services.platform import Api, a_platform, an_api

GPUS = "accelerator:nvidia-gpu"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return an_api(SPEC, a_platform(tmp_path))


def put(api: Api, slug: str, who: str = "root", **quota: Any) -> Any:
    return api.put(f"/tenants/{slug}/quotas", who, json={"resource": "cpu", **quota})


def test_a_part_of_a_limit_is_guaranteed_and_what_is_used_beyond_it_is_borrowed(api: Api) -> None:
    (row,) = put(api, "ml", limit=8, guaranteed=2).json()["items"]
    assert (row["limit"], row["guaranteed"], row["used"], row["borrowed"]) == (8, 2, 0, 0)
    (seen,) = api.get("/quotas", "sam").json()["items"]
    assert seen["guaranteed"] == 2


def test_a_guarantee_that_is_left_out_stays_until_the_limit_goes(api: Api) -> None:
    put(api, "ml", limit=8, guaranteed=2)
    assert put(api, "ml", limit=6).json()["items"][0]["guaranteed"] == 2
    assert put(api, "ml", limit=None).json()["items"] == []
    assert put(api, "ml", limit=6).json()["items"][0]["guaranteed"] == 0


@pytest.mark.parametrize(
    ("quota", "sentence"),
    [
        ({"limit": 2, "guaranteed": 3}, "Ml may use 2 cores in all, and 3 cores would be guaranteed in it"),
        ({"limit": None, "guaranteed": 3}, "what is guaranteed is a part of the limit"),
        ({"limit": 4, "guaranteed": 1, "user": "sam"}, "only a tenant as a whole"),
        ({"limit": 4, "guaranteed": 1, "user": "*"}, "only a tenant as a whole"),
        (
            {"limit": 4, "guaranteed": 1, "resource": "accelerators"},
            "accelerators cannot be guaranteed; cpu, memory and accelerator:KIND can",
        ),
        ({"limit": 4, "guaranteed": 1, "resource": "storage"}, "storage cannot be guaranteed"),
    ],
)
def test_what_cannot_be_guaranteed_is_refused_with_a_sentence(api: Api, quota: dict[str, Any], sentence: str) -> None:
    answer = put(api, "ml", **quota)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]
    assert api.get("/tenants/ml/quotas", "root").json()["items"] == []


@pytest.mark.parametrize("guaranteed", [-1, "much", float("nan")])
def test_a_guarantee_is_a_number(api: Api, guaranteed: Any) -> None:
    body = f'{{"resource": "cpu", "limit": 4, "guaranteed": {guaranteed if guaranteed == guaranteed else "NaN"}}}'
    assert api.put("/tenants/ml/quotas", "root", content=body).status_code == 400


def test_guarantees_of_children_stay_below_every_limit_above(api: Api) -> None:
    put(api, "school", limit=10)
    api.post("/tenants", "root", json={"name": "Biology", "parent": "school", "slug": "biology"})
    assert put(api, "ml", limit=8, guaranteed=6).status_code == 200
    refused = put(api, "biology", limit=8, guaranteed=5)
    assert refused.json()["detail"] == (
        "School may use 10 cores in all, and 11 cores would be guaranteed in it; guarantee less, or raise its limit first"
    )
    assert put(api, "biology", limit=8, guaranteed=4).status_code == 200
    assert put(api, "school", limit=9).json()["detail"].startswith("School may use 9 cores in all, and 10 cores would be guaranteed")
    # a guarantee above covers those inside of it
    assert put(api, "school", limit=10, guaranteed=10).status_code == 200


def test_guarantees_and_weights_are_given_from_above(api: Api) -> None:
    assert put(api, "school", "ada", limit=8, guaranteed=1).status_code == 403
    assert put(api, "physics", "ada", limit=8, guaranteed=1).status_code == 200
    assert api.call("PATCH", "/tenants/physics", "ada", json={"weight": 3}).json()["weight"] == 3
    assert api.call("PATCH", "/tenants/school", "ada", json={"weight": 3}).status_code == 403
    assert api.call("PATCH", "/tenants/ml", "sam", json={"weight": 3}).status_code == 403
    assert api.get("/tenants/physics", "ada").json()["weight"] == 3
    assert {t["slug"]: t["weight"] for t in api.get("/tenants", "ada").json()["items"]} == {"school": 1, "physics": 3, "ml": 1}


@pytest.mark.parametrize("weight", [0, 1001, 1.5, "heavy"])
def test_a_weight_lies_between_1_and_1000(api: Api, weight: Any) -> None:
    assert api.call("PATCH", "/tenants/physics", "root", json={"weight": weight}).status_code == 400


def test_a_name_and_a_weight_change_apart(api: Api) -> None:
    api.call("PATCH", "/tenants/physics", "root", json={"weight": 7})
    assert api.call("PATCH", "/tenants/physics", "root", json={"name": "Optics"}).json()["weight"] == 7
    assert api.call("PATCH", "/tenants/physics", "root", json={}).json()["name"] == "Optics"


# ---- the cluster


class Troubled(FakeCluster):
    """Says what it is told to say."""

    sentences: Mapping[str, str] = {}
    down = False

    async def mirror(self, shares: Sequence[TenantShare]) -> Mapping[str, str]:
        if self.down:
            raise TryLater("the cluster does not answer (ClientError); it is tried again")
        await super().mirror(shares)
        return self.sentences


@pytest.fixture
def cluster() -> Troubled:
    return Troubled()


@pytest.fixture
def platform(tmp_path: Path, cluster: Troubled) -> Platform:
    return replace(a_platform(tmp_path), backend=cluster)


def clusters(platform: Platform) -> dict[str, Any]:
    return {t["slug"]: t["cluster"] for t in an_api(SPEC, platform).get("/tenants", "root").json()["items"]}


def test_without_a_cluster_nothing_is_said_of_one(api: Api) -> None:
    assert api.get("/tenants/ml", "root").json()["cluster"] is None


async def test_the_cluster_gets_the_tree_with_its_quotas(platform: Platform, cluster: Troubled) -> None:
    with platform.database.transaction() as tx:
        physics, ml = store.get_tenant(tx, "physics"), store.get_tenant(tx, "ml")
        store.put_quota(tx, physics, "", "cpu", 8, 2)
        store.put_quota(tx, ml, "", GPUS, 4, 0)
        store.put_quota(tx, ml, "sam", "cpu", 1)
        store.weigh_tenant(tx, "physics", 5)
    await TenantController(platform, cluster).pass_once()
    assert list(cluster.shares) == [
        TenantShare("school", None, "School"),
        TenantShare("physics", "school", "Physics", {"cpu": 2}, {"cpu": 8}, 5),
        TenantShare("ml", "physics", "Ml", {}, {GPUS: 4}),
    ]


async def test_each_tenant_tells_what_is_in_its_way(platform: Platform, cluster: Troubled) -> None:
    assert clusters(platform)["ml"] == {"ready": False, "message": "the cluster has not heard of it yet"}
    cluster.sentences = {"ml": "its Namespace it-ml is being deleted"}
    controller = TenantController(platform, cluster)
    await controller.pass_once()
    ready = {"ready": True, "message": ""}
    assert clusters(platform) == {
        "school": ready,
        "physics": ready,
        "ml": {"ready": False, "message": "its Namespace it-ml is being deleted"},
    }
    cluster.sentences = {}
    await controller.pass_once()
    assert clusters(platform)["ml"] == ready


async def test_a_cluster_that_is_away_is_said_once_and_forgotten_when_it_is_back(platform: Platform, cluster: Troubled) -> None:
    controller = TenantController(platform, cluster)
    await controller.pass_once()
    cluster.down = True
    for _ in range(3):
        await controller.pass_once()
    message = "the cluster does not answer (ClientError); it is tried again"
    assert clusters(platform)["ml"] == {"ready": False, "message": message}
    cluster.down = False
    await controller.pass_once()
    assert clusters(platform)["ml"]["ready"]
    api = an_api(SPEC, platform)
    told = [event["reason"] for event in api.get("/events?noun=tenant&limit=100", "root").json()["items"] if event["to_phase"] == "cluster"]
    assert len(told) == 3 + 2
    assert told.count(message) == 1


async def test_a_tenant_of_the_same_name_is_another_one(platform: Platform, cluster: Troubled) -> None:
    api = an_api(SPEC, platform)
    api.post("/tenants", "root", json={"name": "New", "slug": "new"})
    controller = TenantController(platform, cluster)
    await controller.pass_once()
    assert clusters(platform)["new"]["ready"]
    assert api.delete("/tenants/new", "root").status_code == 204
    api.post("/tenants", "root", json={"name": "New", "slug": "new"})
    assert not clusters(platform)["new"]["ready"]
    await controller.pass_once()
    assert clusters(platform)["new"]["ready"]


def test_what_changes_the_tree_pokes_the_controller(platform: Platform) -> None:
    poked: list[str] = []
    service = TenancyService(platform)
    service.on_change = lambda: poked.append("!")
    api = an_api(ServiceSpec("tenancy", "tenancy", lambda _: Parts(router=make_router(service))), platform)
    api.post("/tenants", "root", json={"name": "New", "slug": "new"})
    put(api, "new", limit=4, guaranteed=1)
    api.call("PATCH", "/tenants/new", "root", json={"weight": 2})
    api.delete("/tenants/new", "root")
    assert len(poked) == 4


async def test_many_tenants_are_looked_at_less_often(platform: Platform, cluster: Troubled) -> None:
    controller = TenantController(platform, cluster)
    await controller.pass_once()
    assert 5 <= controller.interval <= MOST_SECONDS


def test_shares_name_only_what_is_set() -> None:
    assert make_shares([], []) == []
