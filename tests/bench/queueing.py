"""P4 jobs admitted a second, P5k submit and place in the queue while thousands wait; P4's peer: a plain client that applies JobSets."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ltai_services.training import store as jobs
from ltai_services.training.workload import Tracked, make_subject, make_workload

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import CLAIM, JOBSET, WORKLOAD, Cluster, Object, Resource
from ltai_hub.backends.kubernetes.jobs import job_name, make_jobset
from ltai_hub.backends.kubernetes.pods import make_blueprint
from ltai_hub.client import Client
from ltai_hub.domain.quotas import amounts_of
from ltai_hub.domain.workloads import Kind, Phase, Workload
from ltai_hub.errors import Problem
from ltai_hub.metering.phases import change_phase
from ltai_hub.settings import KubernetesSettings
from ltai_hub.tenancy import store as tenancy
from ltai_hub.tenancy.admission import admit_waiting
from ltai_hub.units import utc_now
from tests.bench.figures import Figure
from tests.bench.onacluster import (
    HOME_ACCESS,
    NAME,
    OTHER,
    PERSON,
    SHARED_CLASS,
    TENANT,
    OnACluster,
    count_of,
    gather,
    is_there,
    on_a_cluster,
    remove_jobs,
)

JOBS, NODES, CLIENTS = 1000, 200, 8
PENDING, SUBMITS, PLACES = 5000, 400, 100
# what JobSet makes of one
JOB = Resource("batch", "v1", "jobs", "Job")
COMMAND = ["python", "-c", "pass"]
ADMIT_SECONDS = 600.0
PEER = "the same JobSets by a plain client"
WIDE = (TenantShare("school", None, "School"), *(TenantShare(name, "school", name.capitalize()) for name in (TENANT, OTHER)))
# one job runs, all others wait
NARROW = (WIDE[0], TenantShare(TENANT, "school", "One", limits={"cpu": 1}), WIDE[2])


# ---- P4


def admitted(folder: Path) -> list[Figure]:
    if not is_there("P4", NODES):
        return []
    with on_a_cluster(folder, WIDE) as place:
        with place.services():
            # the first one fills caches and makes the person's volume
            submit(place.client(), 0)
            clients = [place.client() for _ in range(CLIENTS)]
            mine = asyncio.run(rate(place.hub.namespace(TENANT), JOBS + 1, lambda: submit_all(clients, JOBS)))
        asyncio.run(remove_jobs(place.hub.namespace(TENANT)))
        theirs = asyncio.run(rate(place.hub.namespace(OTHER), JOBS, lambda: asyncio.run(apply_all(place))))
    return [Figure("P4", round(mine, 2), "jobs/s", PEER, round(theirs, 2), 1, "≥ 0.8 × the peer")]


async def rate(namespace: str, wanted: int, put: Callable[[], object]) -> float:
    """Jobs a second, from the first one put to the last one admitted."""
    cluster = await Cluster.connect()
    try:
        async with admissions(cluster, namespace, wanted) as seen:
            begun, before = time.monotonic(), len(seen.names)
            await asyncio.to_thread(put)
            await asyncio.wait_for(seen.all.wait(), ADMIT_SECONDS)
            return (wanted - before) / (seen.at - begun)
    finally:
        await cluster.close()


@dataclass
class Admissions:
    wanted: int
    names: set[str] = field(default_factory=set)
    at: float = 0.0
    all: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, workload: Object) -> None:
        conditions = workload.get("status", {}).get("conditions", [])
        if any(one["type"] == "Admitted" and one["status"] == "True" for one in conditions):
            self.names.add(workload["metadata"]["name"])
        if len(self.names) >= self.wanted and not self.all.is_set():
            self.at = time.monotonic()
            self.all.set()


@asynccontextmanager
async def admissions(cluster: Cluster, namespace: str, wanted: int) -> AsyncIterator[Admissions]:
    seen = Admissions(wanted)
    listed = await cluster.raw("GET", WORKLOAD.path(namespace))
    for workload in listed["items"]:
        seen.take(workload)

    async def follow(since: str) -> None:
        while True:
            async for kind, workload in cluster.watch(WORKLOAD, namespace, {}, since):
                since = workload["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    seen.take(workload)

    watching = asyncio.create_task(follow(listed["metadata"]["resourceVersion"]))
    yield seen
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def submit(client: Client, number: int) -> int:
    job = client.jobs.submit(f"job {number % 10}", profile="lab", command=COMMAND)
    return int(job["id"])


def submit_all(clients: Sequence[Client], count: int) -> list[float]:
    """By all clients at once; seconds of each submit."""

    def some(client: Client) -> list[float]:
        return [timed(submit, client, number) for number in range(count // len(clients))]

    with ThreadPoolExecutor(len(clients)) as pool:
        return [seconds for found in pool.map(some, clients) for seconds in found]


def timed(act: Callable[[Client, int], object], client: Client, number: int) -> float:
    begun = time.perf_counter()
    act(client, number)
    return time.perf_counter() - begun


async def apply_all(place: OnACluster) -> None:
    """As many at once as the platform has clients."""
    cluster = await Cluster.connect()
    plans = [make_blueprint(a_workload(place, number), settings(), place.catalog, Path("/")) for number in range(JOBS)]
    for claim in plans[0].claims:
        await cluster.ensure(CLAIM, claim)
    await gather(CLIENTS, [cluster.create(JOBSET, make_jobset(plan)) for plan in plans])
    await cluster.close()


def a_workload(place: OnACluster, number: int) -> Workload:
    """With as much in it as the platform's own have."""
    env = {f"VARIABLE_{index}": "a value as long as they usually are" for index in range(14)}
    resources = place.catalog.get_flavor("simulated-node").resources
    return Workload(
        name=f"plain-{number}",
        kind=Kind.JOB,
        user=PERSON,
        tenant=OTHER,
        image="lab",
        flavor="simulated-node",
        resources=resources,
        command=tuple(COMMAND),
        env=env,
        home=f"/home/{PERSON}",
        cwd=f"/home/{PERSON}",
    )


def settings() -> KubernetesSettings:
    return KubernetesSettings(instance=NAME, home_class=SHARED_CLASS, home_access=HOME_ACCESS)


# ---- P5k


def waiting(folder: Path) -> list[Figure]:
    """The thousands are put there as the platform would have: row, reservation and JobSet of each; what is measured goes the whole way."""
    if not is_there("P5k", 1):
        return []
    with on_a_cluster(folder, NARROW) as place:
        planted = plant(place)
        asyncio.run(plant_jobsets(place, planted))
        asyncio.run(until_pending(place.hub.namespace(TENANT), PENDING))
        with place.services():
            client = place.client()
            settle(client, planted[-1])
            submits = submit_all([place.client() for _ in range(CLIENTS)], SUBMITS)
            settle(client, planted[-1])
            places = [timed(position, client, number) for number in random.Random(0).sample(planted[10:], PLACES)]
    return [
        Figure("P5k submit, p95", in_milliseconds(submits), "ms", runs=len(submits), floor="< 100 ms"),
        Figure(f"P5k place of one among {PENDING}, p95", in_milliseconds(places), "ms", runs=len(places), floor="< 200 ms"),
    ]


def in_milliseconds(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return round(statistics.quantiles(seconds, n=20)[-1] * 1000, 1)


def plant(place: OnACluster) -> list[int]:
    """The numbers of the jobs, oldest first."""
    row = jobs.NewRow("planted", PERSON, TENANT, "lab", "lab", "simulated-node", tuple(COMMAND), "", {}, None)
    database, now, numbers = place.database, utc_now(), list[int]()
    with database.transaction() as tx:
        tenant = tenancy.get_tenant(tx, TENANT)
        for _ in range(PENDING):
            job = jobs.insert_job(tx, row, now)
            subject = make_subject(job, place.catalog)
            amounts = amounts_of(subject.resources, 1)
            tenancy.insert_reservation(tx, Kind.JOB, job.noun_id, PERSON, tenant.id, row.flavor, 1, amounts, now)
            change_phase(tx, subject, None, Phase.QUEUED, "", now, PERSON)
            state = {"namespace": place.hub.namespace(TENANT), "name": job_name(f"job-{job.id}"), "port": False}
            jobs.change(tx, job.id, backend_state=state)
            numbers.append(job.id)
        admit_waiting(tx, now)
    database.close()
    return numbers


async def plant_jobsets(place: OnACluster, numbers: Sequence[int]) -> None:
    database, cluster = place.database, await Cluster.connect()
    with database.reading() as tx:
        rows = [jobs.get(tx, number) for number in numbers]
    database.close()
    tracked = Tracked(place.hub.url, "0" * 32, "1", "0" * 64)
    workloads = [make_workload(row, place.catalog, Path("/home") / PERSON, (), tracked) for row in rows]
    plans = [make_blueprint(workload, settings(), place.catalog, Path("/")) for workload in workloads]
    for claim in plans[0].claims:
        await cluster.ensure(CLAIM, claim)
    await gather(CLIENTS, [created(cluster, make_jobset(plan)) for plan in plans])
    await cluster.close()


async def created(cluster: Cluster, body: Object) -> None:
    """However busy the cluster is."""
    while True:
        try:
            await cluster.ensure(JOBSET, body)
            return
        except Problem:
            await asyncio.sleep(1)


async def until_pending(namespace: str, count: int) -> None:
    """Until Kueue has a Workload and JobSet a Job of every one, which takes them some minutes: after that they only wait."""
    cluster, until = await Cluster.connect(), time.monotonic() + ADMIT_SECONDS
    while (found := min([await count_of(cluster, resource, namespace) for resource in (WORKLOAD, JOB)])) < count:
        assert time.monotonic() < until, f"the cluster has taken up {found} of {count}"
        await asyncio.sleep(5)
    await cluster.close()


def position(client: Client, number: int) -> int:
    job = client.jobs.get(number)
    place = job["queue_position"]
    assert place is not None, job
    return place


def settle(client: Client, number: int) -> None:
    """Until the controller has taken up what waits, and places are told."""
    until = time.monotonic() + 60
    while client.jobs.get(number)["queue_position"] is None and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(5)
