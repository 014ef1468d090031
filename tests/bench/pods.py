"""P3 what the platform adds to a pod's own start, P3b click to JupyterLab's page; peers: stock KubeSpawner on the same cluster.

Both hubs are processes on this machine, which the cluster's pods must reach. Their starts take turns, so that what disturbs
the machine disturbs both.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import POD, Cluster, Object
from ltai_hub.local.plan import find_node
from tests.bench.figures import Figure, median
from tests.bench.peers import PodHub, stock_pods
from tests.bench.visitor import Visitor
from tests.kubernetes.hubs import IMAGE, a_cluster_hub, node_address
from tests.kubernetes.places import kubectl

NAME, STOCK_NAMESPACE = "kp", "kp-stock"
PERSON, TENANT = "ann", "one"
CPU = 0.8
PEER = "JupyterHub 6.1, KubeSpawner 7.1"
RUNS = 10
# the peer's overhead is its back-off's luck, 0.2 to 4 s: the median of ten was anything between
OVERHEAD_RUNS = 30
STOCK_IMAGE = os.environ.get("LTAI_BENCH_STOCK_IMAGE", "ltai-bench/stock")
# what pip is given → the tag of the image it makes
STOCK_TAGS = {"no-bytecode": "--no-compile", "bytecode": "--compile"}
NEEDS = f"""needs a cluster with Kueue and JobSet whose pods reach this machine: set KUBECONFIG, and the image {IMAGE} where its
nodes pull from (helm/images/build.py), or another one named in LTAI_TEST_LAB_IMAGE"""
# a pod that does not come up in that time has failed
SECONDS = 120.0
LOOK_SECONDS = 0.01
# the node still clears up after the pod before
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Place:
    """A hub's person at the browser, and where their pod is."""

    visitor: Visitor
    namespace: str
    selector: str

    def pod(self) -> Object:
        (found,) = json.loads(kubectl("get", "pods", "-n", self.namespace, "-l", self.selector, "-o", "json"))["items"]
        body: Object = found
        return body


def overhead(folder: Path) -> list[Figure]:
    if not is_there("P3"):
        return []
    with ours(folder) as mine, stock(folder, "same", IMAGE) as theirs:
        places = [Place(mine, f"{NAME}-{TENANT}", "ltai.dev/kind=environment"), Place(theirs, STOCK_NAMESPACE, "hub.jupyter.org/username")]
        rounds = [[measured(place) for place in places] for _ in range(OVERHEAD_RUNS + 1)][1:]
    (my_clicks, my_bare), (their_clicks, their_bare) = (zip(*side, strict=True) for side in zip(*rounds, strict=True))
    return [
        Figure(
            "P3",
            round(median(my_clicks) - median(my_bare), 3),
            "s",
            f"{PEER}, same image",
            round(median(their_clicks) - median(their_bare), 3),
            OVERHEAD_RUNS,
            "≤ 0.6 s and ≤ 0.4 × the peer",
        ),
        Figure("P3 … click", median(my_clicks), "s", PEER, median(their_clicks), OVERHEAD_RUNS),
        Figure("P3 … bare start of the same pod", median(my_bare), "s", PEER, median(their_bare), OVERHEAD_RUNS),
    ]


def page(folder: Path) -> list[Figure]:
    if not is_there("P3b") or not has_builder():
        return []
    for tag, options in STOCK_TAGS.items():
        build(f"{STOCK_IMAGE}:{tag}", options)
    with ExitStack() as stack:
        visitors = [stack.enter_context(ours(folder))]
        visitors += [stack.enter_context(stock(folder, tag, f"{STOCK_IMAGE}:{tag}")) for tag in STOCK_TAGS]
        rounds = [[clicked(visitor) for visitor in visitors] for _ in range(RUNS + 1)][1:]
    mine, plain, compiled = (median(times) for times in zip(*rounds, strict=True))
    return [
        Figure("P3b", mine, "s", f"{PEER}, stock image", plain, RUNS, "≤ 0.5 × the peer"),
        Figure("P3b … peer's image with bytecode", mine, "s", f"{PEER}, stock image", compiled, RUNS),
    ]


# ---- what is measured


def clicked(visitor: Visitor) -> float:
    took = visitor.click()
    visitor.stop()
    return took


def measured(place: Place) -> tuple[float, float]:
    """Click to the Lab, then the same pod without a hub."""
    time.sleep(SETTLE_SECONDS)
    took = place.visitor.click()
    body = bare(place.pod())
    place.visitor.stop()
    kubectl("wait", "--for=delete", "pod", "-n", place.namespace, "-l", place.selector, f"--timeout={SECONDS:g}s")
    time.sleep(SETTLE_SECONDS)
    return took, asyncio.run(started(body))


def bare(pod: Object) -> Object:
    """The same containers, volumes and rules; no queue, and nothing by which a hub would know it."""
    spec = {name: value for name, value in pod["spec"].items() if name not in ("nodeName", "priority")}
    metadata = {"name": f"bare-{pod['metadata']['name']}"[:63], "namespace": pod["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def started(body: Object) -> float:
    """Seconds until its port takes a connection."""
    cluster = await Cluster.connect()
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    port = next(port["containerPort"] for container in body["spec"]["containers"] for port in container.get("ports", []))
    # a hub has its connection open too
    await cluster.find(POD, namespace, name)
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(SECONDS):
            made = await cluster.create(POD, body)
            address = await address_of(cluster, made)
            while not await takes_connections(address, port):
                await asyncio.sleep(LOOK_SECONDS)
        return time.perf_counter() - begun
    finally:
        await cluster.delete(POD, namespace, name, grace_seconds=1)
        while await cluster.find(POD, namespace, name):
            await asyncio.sleep(0.2)
        await cluster.close()


async def address_of(cluster: Cluster, made: Object) -> str:
    metadata = made["metadata"]
    async for _, found in cluster.watch(POD, metadata["namespace"], {}, metadata["resourceVersion"]):
        if found["metadata"]["name"] == metadata["name"] and found.get("status", {}).get("podIP"):
            return str(found["status"]["podIP"])
    raise RuntimeError(f"the watch of {metadata['name']} ended before it had an address")


async def takes_connections(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


# ---- the hubs


@contextmanager
def ours(folder: Path) -> Iterator[Visitor]:
    shares = [TenantShare("school", None, "School"), *(TenantShare(name, "school", name.capitalize()) for name in (TENANT, "two"))]
    with a_cluster_hub(folder / "ours", NAME, shares, CPU) as hub:
        yield Visitor(hub.url, PERSON, hub.passwords[PERSON], {"profile": "lab"})


@contextmanager
def stock(folder: Path, name: str, image: str) -> Iterator[Visitor]:
    namespace = STOCK_NAMESPACE if name == "same" else f"{STOCK_NAMESPACE}-{name}"
    kubectl("create", "namespace", namespace)
    hub = PodHub(folder / f"stock-{name}", find_node(), node_address(), namespace, image, CPU)
    try:
        with stock_pods(hub) as url:
            yield Visitor(url, PERSON, "stock")
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


# ---- what it takes


def is_there(figure: str) -> bool:
    if os.environ.get("KUBECONFIG"):
        return True
    print(f"{figure} {' '.join(NEEDS.split())}", file=sys.stderr)
    return False


def has_builder() -> bool:
    if os.environ.get("LTAI_TEST_BUILDER"):
        return True
    print(
        "P3b builds the peer's image: set LTAI_TEST_BUILDER to a command with the options of `docker build` that also pushes",
        file=sys.stderr,
    )
    return False


def build(tag: str, options: str) -> None:
    folder = Path(__file__).parent / "stock"
    command = [*shlex.split(os.environ["LTAI_TEST_BUILDER"]), "-t", tag, "-f", str(folder / "Dockerfile")]
    subprocess.run([*command, f"--build-arg=OPTIONS={options}", str(folder)], check=True, stdout=sys.stderr)
