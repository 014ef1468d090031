"""Jobs on nodes that are lost and disks that are full."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ltai_hub.backends.kubernetes.api import POD
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.backends.kubernetes.names import home_claim
from ltai_hub.backends.kubernetes.travel import JOBSET_NAME
from ltai_hub.domain.catalog import Catalog, Flavor, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Phase, Resources
from ltai_hub.settings import KubernetesSettings, Settings
from ltai_hub.units import parse_bytes
from tests.kubernetes.places import a_tenant_in_the_cluster, kubectl
from tests.kubernetes.rig import pids_file
from tests.kubernetes.simulated import FOR_EVER, TOLERATION, Machine, a_home_for_any_node, simulated_nodes
from tests.kubernetes.test_backend import ENDED, MIB, Place

INSTANCE = f"kx-{os.getpid()}"
POOL = {"ltai.dev/test-pool": INSTANCE}
SIMULATED = Flavor(
    "simulated", Text("", ""), Resources(0.05, 96 * MIB), kubernetes=KubernetesFlavor(node_selector=POOL, annotations=FOR_EVER)
)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with a_tenant_in_the_cluster(INSTANCE, "demo") as name:
        yield name


@pytest.fixture
async def place(namespace: str, python_image: str, tmp_path: Path) -> AsyncIterator[Place]:
    settings = KubernetesSettings(instance=INSTANCE, home_access="ReadWriteOnce", extra_tolerations=[TOLERATION])
    backend = KubernetesBackend(Settings(data=tmp_path), settings, Catalog({SIMULATED.name: SIMULATED}, {}, {}))
    yield Place(backend, namespace, python_image)
    kubectl("delete", "jobset", "--all", "-n", namespace, "--wait=false")
    await backend.close()


def on_real_nodes(place: Place) -> Place:
    settings = place.backend.kubernetes.model_copy(update={"extra_tolerations": []})
    return replace(place, backend=KubernetesBackend(place.backend.settings, settings, place.backend.catalog))


async def test_a_job_whose_node_is_taken_out_of_the_cluster_begins_again_on_another(place: Place, namespace: str) -> None:
    machines = {name: Machine(labels=POOL) for name in ("one", "two")}
    with simulated_nodes(INSTANCE, machines), a_home_for_any_node(INSTANCE, namespace, home_claim("lou")):
        workload = place.workload("pass", user="lou", home="/home/lou", cwd="/home/lou", flavor="simulated", resources=SIMULATED.resources)
        state = await place.backend.start(workload)
        before = await place.until(state, Phase.RUNNING)
        lost = await node_of(place, state["name"])
        kubectl("delete", "node", lost, "--wait=false")
        end = time.monotonic() + 180
        while await node_of(place, state["name"]) in ("", lost):
            seen = await place.observe(state)
            assert seen.phase not in ENDED, seen
            assert time.monotonic() < end, seen
            await asyncio.sleep(0.5)
        again = await place.until(state, Phase.RUNNING)
        assert again.started_at
        assert before.started_at
        assert again.started_at > before.started_at
        await place.backend.stop(state)
        assert (await place.until(state, *ENDED)).reason == "stopped"


async def node_of(place: Place, jobset: str) -> str:
    pods = await (await place.backend.cluster()).list(POD, place.namespace, {JOBSET_NAME: jobset}, cached=False)
    return next((str(pod["spec"].get("nodeName", "")) for pod in pods if "deletionTimestamp" not in pod["metadata"]), "")


async def test_over_its_scratch_disk_it_is_ended_and_says_so(place: Place) -> None:
    real = on_real_nodes(place)
    code = "import time; open('/tmp/big', 'wb').write(bytes(120 << 20)); print('written', flush=True); time.sleep(300)"
    resources = Resources(0.05, 300 * MIB, disk=64 * MIB)
    state = await real.backend.start(real.workload(code, resources=resources))
    seen = await real.until(state, *ENDED, seconds=180)
    assert seen.phase is Phase.FAILED
    assert seen.reason.startswith("ended by its node: ")
    assert "storage" in seen.reason
    await real.backend.close()


@contextmanager
def a_small_home(namespace: str, claim: str, folder: Path, size: str) -> Iterator[None]:
    """In this machine's memory, which is the node's."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={parse_bytes(size)},mode=0777", "tmpfs", str(folder)], check=True)
    volume = f"{namespace}-{claim}"
    plain = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    reference = {"namespace": namespace, "name": claim}
    items = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {**plain, "capacity": {"storage": size}, "claimRef": reference, "hostPath": {"path": str(folder)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {**plain, "volumeName": volume, "resources": {"requests": {"storage": size}}},
        },
    ]
    kubectl("apply", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        yield
    finally:
        kubectl("delete", "persistentvolume", volume, "--ignore-not-found", "--wait=false", check=False)
        subprocess.run(["umount", "-l", str(folder)], check=False)


async def test_a_full_home_fails_the_job_with_the_systems_own_words(place: Place, namespace: str, tmp_path: Path) -> None:
    pids_file()
    real = on_real_nodes(place)
    with a_small_home(namespace, home_claim("fay"), tmp_path / "home", "1Mi"):
        code = "open('big', 'wb').write(bytes(2 << 20))"
        resources = Resources(0.06, 96 * MIB)
        state = await real.backend.start(real.workload(code, user="fay", home="/home/fay", cwd="/home/fay", resources=resources))
        seen = await real.until(state, *ENDED)
        assert (seen.phase, seen.exit_code) == (Phase.FAILED, 1), seen
        assert "No space left on device" in await real.log(state)
    await real.backend.close()
