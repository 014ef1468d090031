"""Every row of docs/how-to/gpus-on-kubernetes.md on a simulated node of its kind: queue, place, resources, variables."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import JOBSET, POD, WORKLOAD, Cluster, Object, Refused
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.backends.kubernetes.environments import make_pod
from ltai_hub.backends.kubernetes.names import flavor_name, home_claim, tenant_name
from ltai_hub.backends.kubernetes.pods import DEVICES, make_blueprint
from ltai_hub.backends.kubernetes.queue import JOB_UID
from ltai_hub.backends.kubernetes.travel import JOBSET_NAME
from ltai_hub.domain.catalog import Catalog, Flavor, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.errors import BadWorkload
from ltai_hub.settings import KubernetesSettings, Settings
from tests.docs.test_gpus import documented_flavors, documented_names
from tests.kubernetes.hubs import remove_everything
from tests.kubernetes.places import a_workload
from tests.kubernetes.simulated import TOLERATION, Machine, a_home_for_any_node, runtime_classes, simulated_nodes
from tests.kubernetes.tenants_fixtures import Site, until

INSTANCE_NAME, TENANT, GIB = "kf", "lab", 1 << 30
SETTINGS = KubernetesSettings(instance=INSTANCE_NAME, extra_tolerations=[TOLERATION], home_access="ReadWriteOnce")
PRODUCT, SHARING = "nvidia.com/gpu.product", "nvidia.com/gpu.sharing-strategy"
A100, GPU, MIG, SHARED = "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared"
# The first card is the one a pod of the row asks for. Memory and cores of a share HAMi's own scheduler counts, and no node reports
# them; Kubernetes' scheduler, which stands in for it here, has to be told.
MACHINES = {
    "nvidia-a100": Machine({GPU: 8}, {PRODUCT: A100, SHARING: "none"}, [GPU]),
    "nvidia-a100-mig": Machine({MIG: 7}, {PRODUCT: A100, "nvidia.com/mig.strategy": "mixed"}, [GPU]),
    "nvidia-time-sliced": Machine({SHARED: 16}, {PRODUCT: "Tesla-T4", SHARING: "time-slicing"}, [GPU]),
    "nvidia-mps": Machine({SHARED: 16}, {PRODUCT: "Tesla-T4", SHARING: "mps", "nvidia.com/mps.capable": "true"}, [GPU]),
    "nvidia-vgpu": Machine({GPU: 10, "nvidia.com/gpumem": 81920, "nvidia.com/gpucores": 100}, {"gpu": "on"}),
    "nvidia-gh200": Machine({GPU: 1, "rdma/hca": 1}, {PRODUCT: "NVIDIA-GH200-480GB", SHARING: "none"}, [GPU], "arm64"),
    "amd-mi300x": Machine({"amd.com/gpu": 8}, {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, ["amd.com/gpu"]),
    "ascend-910b": Machine({"huawei.com/Ascend910": 8}, {"accelerator": "huawei-Ascend910", "host-arch": "huawei-arm"}, (), "arm64"),
    "ascend-vnpu": Machine({"huawei.com/Ascend910B3": 8, "huawei.com/Ascend910B3-memory": 65536}, {"ascend": "on"}, (), "arm64"),
    "cambricon-mlu370": Machine({"cambricon.com/mlu370": 8}),
    "hygon-dcu": Machine({"hygon.com/dcu": 8}),
    "hygon-vdcu": Machine({"hygon.com/dcunum": 4, "hygon.com/dcumem": 32768, "hygon.com/dcucores": 100}, {"dcu": "on"}),
    "intel-gpu": Machine({"gpu.intel.com/xe": 4}, {"intel.feature.node.kubernetes.io/gpu": "true"}),
    "cpu-arm": Machine(arch="arm64"),
    "plain": Machine(),
}
SHARES = {
    "nvidia-vgpu": {"nvidia.com/gpumem": "10240", "nvidia.com/gpucores": "30"},
    "ascend-vnpu": {"huawei.com/Ascend910B3-memory": "16384"},
    "hygon-vdcu": {"hygon.com/dcumem": "4096", "hygon.com/dcucores": "30"},
}
NVIDIA = ("nvidia-a100", "nvidia-a100-mig", "nvidia-time-sliced", "nvidia-mps", "nvidia-gh200")
RUNTIMES = {**dict.fromkeys(NVIDIA, "nvidia"), "ascend-910b": "ascend", "ascend-vnpu": "ascend"}
numbers = itertools.count(1)


class Place:
    def __init__(self, backend: KubernetesBackend, cluster: Cluster) -> None:
        self.backend, self.cluster = backend, cluster
        self.namespace = tenant_name(INSTANCE_NAME, TENANT)

    def workload(self, flavor: str, kind: Kind = Kind.JOB, **kept: Any) -> Workload:
        what = {"name": f"{kind.value}-{next(numbers)}-{os.getpid()}", "kind": kind, "tenant": TENANT, "image": "lab"}
        asked = {"flavor": flavor, "resources": self.backend.catalog.resources_of(flavor), "command": ("python", "-c", "pass")}
        return a_workload(**{**what, **asked, **kept})

    async def job(self, workload: Workload) -> tuple[Object, Object]:
        """Its pod, and what Kueue says of it."""
        state = await self.backend.start(workload)
        jobset = await self.cluster.find(JOBSET, self.namespace, state["name"])
        assert jobset is not None
        return await self.placed({JOBSET_NAME: state["name"]}), await self.admission(jobset["metadata"]["uid"])

    async def environment(self, workload: Workload) -> tuple[Object, Object]:
        """As the spawner makes it."""
        plan = make_blueprint(workload, SETTINGS, self.backend.catalog, Path("/courses"))
        pod = await self.cluster.create(POD, make_pod(plan, 8888))
        return await self.placed({"ltai.dev/workload": plan.workload.name}), await self.admission(pod["metadata"]["uid"])

    async def placed(self, labels: Mapping[str, str]) -> Object:
        found: list[Object] = []

        async def is_placed() -> bool:
            found[:] = [pod for pod in await self.cluster.list(POD, self.namespace, labels) if pod["spec"].get("nodeName")]
            return bool(found)

        await until(is_placed, f"the pod of {labels} is on a node")
        return found[0]

    async def admission(self, uid: str) -> Object:
        (workload,) = await self.cluster.list(WORKLOAD, self.namespace, {JOB_UID: uid})
        given: Object = workload["status"]["admission"]["podSetAssignments"][0]["flavors"]
        return given

    async def clean(self) -> None:
        for resource in (JOBSET, POD):
            for one in await self.cluster.list(resource, self.namespace, cached=False):
                await self.cluster.delete(resource, self.namespace, one["metadata"]["name"], 0 if resource is POD else None)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return documented_flavors(tmp_path_factory.mktemp("flavors"))


@pytest.fixture(scope="module", autouse=True)
def machines(catalog: Catalog, python_image: str) -> Iterator[None]:
    """Nodes of every kind, a tenant whose queue has them all, and a home that is on each."""
    with ExitStack() as stack:
        stack.enter_context(simulated_nodes(INSTANCE_NAME, MACHINES))
        stack.enter_context(runtime_classes(INSTANCE_NAME, ("nvidia", "ascend")))
        stack.callback(remove_everything, INSTANCE_NAME)
        asyncio.run(settle(catalog, python_image))
        stack.enter_context(a_home_for_any_node(INSTANCE_NAME, tenant_name(INSTANCE_NAME, TENANT), home_claim("alice")))
        yield


async def settle(catalog: Catalog, image: str) -> None:
    cluster = await Cluster.connect()
    await Site(cluster, SETTINGS, catalog, image).settled(TenantShare(TENANT, None, "Lab"))
    await cluster.close()


@pytest.fixture
async def place(catalog: Catalog, tmp_path: Path) -> AsyncIterator[Place]:
    backend = KubernetesBackend(Settings(data=tmp_path), SETTINGS, catalog)
    place = Place(backend, await backend.cluster())
    yield place
    await place.clean()
    await backend.close()


def test_every_row_of_the_page_has_a_machine() -> None:
    assert set(MACHINES) == {*documented_names(), "plain"}


@pytest.mark.parametrize("row", documented_names())
async def test_a_job_and_an_environment_take_their_kinds_quota_and_go_to_its_node(place: Place, row: str) -> None:
    for pod, given in (await place.job(place.workload(row)), await place.environment(place.workload(row, Kind.ENVIRONMENT))):
        kind = place.backend.catalog.flavors[row].resources.accelerator
        assert placed_on(pod) in may_be_on(row)
        check_pod(pod, row)
        wanted = {name: flavor_name(INSTANCE_NAME, kind) for name in asked(pod)}
        assert given == wanted | dict.fromkeys(("cpu", "memory"), flavor_name(INSTANCE_NAME))


def may_be_on(row: str) -> set[str]:
    """One kind of node; without a card any of the processor's that keeps nobody away."""
    if row != "cpu-arm":
        return {row}
    return {name for name, machine in MACHINES.items() if machine.arch == "arm64" and not machine.taints}


def placed_on(pod: Object) -> str:
    return str(pod["spec"]["nodeName"]).removeprefix(f"{INSTANCE_NAME}-")


def asked(pod: Object) -> dict[str, str]:
    """Of the vendor's resources."""
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    return {name: amount for name, amount in resources["limits"].items() if "/" in name}


def check_pod(pod: Object, row: str) -> None:
    spec, machine = pod["spec"], MACHINES[row]
    cards = dict.fromkeys(list(machine.cards)[:1], "1")
    assert asked(pod) == cards | SHARES.get(row, {})
    assert spec.get("runtimeClassName", "") == RUNTIMES.get(row, "")
    assert spec.get("nodeSelector", {}).get("kubernetes.io/arch", "amd64") == machine.arch
    variables = {one["name"]: one.get("value") for one in spec["containers"][0]["env"] if one["name"] in DEVICES}
    # the device plug-in sets them, and what the pod said would win
    assert variables == ({} if cards else dict.fromkeys(DEVICES, "void"))
    mounts = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
    assert ("/dev/shm" in mounts) is (row != "nvidia-mps")
    mode = pod["metadata"]["annotations"].get("nvidia.com/vgpu-mode")
    assert mode == ("hami-core" if row == "nvidia-vgpu" else None)


async def test_two_cards_of_a_shared_kind_have_its_memory_each(place: Place) -> None:
    one = place.backend.catalog.resources_of("nvidia-vgpu")
    pod, _ = await place.job(place.workload("nvidia-vgpu", resources=replace(one, accelerator_count=2)))
    assert asked(pod) == {"nvidia.com/gpu": "2", **SHARES["nvidia-vgpu"]}


async def test_an_image_of_one_processor_goes_to_its_nodes_and_to_no_others(place: Place) -> None:
    small = Resources(1, GIB)
    pod, _ = await place.job(place.workload("", image="lab-arm64", resources=small))
    assert MACHINES[placed_on(pod)].arch == "arm64"
    pod, _ = await place.environment(place.workload("", Kind.ENVIRONMENT, image="lab-amd64", resources=small))
    assert MACHINES[placed_on(pod)].arch == "amd64"
    with pytest.raises(BadWorkload, match="the image lab-amd64 is built for amd64 and this flavor is arm64; choose another"):
        await place.backend.start(place.workload("cpu-arm", image="lab-amd64"))


H100 = KubernetesFlavor(GPU, node_selector={PRODUCT: "NVIDIA-H100-80GB-HBM3"}, tolerations=({"key": GPU, "operator": "Exists"},))
NOWHERE = {
    "no node has its label": (H100, "", 1, r"this cluster has no nowhere; it has .*8 × nvidia-a100-sxm4-80gb.*; choose another flavor"),
    "a taint keeps it away": (KubernetesFlavor("amd.com/gpu"), "", 1, "this cluster has no nowhere; it has "),
    "the processor is another": (KubernetesFlavor("hygon.com/dcu"), "arm64", 1, "this cluster has no nowhere; it has "),
    "more than any node has": (KubernetesFlavor("hygon.com/dcu"), "", 9, "this cluster has 8 × nowhere and this needs 9; choose another"),
}


@pytest.mark.parametrize("why", NOWHERE)
async def test_a_flavor_that_fits_no_node_is_refused_with_words(place: Place, why: str) -> None:
    kubernetes, architecture, count, words = NOWHERE[why]
    resources = Resources(1, GIB, accelerator="nowhere", accelerator_count=count, architecture=architecture)
    row = Flavor("nowhere", Text("", ""), resources, kubernetes=kubernetes)
    known = place.backend.catalog
    backend = KubernetesBackend(place.backend.settings, SETTINGS, replace(known, flavors={**known.flavors, row.name: row}))
    try:
        with pytest.raises(BadWorkload, match=words):
            await backend.start(place.workload("nowhere", resources=resources))
        assert await place.cluster.list(JOBSET, place.namespace, cached=False) == []
    finally:
        await backend.close()


async def test_a_runtime_class_that_is_not_there_is_said(place: Place) -> None:
    row = Flavor("odd", Text("", ""), Resources(1, GIB), kubernetes=KubernetesFlavor(runtime_class="nobody-has-it"))
    catalog = replace(place.backend.catalog, flavors={row.name: row})
    plan = make_blueprint(place.workload("odd", Kind.ENVIRONMENT, resources=row.resources), SETTINGS, catalog, Path("/courses"))
    with pytest.raises(Refused, match="nobody-has-it"):
        await place.cluster.create(POD, make_pod(plan, 8888))
    backend = KubernetesBackend(place.backend.settings, SETTINGS, catalog)
    try:
        state = await backend.start(place.workload("odd", resources=row.resources, image="lab"))

        async def says_why() -> bool:
            (seen,) = await backend.observe([state])
            return seen.phase is Phase.STARTING and "nobody-has-it" in seen.reason

        await until(says_why, "the job says why it does not start")
    finally:
        await backend.close()


async def test_a_program_without_a_card_sees_none_whatever_it_asks_for(place: Place, python_image: str, tmp_path: Path) -> None:
    """On a real node."""
    settings = SETTINGS.model_copy(update={"extra_tolerations": []})
    backend = KubernetesBackend(Settings(data=tmp_path), settings, place.backend.catalog)
    code = "import os; print(os.environ['NVIDIA_VISIBLE_DEVICES'], os.environ['ASCEND_VISIBLE_DEVICES'])"
    workload = place.workload("", image=python_image, user="bob", home="/home/bob", cwd="/home/bob", resources=Resources(0.05, 96 << 20))
    workload = replace(workload, command=("python", "-c", code), env={"NVIDIA_VISIBLE_DEVICES": "all"})
    try:
        state = await backend.start(workload)

        async def has_ended() -> bool:
            (seen,) = await backend.observe([state])
            assert seen.phase not in (Phase.FAILED, Phase.GONE), seen
            return seen.phase is Phase.SUCCEEDED

        await until(has_ended, "the job has run")
        assert b"".join([chunk async for chunk in backend.logs(state)]) == b"void void\n"
    finally:
        await backend.close()
