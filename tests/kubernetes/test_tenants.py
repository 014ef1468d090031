"""The tree of tenants on a real cluster: queues, borrowing and reclaim, drift, what is foreign, networks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import (
    CLAIM,
    CLUSTER_QUEUE,
    COHORT,
    CONFIG_MAP,
    LOCAL_QUEUE,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    ROLE_BINDING,
    Cluster,
    Resource,
)
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.backends.kubernetes.names import INSTANCE, QUEUE, REMOVED, accelerator_toleration, home_claim
from ltai_hub.backends.kubernetes.network import ENVIRONMENT_PORT
from ltai_hub.catalog import load_catalog
from ltai_hub.domain.catalog import Catalog, Flavor, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.settings import KubernetesSettings, Settings
from tests.kubernetes.tenants_fixtures import Site, a_pod, until

INSTANCE_NAME, PLATFORM = "kt", "kt-platform"
SERVE = ["python3", "-m", "http.server", str(ENVIRONMENT_PORT)]
REACH = "import socket, sys, time; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('reached')"


@pytest.fixture
async def site(python_image: str) -> AsyncIterator[Site]:
    cluster = await Cluster.connect()
    settings = KubernetesSettings(instance=INSTANCE_NAME, namespace=PLATFORM, home_access="ReadWriteOnce")
    yield Site(cluster, settings, load_catalog(Settings().catalog), python_image)
    await cluster.close()


@pytest.fixture(scope="module", autouse=True)
def cleaned(python_image: str) -> Any:
    """What the tests made is gone after the last of them."""
    yield

    async def clean() -> None:
        cluster = await Cluster.connect()
        await Site(cluster, KubernetesSettings(instance=INSTANCE_NAME), load_catalog(Settings().catalog), python_image).clean()
        await cluster.delete(NAMESPACE, "", PLATFORM)
        await cluster.close()

    asyncio.run(clean())


def a_tree(name: str, limit: float = 0.3, guaranteed: float = 0.2) -> tuple[TenantShare, TenantShare, TenantShare]:
    """``name`` may use ``limit`` cores; below it a, without a guarantee, and b, with one."""
    return (
        TenantShare(name, None, name.title(), {}, {"cpu": limit}),
        TenantShare(f"{name}-a", name, "A", {}, {}),
        TenantShare(f"{name}-b", name, "B", {"cpu": guaranteed}, {"cpu": limit}, weight=2),
    )


async def test_a_tree_becomes_queues_and_a_second_pass_does_nothing(site: Site) -> None:
    tree = a_tree("tree")
    await site.settled(*tree)
    assert (await site.plan(*tree)).steps == []
    cohort = await site.find(COHORT, "kt-tree")
    queue = await site.find(CLUSTER_QUEUE, "kt-tree-b")
    assert cohort is not None
    assert queue is not None
    assert cohort["spec"]["parentName"] == "kt--all"
    assert (queue["spec"]["cohortName"], queue["spec"]["fairSharing"]["weight"]) == ("kt-tree", "2")
    names = {body["metadata"]["name"] for body in await site.cluster.list(NETWORK_POLICY, site.namespace("tree-a"))}
    assert names == {"tenant"}


async def test_what_is_over_the_limit_waits_until_there_is_room(site: Site) -> None:
    await site.settled(*a_tree("limit", limit=0.2, guaranteed=0))
    await site.start("limit-b", "first", cpu="100m")
    await until(lambda: site.is_admitted("limit-b", "first"), "the first is admitted")
    # of another tenant, and yet below the same limit; it asks for more than its fair part
    await site.start("limit-a", "second", cpu="150m")
    await until(lambda: _waits(site, "limit-a", "cpu"), "the second waits with the reason")
    await asyncio.sleep(1)
    assert await site.is_gated("limit-a", "second")
    assert await site.is_admitted("limit-b", "first")
    await site.cluster.delete(POD, site.namespace("limit-b"), "first", grace_seconds=0)
    await until(lambda: site.is_admitted("limit-a", "second"), "the second is admitted")


async def _waits(site: Site, tenant: str, resource: str) -> bool:
    return any(resource in sentence for sentence in await site.why(tenant))


async def test_what_was_borrowed_is_reclaimed_by_whom_it_is_guaranteed_to(site: Site) -> None:
    await site.settled(*a_tree("lend", limit=0.3, guaranteed=0.2))
    for name in ("one", "two", "three"):
        await site.start("lend-a", name, cpu="100m")
        await until(lambda name=name: site.is_admitted("lend-a", name), f"{name} is admitted")  # type: ignore[misc]
    await site.start("lend-b", "owner", cpu="200m")
    await until(lambda: site.is_admitted("lend-b", "owner"), "the owner has its guarantee back")
    left = [name for name in ("one", "two", "three") if await site.is_admitted("lend-a", name)]
    assert len(left) == 1


async def test_what_is_borrowed_is_divided_by_weight(site: Site) -> None:
    await site.settled(*a_tree("fair", limit=0.3, guaranteed=0))
    for tenant in ("fair-a", "fair-b"):
        for name in ("one", "two", "three"):
            await site.start(tenant, name, cpu="100m")
        if tenant == "fair-a":
            await until(lambda: _admitted(site, "fair-a", 3), "the first tenant has all there is")
    await until(lambda: _admitted(site, "fair-b", 2), "the other has its two parts of three")
    await asyncio.sleep(2)
    assert await _admitted(site, "fair-b", 2)
    assert await _admitted(site, "fair-a", 1)


async def _admitted(site: Site, tenant: str, count: int) -> bool:
    return sum([await site.is_admitted(tenant, name) for name in ("one", "two", "three")]) == count


async def test_within_its_guarantee_nobody_is_stopped(site: Site) -> None:
    await site.settled(*a_tree("safe", limit=0.3, guaranteed=0.2))
    await site.start("safe-b", "owner", cpu="200m")
    await until(lambda: site.is_admitted("safe-b", "owner"), "the owner is admitted")
    await site.start("safe-a", "eager", cpu="200m", kind=Kind.ENVIRONMENT)
    await until(lambda: _waits(site, "safe-a", "cpu"), "the other waits")
    await asyncio.sleep(2)
    assert await site.is_admitted("safe-b", "owner")


async def test_an_environment_goes_before_a_job_of_the_same_tenant(site: Site) -> None:
    await site.settled(TenantShare("first", None, "First", {}, {"cpu": 0.2}))
    await site.start("first", "job", cpu="150m")
    await until(lambda: site.is_admitted("first", "job"), "the job is admitted")
    await site.start("first", "environment", cpu="150m", kind=Kind.ENVIRONMENT)
    await until(lambda: site.is_admitted("first", "environment"), "the environment is admitted")
    assert not await site.is_admitted("first", "job")


async def test_an_accelerator_is_taken_from_the_quota_of_its_kind(site: Site) -> None:
    kind = "nvidia-gpu"
    await site.settled(TenantShare("cards", None, "Cards", {}, {f"accelerator:{kind}": 1}))
    card = {"resources": {"nvidia.com/gpu": "1"}}
    await site.start("cards", "unknown", **card)
    await until(lambda: _waits(site, "cards", "taint"), "a pod of no kind has no quota")
    await site.start("cards", "one", tolerations=[accelerator_toleration(kind)], **card)
    await until(lambda: site.is_admitted("cards", "one"), "the first is admitted")
    await site.start("cards", "two", tolerations=[accelerator_toleration(kind)], **card)
    await until(lambda: _waits(site, "cards", "nvidia.com/gpu"), "the second waits")


async def test_what_somebody_deleted_or_changed_is_there_again_after_a_pass(site: Site) -> None:
    tree = a_tree("drift")
    await site.settled(*tree)
    namespace = site.namespace("drift-b")
    await site.cluster.delete(LOCAL_QUEUE, namespace, QUEUE)
    await site.cluster.delete(ROLE_BINDING, namespace, "hub")
    await site.cluster.patch(NETWORK_POLICY, namespace, "tenant", {"spec": {"ingress": [{}]}})
    await site.cluster.patch(NAMESPACE, "", namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}})
    queue = await site.find(CLUSTER_QUEUE, "kt-drift-b")
    assert queue is not None
    groups = queue["spec"]["resourceGroups"]
    groups[0]["flavors"][0]["resources"][0]["nominalQuota"] = "64"
    await site.cluster.patch(CLUSTER_QUEUE, "", "kt-drift-b", {"spec": {"resourceGroups": groups}})
    await until(lambda: _gone(site, LOCAL_QUEUE, QUEUE, "drift-b"), "the queue is gone")
    assert await site.mirror(*tree) == {}
    assert (await site.plan(*tree)).steps == []
    policy = await site.find(NETWORK_POLICY, "tenant", "drift-b")
    queue = await site.find(CLUSTER_QUEUE, "kt-drift-b")
    assert policy is not None
    assert queue is not None
    assert {} not in policy["spec"]["ingress"]
    assert queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"] == "200m"


async def _gone(site: Site, resource: Resource, name: str, tenant: str = "") -> bool:
    return await site.find(resource, name, tenant) is None


async def test_a_changed_quota_reaches_the_queue_with_the_next_pass(site: Site) -> None:
    await site.settled(TenantShare("raise", None, "Raise", {}, {"cpu": 0.1}))
    await site.start("raise", "large", cpu="150m")
    await until(lambda: _waits(site, "raise", "cpu"), "it waits")
    await site.mirror(TenantShare("raise", None, "Raise", {}, {"cpu": 0.2}))
    await until(lambda: site.is_admitted("raise", "large"), "it is admitted")


async def test_what_is_not_ours_is_never_touched(site: Site) -> None:
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kt-foreign", "labels": {"team": "blue"}}}
    await site.cluster.ensure(NAMESPACE, foreign)
    try:
        ours = TenantShare("ours", None, "Ours")
        await site.settled(ours)
        note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": site.namespace("ours")}}
        await site.cluster.ensure(CONFIG_MAP, note)
        policy = {
            "metadata": {"name": "extra", "namespace": site.namespace("ours")},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
        }
        await site.cluster.apply(NETWORK_POLICY, policy)
        await site.cluster.patch(NAMESPACE, "", site.namespace("ours"), {"metadata": {"labels": {"team": "blue"}}})
        sentences = await site.mirror(ours, TenantShare("foreign", None, "Foreign"))
        assert list(sentences) == ["foreign"]
        assert sentences["foreign"].startswith("the cluster has a Namespace kt-foreign that is not of this installation")
        found = await site.find(NAMESPACE, "kt-foreign")
        assert found is not None
        assert INSTANCE not in found["metadata"]["labels"]
        assert await site.cluster.list(NETWORK_POLICY, "kt-foreign") == []
        await site.mirror(ours)
        assert await site.find(CONFIG_MAP, "note", "ours") is not None
        assert await site.find(NETWORK_POLICY, "extra", "ours") is not None
        assert await site.find(NAMESPACE, "kt-foreign") is not None
        again = await site.find(NAMESPACE, site.namespace("ours"))
        assert again is not None
        assert again["metadata"]["labels"]["team"] == "blue"
    finally:
        await site.cluster.delete(NAMESPACE, "", "kt-foreign")


async def test_a_tenant_that_is_no_more_leaves_its_homes_and_finds_them_again(site: Site) -> None:
    stays, goes, empty = (TenantShare(name, None, name) for name in ("stays", "goes", "empty"))
    await site.settled(stays, goes, empty)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "home-sam", "namespace": "kt-goes"}, "spec": claim}
    await site.cluster.create(CLAIM, body)
    assert await site.mirror(stays) == {}
    namespace = await site.find(NAMESPACE, "kt-goes")
    assert namespace is not None
    assert REMOVED in namespace["metadata"]["labels"]
    await site.start("goes", "late")
    await asyncio.sleep(1)
    assert await site.is_gated("goes", "late")
    await until(lambda: _gone(site, NAMESPACE, "kt-empty"), "the empty one is gone")
    assert await site.find(CLAIM, "home-sam", "goes") is not None
    await site.settled(stays, goes)
    await until(lambda: site.is_admitted("goes", "late"), "its queue goes on")
    namespace = await site.find(NAMESPACE, "kt-goes")
    assert namespace is not None
    assert REMOVED not in namespace["metadata"]["labels"]
    assert await site.find(CLAIM, "home-sam", "goes") is not None
    await site.cluster.delete(POD, "kt-goes", "late", grace_seconds=0)
    await site.cluster.delete(CLAIM, "kt-goes", "home-sam")


async def test_a_pod_of_another_tenant_reaches_nothing(site: Site) -> None:
    """Environments answer the platform's proxy and nobody else, whichever namespace they are in."""
    await site.settled(TenantShare("inside", None, "Inside"), TenantShare("outside", None, "Outside"))
    await site.cluster.ensure(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLATFORM}})
    await site.start("inside", "lab", command=SERVE, kind=Kind.ENVIRONMENT)
    await until(lambda: site.is_running("inside", "lab"), "the environment runs")
    lab = await site.find(POD, "lab", "inside")
    assert lab is not None
    address = lab["status"]["podIP"]
    await asyncio.sleep(3)  # policies reach the nodes' rules with a delay
    component = {"app.kubernetes.io/instance": INSTANCE_NAME, "app.kubernetes.io/component": "proxy"}
    tries = {
        "proxy": a_pod("proxy", PLATFORM, component, site.image, _reach(address)),
        "stranger": a_pod("stranger", PLATFORM, {}, site.image, _reach(address)),
        "job": a_pod("job", site.namespace("outside"), {"ltai.dev/kind": "job"}, site.image, _reach(address)),
        "neighbour": a_pod("neighbour", site.namespace("inside"), {"ltai.dev/kind": "job"}, site.image, _reach(address)),
    }
    for body in tries.values():
        await site.cluster.create(POD, body)
    ends = {name: await _end(site, body) for name, body in tries.items()}
    for body in tries.values():
        await site.cluster.delete(POD, body["metadata"]["namespace"], body["metadata"]["name"], grace_seconds=0)
    assert ends == {"proxy": "Succeeded", "stranger": "Failed", "job": "Failed", "neighbour": "Failed"}, json.dumps(ends)


RENDEZVOUS = """
import os, socket, time
rank, address = int(os.environ["RANK"]), (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    print("met", socket.create_server(("0.0.0.0", address[1])).accept()[0].recv(10), flush=True)
else:
    until = time.time() + 60
    while True:
        try:
            socket.create_connection(address, 2).sendall(b"1")
            break
        except OSError:
            assert time.time() < until
            time.sleep(0.3)
"""


async def test_the_nodes_of_one_job_find_one_another_each_with_an_accelerator(site: Site, tmp_path: Path) -> None:
    await site.settled(TenantShare("gang", None, "Gang", {}, {"accelerator:nvidia-gpu": 2}))
    resources = Resources(0.05, 64 << 20, accelerator="nvidia-gpu", accelerator_count=1)
    flavor = Flavor("card", Text("", ""), resources, kubernetes=KubernetesFlavor("nvidia.com/gpu"))
    backend = KubernetesBackend(Settings(data=tmp_path), site.settings, Catalog({"card": flavor}, {}, {}))
    command = ("python3", "-c", RENDEZVOUS)
    job = Workload("gang-1", Kind.JOB, "sam", "gang", site.image, resources, command, flavor="card", home="/home/sam", replicas=2)
    state = await backend.start(job)

    async def ended() -> bool:
        [seen] = await backend.observe([state])
        return seen.phase is Phase.SUCCEEDED

    try:
        await until(ended, "both have met", 120)
        policies = [body["metadata"]["name"] for body in await site.cluster.list(NETWORK_POLICY, site.namespace("gang"))]
        assert state["name"] in policies
        # the mirror leaves what is a workload's alone
        assert (await site.plan(TenantShare("gang", None, "Gang", {}, {"accelerator:nvidia-gpu": 2}))).steps == []
        await backend.forget(state)
        await until(lambda: _gone(site, NETWORK_POLICY, state["name"], "gang"), "its policy went with it")
    finally:
        await backend.close()
        await site.cluster.delete(CLAIM, site.namespace("gang"), home_claim("sam"))


def _reach(address: str) -> list[str]:
    return ["python3", "-c", f"import time; time.sleep(3); {REACH}", address, str(ENVIRONMENT_PORT)]


async def _end(site: Site, body: Any) -> str:
    seen: dict[str, str] = {}

    async def ended() -> bool:
        pod = await site.cluster.find(POD, body["metadata"]["namespace"], body["metadata"]["name"])
        seen["phase"] = (pod or {}).get("status", {}).get("phase", "")
        return seen["phase"] in ("Succeeded", "Failed")

    await until(ended, f"{body['metadata']['name']} has ended", 90)
    return seen["phase"]
