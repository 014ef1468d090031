"""The tree of tenants as Kueue's objects."""

from __future__ import annotations

from typing import Any

import pytest

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.names import accelerator_toleration
from ltai_hub.backends.kubernetes.pods import placement
from ltai_hub.backends.kubernetes.supply import kinds_there, supply_of
from ltai_hub.backends.kubernetes.tenants import Tree, make_cohort, make_flavors, make_groups, make_queue, make_root, make_wishes, quantity
from ltai_hub.domain.catalog import Catalog, Flavor, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Resources
from ltai_hub.settings import KubernetesSettings

SETTINGS = KubernetesSettings(instance="it", namespace="platform")
GIB = 1 << 30


def a_flavor(kind: str, resource: str = "", count: int = 1, **more: Any) -> Flavor:
    resources = Resources(1, GIB, accelerator=kind, accelerator_count=count if kind else 0)
    return Flavor(kind or "cpu", Text("", ""), resources, kubernetes=KubernetesFlavor(resource_name=resource, **more))


def a_catalog(*flavors: Flavor) -> Catalog:
    return Catalog({flavor.name: flavor for flavor in (a_flavor(""), *flavors)}, {}, {})


GPU = a_flavor("gpu", "nvidia.com/gpu")
A100 = a_flavor("a100", "nvidia.com/gpu", node_selector={"product": "A100"})
NPU = a_flavor("npu", "huawei.com/Ascend910")
VGPU = a_flavor("vgpu", "nvidia.com/gpu", resources={"nvidia.com/gpumem": 8000}, node_selector={"gpu": "on"})


def a_node(labels: dict[str, str] | None = None, taints: tuple[dict[str, str], ...] = (), ready: str = "True", **allocatable: str) -> Any:
    return {
        "metadata": {"name": "n", "labels": labels or {}},
        "spec": {"taints": list(taints)},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {
                "cpu": "4",
                "memory": "16Gi",
                **{name.replace("__", "/").replace("_", "."): n for name, n in allocatable.items()},
            },
        },
    }


def a_tree(*shares: TenantShare, catalog: Catalog | None = None, capacity: dict[str, float] | None = None) -> Tree:
    catalog = catalog or a_catalog()
    return Tree(SETTINGS, catalog, shares, capacity or {}, catalog.accelerators)


def quotas(body: Any, flavor: str = "it--default") -> dict[str, tuple[str, str | None]]:
    """Resource → nominal quota and borrowing limit."""
    rows = [
        row for group in body["spec"]["resourceGroups"] for one in group["flavors"] if one["name"] == flavor for row in one["resources"]
    ]
    return {row["name"]: (row["nominalQuota"], row.get("borrowingLimit")) for row in rows}


SCHOOL = TenantShare("school", None, "School", {"cpu": 4}, {"cpu": 10})
PHYSICS = TenantShare("physics", "school", "Physics", {"cpu": 1.5}, {"cpu": 6}, weight=3)
BIOLOGY = TenantShare("biology", "school", "Biology", {}, {"memory": 8 * GIB})


def test_a_leaf_has_its_guarantee_and_borrows_up_to_its_limit() -> None:
    tree = a_tree(SCHOOL, PHYSICS, BIOLOGY)
    assert make_queue(tree, PHYSICS) == {
        "metadata": {
            "name": "it-physics",
            "labels": {"app.kubernetes.io/managed-by": "ltai", "ltai.dev/instance": "it", "ltai.dev/tenant": "physics"},
        },
        "spec": {
            "cohortName": "it-school",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "it-physics"}},
            "queueingStrategy": "BestEffortFIFO",
            "fairSharing": {"weight": "3"},
            "preemption": {
                "withinClusterQueue": "LowerPriority",
                "reclaimWithinCohort": "Any",
                "borrowWithinCohort": {"policy": "Never"},
            },
            "resourceGroups": [
                {
                    "coveredResources": ["cpu", "memory", "ephemeral-storage"],
                    "flavors": [
                        {
                            "name": "it--default",
                            "resources": [
                                {"name": "cpu", "nominalQuota": "1500m", "borrowingLimit": "4500m"},
                                {"name": "memory", "nominalQuota": "0"},
                                {"name": "ephemeral-storage", "nominalQuota": "0"},
                            ],
                        }
                    ],
                }
            ],
        },
    }


def test_what_has_no_limit_is_borrowed_without_one() -> None:
    assert quotas(make_queue(a_tree(SCHOOL, PHYSICS, BIOLOGY), BIOLOGY)) == {
        "cpu": ("0", None),
        "memory": ("0", "8589934592"),
        "ephemeral-storage": ("0", None),
    }


def test_a_parents_cohort_holds_what_of_its_guarantee_no_child_has_and_caps_them_all() -> None:
    tree = a_tree(SCHOOL, PHYSICS, BIOLOGY)
    cohort = make_cohort(tree, SCHOOL)
    # 4 guaranteed, 1.5 of them to physics; 10 in all
    assert quotas(cohort)["cpu"] == ("2500m", "6")
    assert cohort["spec"]["parentName"] == "it--all"


def test_a_parents_own_queue_borrows_everything_from_its_cohort() -> None:
    queue = make_queue(a_tree(SCHOOL, PHYSICS), SCHOOL)
    assert queue["spec"]["cohortName"] == "it-school"
    assert quotas(queue)["cpu"] == ("0", None)


def test_a_parent_without_a_guarantee_of_its_own_has_that_of_its_children() -> None:
    school = TenantShare("school", None, "School", {}, {"cpu": 10})
    cohort = make_cohort(a_tree(school, PHYSICS), school)
    # what it may use is the sum of the nominal quotas inside, 1.5, and what it may borrow
    assert quotas(cohort)["cpu"] == ("0", "8500m")


def test_the_root_holds_what_is_guaranteed_to_nobody() -> None:
    tree = a_tree(SCHOOL, PHYSICS, capacity={"cpu": 16, "memory": 64 * GIB})
    assert quotas(make_root(tree)) == {"cpu": ("12", None), "memory": ("68719476736", None), "ephemeral-storage": ("1E", None)}


def test_more_guaranteed_than_there_is_is_said() -> None:
    tree = a_tree(SCHOOL, PHYSICS, BIOLOGY, capacity={"cpu": 2})
    assert quotas(make_root(tree))["cpu"][0] == "0"
    assert tree.broken_promises() == dict.fromkeys(
        ("school", "physics"), "4 cores are guaranteed in all and the cluster has 2 cores; guarantee less"
    )


def test_every_kind_of_accelerator_has_a_flavor_of_its_own() -> None:
    catalog = a_catalog(GPU, A100, NPU)
    share = TenantShare("lab", None, "Lab", {"accelerator:a100": 2}, {"accelerator:a100": 8, "accelerator:gpu": 1})
    queue = make_queue(a_tree(share, catalog=catalog), share)
    covered = [group["coveredResources"] for group in queue["spec"]["resourceGroups"]]
    assert covered == [["cpu", "memory", "ephemeral-storage"], ["nvidia.com/gpu"], ["huawei.com/Ascend910"]]
    assert quotas(queue, "it--a100") == {"nvidia.com/gpu": ("2", "6")}
    assert quotas(queue, "it--gpu") == {"nvidia.com/gpu": ("0", "1")}
    assert quotas(queue, "it--npu") == {"huawei.com/Ascend910": ("0", None)}


def test_only_pods_of_a_kind_tolerate_its_flavor() -> None:
    catalog = a_catalog(GPU, A100)
    specs = {body["metadata"]["name"]: body["spec"] for body in make_flavors(a_tree(catalog=catalog))}
    assert specs["it--a100"]["nodeLabels"] == {"product": "A100"}
    [taint] = specs["it--gpu"]["nodeTaints"]
    assert taint == {"key": "ltai.dev/accelerator", "value": "gpu", "effect": "NoSchedule"}
    assert accelerator_toleration("gpu") == {"operator": "Equal", **taint}
    assert placement(GPU.resources, GPU.kubernetes, SETTINGS)["tolerations"] == [accelerator_toleration("gpu")]


def test_resources_that_pods_ask_for_together_lie_in_one_group() -> None:
    groups = make_groups({flavor.name: flavor.kubernetes for flavor in (NPU, GPU, VGPU)})
    assert [(group.resources, group.kinds) for group in groups] == [
        (("huawei.com/Ascend910",), ("npu",)),
        (("nvidia.com/gpu", "nvidia.com/gpumem"), ("gpu", "vgpu")),
    ]


def test_kueue_takes_no_more_than_sixteen_groups() -> None:
    many = {f"k{n}": KubernetesFlavor(resource_name=f"example.com/k{n}") for n in range(40)}
    groups = make_groups(many)
    assert len(groups) == 15
    assert {name for group in groups for name in group.resources} == {f"example.com/k{n}" for n in range(40)}


def test_what_comes_with_an_accelerator_is_not_counted_and_others_have_none() -> None:
    catalog = a_catalog(GPU, VGPU)
    share = TenantShare("lab", None, "Lab")
    tree = a_tree(share, catalog=catalog, capacity={"accelerator:gpu": 4, "accelerator:vgpu": 8})
    assert quotas(make_root(tree), "it--vgpu") == {"nvidia.com/gpu": ("8", None), "nvidia.com/gpumem": ("1E", None)}
    assert quotas(make_root(tree), "it--gpu") == {"nvidia.com/gpu": ("4", None), "nvidia.com/gpumem": ("0", None)}


@pytest.mark.parametrize(
    ("resource", "amount", "written"),
    [
        ("cpu", 0.5, "500m"),
        ("cpu", 16, "16"),
        ("cpu", 2000, "2k"),
        ("memory", 2 * GIB, "2147483648"),
        ("memory", 3e9, "3G"),
        ("accelerator:x", 0, "0"),
    ],
)
def test_quantities_are_written_as_the_api_server_writes_them(resource: str, amount: float, written: str) -> None:
    assert quantity(resource, amount) == written


def test_every_tenant_has_its_objects_once() -> None:
    wishes = make_wishes(a_tree(SCHOOL, PHYSICS, BIOLOGY))
    assert len({wish.key for wish in wishes}) == len(wishes)
    physics = sorted(f"{wish.resource.kind} {wish.body['metadata']['name']}" for wish in wishes if wish.tenant == "physics")
    assert physics == [
        "ClusterQueue it-physics",
        "LocalQueue main",
        "Namespace it-physics",
        "NetworkPolicy tenant",
        "RoleBinding hub",
        "RoleBinding services",
        "ServiceAccount workload",
    ]


def test_the_hub_and_the_services_get_the_charts_roles_there_and_nowhere_else() -> None:
    bindings = [wish.body for wish in make_wishes(a_tree(BIOLOGY)) if wish.resource.kind == "RoleBinding"]
    assert [(b["metadata"]["namespace"], b["roleRef"]["name"], b["subjects"]) for b in bindings] == [
        ("it-biology", f"it-{who}-workloads", [{"kind": "ServiceAccount", "name": f"it-{who}", "namespace": "platform"}])
        for who in ("hub", "services")
    ]


# ---- what the nodes have


def test_nodes_count_for_the_kinds_that_may_be_put_on_them() -> None:
    nodes = [a_node(nvidia_com__gpu="4"), a_node({"product": "A100"}, nvidia_com__gpu="8"), a_node(ready="Unknown", nvidia_com__gpu="2")]
    assert supply_of(nodes, a_catalog(GPU, A100, NPU), SETTINGS) == {
        "cpu": 8,
        "memory": 32 * GIB,
        "accelerator:a100": 8,
        "accelerator:gpu": 12,
        "accelerator:npu": 0,
    }


def test_a_node_with_a_taint_counts_for_those_who_tolerate_it() -> None:
    taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
    node = a_node(taints=(taint,), nvidia_com__gpu="4")
    assert supply_of([node], a_catalog(GPU), SETTINGS)["cpu"] == 0
    tolerant = a_flavor("gpu", "nvidia.com/gpu", tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},))
    assert supply_of([node], a_catalog(tolerant), SETTINGS) == {"cpu": 4, "memory": 16 * GIB, "accelerator:gpu": 4}


def test_a_kind_is_there_while_a_node_of_it_is_away() -> None:
    unreachable = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    node = a_node(ready="Unknown", taints=(unreachable,), nvidia_com__gpu="4")
    assert kinds_there([node], a_catalog(GPU, A100, VGPU), SETTINGS) == {"gpu"}
    assert supply_of([node], a_catalog(GPU), SETTINGS)["accelerator:gpu"] == 0


def test_a_shared_card_is_known_by_its_nodes_label_for_its_memory_no_plug_in_reports() -> None:
    node = a_node({"gpu": "on"}, nvidia_com__gpu="10")
    assert kinds_there([node], a_catalog(GPU, VGPU), SETTINGS) == {"gpu", "vgpu"}
    assert supply_of([node], a_catalog(GPU, VGPU), SETTINGS)["accelerator:vgpu"] == 10
