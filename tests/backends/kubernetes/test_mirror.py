"""What the mirror does about what it finds; nothing here talks to a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import AlreadyThere, Cluster, Object, Resource
from ltai_hub.backends.kubernetes.mirror import GIVE_UP_AFTER, Act, Found, Plan, Verb, make_plan, stages
from ltai_hub.backends.kubernetes.tenants import Tree, key_of, make_wishes
from ltai_hub.errors import Problem, TryLater
from tests.backends.kubernetes.test_tenants import BIOLOGY, PHYSICS, SCHOOL, SETTINGS, a_catalog

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CATALOG = a_catalog()
SHARES = (SCHOOL, PHYSICS, BIOLOGY)
ENOUGH = [
    {
        "metadata": {"name": "n"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "64", "memory": "1Ti"}},
    }
]


def found_as_wished(*shares: TenantShare) -> Found:
    wishes = make_wishes(Tree(SETTINGS, CATALOG, shares, {"cpu": 64, "memory": 1 << 40}))
    return Found({wish.key: (wish.resource, deepcopy(wish.body)) for wish in wishes}, ENOUGH)


def a_plan(found: Found, *shares: TenantShare) -> Plan:
    return make_plan(SETTINGS, CATALOG, shares, found, NOW)


def said(plan: Plan) -> list[tuple[str, str]]:
    return [
        (step.verb.value, f"{step.resource.kind} {step.body['metadata'].get('namespace', '')}/{step.body['metadata']['name']}")
        for step in plan.steps
    ]


def the(found: Found, kind: str, name: str, namespace: str = "") -> Any:
    return found.objects[(kind, namespace, name)][1]


def test_from_nothing_everything_is_created() -> None:
    plan = a_plan(Found({}, ENOUGH), *SHARES)
    assert {step.verb for step in plan.steps} == {Verb.CREATE}
    assert {key_of(step.resource, step.body) for step in plan.steps} == set(found_as_wished(*SHARES).objects)


def test_when_all_is_well_nothing_is_done() -> None:
    assert a_plan(found_as_wished(*SHARES), *SHARES) == Plan([], {})


def test_empty_parts_the_api_server_leaves_out_are_no_difference() -> None:
    found = found_as_wished(*SHARES)
    del the(found, "ResourceFlavor", "it--default")["spec"]
    assert said(a_plan(found, *SHARES)) == []


def test_what_others_add_stays() -> None:
    found = found_as_wished(*SHARES)
    the(found, "Namespace", "it-physics")["metadata"]["labels"]["team"] = "blue"
    the(found, "ClusterQueue", "it-physics")["spec"]["stopPolicy"] = "Hold"
    assert said(a_plan(found, *SHARES)) == []


@pytest.mark.parametrize(
    ("kind", "name", "namespace", "path", "value"),
    [
        ("ClusterQueue", "it-physics", "", ["spec", "resourceGroups", 0, "flavors", 0, "resources", 0, "nominalQuota"], "64"),
        ("ClusterQueue", "it-physics", "", ["spec", "resourceGroups", 0, "flavors", 0, "resources", 1, "borrowingLimit"], "1"),
        ("ClusterQueue", "it-physics", "", ["spec", "fairSharing", "weight"], "1000"),
        ("Cohort", "it-school", "", ["spec", "parentName"], "elsewhere"),
        ("Namespace", "it-physics", "", ["metadata", "labels", "pod-security.kubernetes.io/enforce"], "privileged"),
        ("NetworkPolicy", "tenant", "it-physics", ["spec", "ingress"], [{}]),
        ("NetworkPolicy", "tenant", "it-physics", ["spec", "podSelector"], {"matchLabels": {"app": "none"}}),
        ("RoleBinding", "hub", "it-physics", ["subjects", 0, "name"], "eve"),
        ("ServiceAccount", "workload", "it-physics", ["automountServiceAccountToken"], True),
        ("WorkloadPriorityClass", "it-batch", "", ["value"], 5000),
    ],
)
def test_what_somebody_changed_is_set_right(kind: str, name: str, namespace: str, path: Sequence[Any], value: Any) -> None:
    found = found_as_wished(*SHARES)
    place = the(found, kind, name, namespace)
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert said(a_plan(found, *SHARES)) == [("apply", f"{kind} {namespace}/{name}")]


def test_what_cannot_be_changed_is_made_anew() -> None:
    found = found_as_wished(*SHARES)
    the(found, "LocalQueue", "main", "it-physics")["spec"]["clusterQueue"] = "elsewhere"
    the(found, "RoleBinding", "hub", "it-physics")["roleRef"]["name"] = "cluster-admin"
    assert sorted(said(a_plan(found, *SHARES))) == [("renew", "LocalQueue it-physics/main"), ("renew", "RoleBinding it-physics/hub")]


def test_a_tenant_that_got_a_child_moves_into_a_cohort_of_its_own() -> None:
    ml = TenantShare("ml", "physics", "ML")
    plan = a_plan(found_as_wished(*SHARES), *SHARES, ml)
    assert ("create", "Cohort /it-physics") in said(plan)
    assert [step for step in said(plan) if step[0] == "apply"] == [("apply", "ClusterQueue /it-physics")]


def test_an_empty_namespace_of_a_tenant_that_is_no_more_goes_with_its_queue() -> None:
    assert said(a_plan(found_as_wished(*SHARES), SCHOOL, PHYSICS)) == [
        ("delete", "ClusterQueue /it-biology"),
        ("delete", "Namespace /it-biology"),
    ]


def test_a_namespace_with_volumes_is_kept_and_its_queue_held() -> None:
    found = replace(found_as_wished(*SHARES), kept=frozenset({"biology"}))
    plan = a_plan(found, SCHOOL, PHYSICS)
    assert said(plan) == [("apply", "Namespace /it-biology"), ("apply", "ClusterQueue /it-biology")]
    namespace, queue = (step.body for step in plan.steps)
    assert namespace["metadata"]["labels"]["ltai.dev/removed"] == "2026-11-24"
    assert queue["spec"]["stopPolicy"] == "Hold"
    assert queue["spec"]["cohortName"] == "it--all"


def kept(found: Found) -> Found:
    """As the cluster is once ``biology`` was kept."""
    plan = a_plan(replace(found, kept=frozenset({"biology"})), SCHOOL, PHYSICS)
    objects = dict(found.objects)
    for step in plan.steps:
        body = deepcopy(objects[key_of(step.resource, step.body)][1])
        body["metadata"]["labels"] |= step.body["metadata"]["labels"]
        objects[key_of(step.resource, step.body)] = (step.resource, body | {k: v for k, v in step.body.items() if k != "metadata"})
    return Found(objects, ENOUGH, frozenset({"biology"}))


def test_what_is_kept_is_left_alone_from_then_on() -> None:
    later = make_plan(SETTINGS, CATALOG, (SCHOOL, PHYSICS), kept(found_as_wished(*SHARES)), datetime(2027, 1, 1, tzinfo=UTC))
    assert said(later) == []


def test_a_tenant_that_is_there_again_has_its_namespace_back() -> None:
    again = replace(kept(found_as_wished(*SHARES)), kept=frozenset())
    plan = a_plan(again, *SHARES)
    assert said(plan) == [("apply", "ClusterQueue /it-biology"), ("apply", "Namespace /it-biology")]
    assert not any("ltai.dev/removed" in step.body["metadata"]["labels"] for step in plan.steps)


def test_a_platform_without_any_tenant_removes_nothing() -> None:
    assert {step.verb for step in a_plan(found_as_wished(*SHARES)).steps} <= {Verb.APPLY}


def test_a_namespace_that_is_being_deleted_is_waited_for() -> None:
    found = found_as_wished(*SHARES)
    the(found, "Namespace", "it-physics")["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    del found.objects[("LocalQueue", "it-physics", "main")]  # type: ignore[attr-defined]
    plan = a_plan(found, *SHARES)
    assert said(plan) == []
    assert plan.troubles == {"physics": "its Namespace it-physics is being deleted; it is made again when that has ended"}


def test_a_queue_that_kueue_does_not_use_is_told() -> None:
    found = found_as_wished(*SHARES)
    condition = {"type": "Active", "status": "False", "message": "Can't admit new workloads: it is stopped."}
    the(found, "ClusterQueue", "it-physics")["status"] = {"conditions": [condition]}
    assert a_plan(found, *SHARES).troubles == {
        "physics": "the cluster lets nothing begin in its queue: Can't admit new workloads: it is stopped."
    }


def test_namespaces_are_made_before_what_is_in_them_and_removals_come_last() -> None:
    plan = a_plan(found_as_wished(SCHOOL, PHYSICS, TenantShare("old", None, "Old")), *SHARES)
    first, second, notes, *removals = stages(plan.steps)
    assert notes == []
    assert "Namespace" in {step.resource.kind for step in first}
    assert {step.body["metadata"].get("namespace") for step in second} == {"it-biology"}
    assert [step.resource.kind for stage in removals for step in stage] == ["ClusterQueue", "Namespace"]


def test_secrets_for_images_are_copied_once_and_again_when_they_change() -> None:
    settings = SETTINGS.model_copy(update={"image_pull_secrets": ["pull"]})
    secret = {
        "metadata": {"name": "pull", "uid": "u", "resourceVersion": "1"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {"a": "b"},
    }
    found = replace(found_as_wished(PHYSICS), secrets=[secret])
    plan = make_plan(settings, CATALOG, (PHYSICS,), found, NOW)
    assert said(plan) == [("apply", "Secret it-physics/pull"), ("patch", "Namespace /it-physics")]
    copy, note = (step.body for step in plan.steps)
    assert (copy["type"], copy["data"]) == (secret["type"], secret["data"])
    the(found, "Namespace", "it-physics")["metadata"]["annotations"] |= note["metadata"]["annotations"]
    assert said(make_plan(settings, CATALOG, (PHYSICS,), found, NOW)) == []
    changed = replace(found, secrets=[{**secret, "metadata": {**secret["metadata"], "resourceVersion": "2"}}])  # type: ignore[dict-item]
    assert len(make_plan(settings, CATALOG, (PHYSICS,), changed, NOW).steps) == 2


def test_a_secret_that_is_missing_is_told() -> None:
    found = replace(found_as_wished(PHYSICS), missing="the secret pull is not there")
    assert a_plan(found, PHYSICS) == Plan([], {"": "the secret pull is not there"})


# ---- acting


class Refusing(Cluster):
    """Creates nothing of one name; ``problem`` says why."""

    def __init__(self, name: str, problem: Problem, there: Object | None = None) -> None:
        self.name, self.problem, self.there = name, problem, there
        self.made: list[str] = []

    async def create(self, resource: Resource, body: Object) -> Object:
        if self.name in ("*", body["metadata"]["name"]):
            raise self.problem
        self.made.append(f"{resource.kind} {body['metadata']['name']}")
        return body

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self.there


async def acted(cluster: Refusing) -> Act:
    act = Act(cluster, "it")
    for stage in stages(a_plan(Found({}, ENOUGH), *SHARES).steps):
        await act.all(stage)
    return act


async def test_what_fails_for_one_tenant_holds_up_no_other() -> None:
    cluster = Refusing("it-physics", Problem("no more namespaces"))
    act = await acted(cluster)
    assert act.troubles == {"physics": "no more namespaces"}
    assert cluster.made.count("LocalQueue main") == 2


async def test_a_cluster_that_can_do_nothing_is_not_asked_for_everything() -> None:
    cluster = Refusing("*", TryLater("failed calling webhook"))
    act = await acted(cluster)
    assert act.troubles[""] == "failed calling webhook"
    assert len(act.troubles) <= GIVE_UP_AFTER + 1


async def test_an_object_of_somebody_else_is_never_touched() -> None:
    foreign: Object = {"metadata": {"name": "it-physics", "labels": {"ltai.dev/instance": "other"}}}
    act = await acted(Refusing("it-physics", AlreadyThere("exists"), foreign))
    assert "not of this installation" in act.troubles["physics"]


async def test_an_object_another_process_just_made_is_fine() -> None:
    ours: Object = {"metadata": {"name": "it-physics", "labels": {"ltai.dev/instance": "it"}}}
    assert (await acted(Refusing("it-physics", AlreadyThere("exists"), ours))).troubles == {}
