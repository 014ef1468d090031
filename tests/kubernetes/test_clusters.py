"""A job that may run in any of two real clusters: where there is room, with its log and times, and what happens when one is lost."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ltai_hub.backends.base import Observed, State, TenantShare
from ltai_hub.backends.kubernetes.api import (
    ADMISSION_CHECK,
    CLUSTER_QUEUE,
    JOBSET,
    LOCAL_QUEUE,
    MULTIKUEUE_CLUSTER,
    NETWORK_POLICY,
    POD,
    ROLE_BINDING,
    SECRET,
    Cluster,
)
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.backends.kubernetes.mirror import Verb
from ltai_hub.backends.kubernetes.names import INSTANCE, SPREAD, cluster_name, clusters_name, tenant_name
from ltai_hub.domain.workloads import Phase, Resources, Workload
from ltai_hub.settings import KubernetesSettings, Settings
from tests.kubernetes.places import a_catalog, a_workload, kubectl
from tests.kubernetes.tenants_fixtures import Site, condition_of, until
from tests.kubernetes.test_backend import RENDEZVOUS
from tests.kubernetes.ways import Way, a_way_to_the_api_server, address_towards_the_cluster, read_config

INSTANCE_NAME, ACCOUNT_NAME = "km", "km-account"
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "several-clusters.md"
MIB = 1 << 20
ENDED = (Phase.SUCCEEDED, Phase.FAILED, Phase.GONE)
# room for one job of 0.2 cores here, and for one in each other cluster
DEMO = TenantShare("demo", None, "Demo", {}, {"cpu": 0.3})
WAIT = "import time; time.sleep(300)"


@pytest.fixture(scope="module")
def second() -> str:
    path = os.environ.get("LTAI_TEST_SECOND_KUBECONFIG", "")
    assert path or not os.environ.get("CI"), "LTAI_TEST_SECOND_KUBECONFIG is not set"
    if not path:
        pytest.skip("needs a second cluster with Kueue and JobSet: set LTAI_TEST_SECOND_KUBECONFIG")
    return path


@dataclass
class Place:
    """``way``: how Kueue and the platform reach the other cluster; ``east`` looks at it past that."""

    backend: KubernetesBackend
    east: Cluster
    way: Way
    image: str
    namespace: str = tenant_name(INSTANCE_NAME, "demo")

    def workload(self, code: str = WAIT, cpu: float = 0.2, **kept: Any) -> Workload:
        asked = {"resources": Resources(cpu, 96 * MIB), "cwd": "/home/alice/digits", "anywhere": True}
        return a_workload(**{"image": self.image, "command": ("python", "-c", code), **asked, **kept})

    async def observe(self, state: State) -> Observed:
        (seen,) = await self.backend.observe([state])
        return seen

    async def until(self, state: State, *phases: Phase, seconds: float = 90, reason: str = "") -> Observed:
        deadline = time.monotonic() + seconds
        while (seen := await self.observe(state)).phase not in phases or reason not in seen.reason:
            assert time.monotonic() < deadline, seen
            await asyncio.sleep(0.3)
        return seen

    async def start(self, code: str = WAIT, **kept: Any) -> State:
        return await self.backend.start(self.workload(code, **kept))

    async def log(self, state: State, replica: int = 0) -> str:
        return b"".join([chunk async for chunk in self.backend.logs(state, replica)]).decode()

    async def in_east(self) -> list[str]:
        """Pods of the tenant that live there."""
        pods = await self.east.list(POD, self.namespace, cached=False)
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]

    async def fill_here(self) -> State:
        """What runs here and only here leaves no room."""
        state = await self.start(anywhere=False)
        await self.until(state, Phase.RUNNING)
        return state


async def clean(second: str) -> None:
    home = await Cluster.connect()
    await home.delete(SECRET, "kueue-system", cluster_name(INSTANCE_NAME, "east"))
    await home.close()
    for cluster in (await Cluster.connect(), await Cluster.connect(second)):
        await Site(cluster, KubernetesSettings(instance=INSTANCE_NAME), a_catalog(), "").clean()
        await cluster.close()


def make_backend(data: Path, second: str, **settings: Any) -> KubernetesBackend:
    kubernetes = KubernetesSettings(
        instance=INSTANCE_NAME, home_access="ReadWriteOnce", clusters={"east": second}, **{"lost_seconds": 5, **settings}
    )
    return KubernetesBackend(Settings(data=data), kubernetes, a_catalog())


@pytest.fixture(scope="module")
def account(second: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A kubeconfig of the other cluster with the rights that the guide says and no more."""
    (text,) = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", GUIDE.read_text(), re.DOTALL)
    role = yaml.safe_load(text)
    role["metadata"]["name"] = ACCOUNT_NAME
    subject = {"kind": "ServiceAccount", "name": "ltai", "namespace": ACCOUNT_NAME}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ACCOUNT_NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT_NAME},
        "subjects": [subject],
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ACCOUNT_NAME}}
    there = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ltai", "namespace": ACCOUNT_NAME}}
    objects = {"apiVersion": "v1", "kind": "List", "items": [namespace, there, role, binding]}
    kubectl("--kubeconfig", second, "apply", "-f", "-", body=json.dumps(objects))
    config = read_config(second)
    token = kubectl("--kubeconfig", second, "create", "token", "ltai", "-n", ACCOUNT_NAME, "--duration", "2h")
    config["users"][0]["user"] = {"token": token.strip()}
    path = tmp_path_factory.mktemp("account") / "kubeconfig"
    path.write_text(json.dumps(config))
    yield str(path)
    kubectl("--kubeconfig", second, "delete", "clusterrole,clusterrolebinding", ACCOUNT_NAME)
    kubectl("--kubeconfig", second, "delete", "namespace", ACCOUNT_NAME, "--wait=false")


@pytest.fixture(scope="module")
def clusters(second: str, account: str) -> Iterator[tuple[str, str]]:
    """The other cluster as an administrator and as the platform sees it."""
    yield second, account
    asyncio.run(clean(second))


@pytest.fixture
async def place(clusters: tuple[str, str], python_image: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    second, account = clusters
    east = await Cluster.connect(second)
    async with a_way_to_the_api_server(tmp_path, account, address_towards_the_cluster()) as way:
        backend = make_backend(tmp_path, str(way.kubeconfig), **getattr(request, "param", {}))
        await until(lambda: is_mirrored(backend, east), "both clusters have the tenant")
        place = Place(backend, east, way, python_image)
        yield place
        if way.server is None or not way.server.is_serving():
            await way.open()
        home = await backend.cluster()
        for jobset in await home.list(JOBSET, place.namespace, cached=False):
            await home.delete(JOBSET, place.namespace, jobset["metadata"]["name"])
        await until(lambda: is_let_go(place), "the other cluster has forgotten all jobs", 150)
        await backend.close()
    await east.close()


async def is_let_go(place: Place) -> bool:
    await place.backend.mirror([DEMO])
    return await has_no_jobset(place)


async def is_mirrored(backend: KubernetesBackend, east: Cluster) -> bool:
    await backend.mirror([DEMO])
    home, namespace = await backend.cluster(), tenant_name(INSTANCE_NAME, "demo")
    found = [
        await home.find(CLUSTER_QUEUE, "", namespace),
        await home.find(LOCAL_QUEUE, namespace, SPREAD),
        await home.find(ADMISSION_CHECK, "", clusters_name(INSTANCE_NAME)),
        await east.find(LOCAL_QUEUE, namespace, SPREAD),
    ]
    return all(condition_of(one, "Active") == "True" for one in found)


def a_folder(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return packed.getvalue()


async def test_where_there_is_room_it_runs_with_its_folder_and_its_log_and_times_come_back(place: Place) -> None:
    await place.fill_here()
    program = "import os, open_sesame\nprint(open_sesame.WORD, os.getcwd(), os.environ['WHERE'])\n"
    folder = a_folder(train__py=program, open_sesame__py="WORD = 'sesame'\n")
    began = time.time()
    state = await place.start(command=("python", "train.py"), folder=folder, env={"WHERE": "here"}, env_elsewhere={"WHERE": "there"})
    seen = await place.until(state, *ENDED)
    assert (seen.phase, seen.exit_code) == (Phase.SUCCEEDED, 0), seen
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert began - 1 <= seen.started_at.timestamp() <= seen.ended_at.timestamp() <= time.time()
    assert await place.log(state) == "sesame /home/alice/digits there\n"
    # nothing is held back in the other cluster, and what is known of it stays
    await until(lambda: has_no_jobset(place), "the other cluster has forgotten it")
    assert await place.observe(state) == seen
    assert await place.log(state) == "sesame /home/alice/digits there\n"


async def has_no_jobset(place: Place) -> bool:
    return not await place.east.list(JOBSET, place.namespace, cached=False)


async def run_in_east(place: Place, code: str = WAIT) -> State:
    """Running there, with no room here."""
    state = await place.start(code)
    await place.until(state, Phase.RUNNING)
    assert await place.in_east()
    return state


async def test_what_has_room_here_stays_here(place: Place) -> None:
    state = await place.start("print('here')")
    seen = await place.until(state, *ENDED)
    assert seen.phase is Phase.SUCCEEDED, seen
    assert await place.log(state) == "here\n"
    assert await has_no_jobset(place)


async def test_stopped_there_it_ends_there(place: Place) -> None:
    await place.fill_here()
    state = await run_in_east(place)
    await place.backend.stop(state)
    seen = await place.until(state, *ENDED)
    assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, "stopped", 143), seen
    await until(lambda: is_empty(place), "nothing of it runs there")


async def is_empty(place: Place) -> bool:
    await place.backend.mirror([DEMO])
    return not await place.in_east()


async def test_a_program_that_fails_there_says_so(place: Place) -> None:
    await place.fill_here()
    state = await place.start("import sys; print('bad'); sys.exit(3)")
    seen = await place.until(state, *ENDED)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 3, "exit code 3"), seen
    assert await place.log(state) == "bad\n"


async def test_two_nodes_find_one_another_there(place: Place) -> None:
    await place.fill_here()
    state = await place.start(RENDEZVOUS, replicas=2, cpu=0.1)
    seen = await place.until(state, *ENDED, seconds=120)
    assert seen.phase is Phase.SUCCEEDED, seen
    assert await place.log(state, 0) == "met ['1']\n"
    assert (await place.log(state, 1)).startswith("reached job-")


@pytest.mark.parametrize("place", [{"lost_seconds": 600}], indirect=True)
async def test_a_cluster_that_answers_again_in_time_has_lost_nothing(place: Place) -> None:
    await place.fill_here()
    state = await run_in_east(place)
    before = await place.observe(state)
    await place.way.close()
    seen = await place.until(state, Phase.RUNNING, reason="cluster east does not answer since ", seconds=120)
    assert seen.phase is Phase.RUNNING, seen
    await place.way.open()
    after = await place.until(state, Phase.RUNNING, seconds=120, reason="in cluster east")
    assert after.started_at == before.started_at


async def test_the_jobs_of_a_lost_cluster_begin_again_where_there_is_room(place: Place) -> None:
    filler = await place.fill_here()
    state = await run_in_east(place)
    await place.way.close()
    lost = await place.until(state, Phase.RUNNING, reason="cluster east does not answer since ", seconds=120)
    assert lost.phase is Phase.RUNNING
    waiting = await place.until(state, Phase.QUEUED)
    assert waiting.ended_at is not None  # what ran there is counted until the cluster was lost
    await place.backend.stop(filler)
    here = await place.until(state, Phase.RUNNING)
    assert here.started_at is not None
    assert here.started_at >= waiting.ended_at
    assert await place.in_east(), "nobody can have ended it there"
    await place.way.open()
    await until(lambda: is_empty(place), "what was left there has ended", 150)
    assert await place.observe(state) == here


@pytest.mark.parametrize("place", [{"lost_jobs": "fail"}], indirect=True)
async def test_the_jobs_of_a_lost_cluster_fail_where_that_is_the_rule(place: Place) -> None:
    await place.fill_here()
    state = await run_in_east(place)
    await place.way.close()
    seen = await place.until(state, *ENDED, seconds=150)
    assert seen.phase is Phase.FAILED
    assert seen.reason.startswith("cluster east does not answer since ")
    assert seen.ended_at is not None
    await place.way.open()
    await until(lambda: is_empty(place), "what was left there has ended", 150)
    assert await place.observe(state) == seen


async def test_the_other_cluster_has_the_tenants_and_nothing_of_the_platform(place: Place) -> None:
    home, namespace = await place.backend.cluster(), place.namespace
    assert await place.east.list(ROLE_BINDING, namespace, {INSTANCE: INSTANCE_NAME}) == []
    assert len(await place.east.list(NETWORK_POLICY, namespace, cached=False)) == 1
    queue = await place.east.find(CLUSTER_QUEUE, "", namespace)
    assert queue is not None
    assert queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0] == {
        "name": "cpu",
        "nominalQuota": "0",
        "borrowingLimit": "300m",
    }
    await place.east.delete(LOCAL_QUEUE, namespace, SPREAD)
    assert await place.backend.mirror([DEMO]) == {}
    assert await place.east.find(LOCAL_QUEUE, namespace, SPREAD)
    # an installation in the other cluster that has the same name takes nothing of this for its own
    site = Site(place.east, place.backend.kubernetes, a_catalog(), "")
    assert not [step for step in (await site.plan(DEMO)).steps if step.verb is Verb.DELETE]
    # a cluster that is no longer in the settings leaves nothing here
    alone = KubernetesBackend(place.backend.settings, KubernetesSettings(instance=INSTANCE_NAME), a_catalog())
    await until(lambda: has_no_others(alone), "nothing of the other cluster is left")
    await alone.close()
    assert await home.find(SECRET, "kueue-system", cluster_name(INSTANCE_NAME, "east")) is None


async def has_no_others(alone: KubernetesBackend) -> bool:
    await alone.mirror([DEMO])
    cluster = await alone.cluster()
    return not [
        one for resource in (ADMISSION_CHECK, MULTIKUEUE_CLUSTER) for one in await cluster.list(resource, labels={INSTANCE: INSTANCE_NAME})
    ]
