"""The kubernetes backend: the seam of ``ltai_hub.backends.base`` on JobSets, Deployments and Kueue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from ltai_hub.backends.base import (
    AcceleratorUse,
    Backend,
    HasQueue,
    KnowsCapacity,
    MeasuresUse,
    Observed,
    PublishesPorts,
    RunsContainers,
    RunsTogether,
    ScalesReplicas,
    State,
    TenantShare,
    Use,
    check_fits,
)
from ltai_hub.backends.kubernetes.api import (
    CLAIM,
    DEPLOYMENT,
    JOBSET,
    NETWORK_POLICY,
    NODE,
    POD,
    SERVICE,
    WORKLOAD,
    Cluster,
    Object,
    Resource,
)
from ltai_hub.backends.kubernetes.capacity import lacking
from ltai_hub.backends.kubernetes.endpoints import address_of, endpoint_name, make_deployment, make_service
from ltai_hub.backends.kubernetes.jobs import job_name, make_jobset
from ltai_hub.backends.kubernetes.loglines import LogLines
from ltai_hub.backends.kubernetes.logs import LogKeeper, read_lines
from ltai_hub.backends.kubernetes.mirror import mirror
from ltai_hub.backends.kubernetes.names import INSTANCE
from ltai_hub.backends.kubernetes.names import WORKLOAD as WORKLOAD_LABEL
from ltai_hub.backends.kubernetes.network import make_gang_policy
from ltai_hub.backends.kubernetes.observe import STOPPED, is_alive, is_gated, observe_endpoint, observe_job, terminated
from ltai_hub.backends.kubernetes.pods import Blueprint, make_blueprint
from ltai_hub.backends.kubernetes.queue import JOB_UID, Queue, Standing
from ltai_hub.backends.kubernetes.times import moment
from ltai_hub.backends.kubernetes.usage import use_of
from ltai_hub.backends.kubernetes.watch import Watches
from ltai_hub.catalog import load_catalog
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.quotas import can_be_guaranteed
from ltai_hub.domain.workloads import Phase, Resources, Workload
from ltai_hub.errors import BadWorkload, Problem, TryLater
from ltai_hub.settings import KubernetesSettings, Settings
from ltai_hub.units import utc_now

JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
LOG_SECONDS = 0.5


@dataclass
class Seen:
    """What one look at a namespace found."""

    objects: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, list[Object]] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    services: dict[str, Object] = field(default_factory=dict)


class KubernetesBackend(Backend, MeasuresUse, KnowsCapacity, PublishesPorts, RunsContainers, RunsTogether, ScalesReplicas, HasQueue):
    """State: {"namespace", "name", "port": bool}."""

    def __init__(self, settings: Settings, kubernetes: KubernetesSettings | None = None, catalog: Catalog | None = None) -> None:
        self.settings = settings
        self.kubernetes = kubernetes or KubernetesSettings()
        self._catalog = catalog
        self._cluster: Cluster | None = None
        self._connecting = asyncio.Lock()
        self._claims: set[tuple[str, str]] = set()

    @cached_property
    def catalog(self) -> Catalog:
        return self._catalog or load_catalog(self.settings.catalog)

    async def cluster(self) -> Cluster:
        """Connected at first use. Raises TryLater."""
        async with self._connecting:
            if self._cluster is None:
                self._cluster = await Cluster.connect()
                self._watches = Watches(self._cluster)
                self._queue = Queue(self._cluster)
                self._keeper = LogKeeper(self._cluster, self.settings.folder.logs / "workloads")
            return self._cluster

    async def close(self) -> None:
        if self._cluster is not None:
            await self._keeper.close()
            await self._watches.close()
            await self._cluster.close()

    # ---- starting

    async def start(self, workload: Workload) -> State:
        if not workload.command:
            raise BadWorkload(f"{workload.name} has no command")
        cluster = await self.cluster()
        await check_fits(self, workload.resources, workload.replicas)
        plan = make_blueprint(workload, self.kubernetes, self.catalog, self.settings.folder.courses)
        await self._ensure_claims(cluster, plan)
        if not workload.port:
            jobset = await cluster.ensure(JOBSET, make_jobset(plan))
            if workload.replicas > 1:
                await cluster.ensure(NETWORK_POLICY, make_gang_policy(jobset))
            return {"namespace": plan.namespace, "name": job_name(workload.name), "port": False}
        name = endpoint_name(workload.name)
        await cluster.ensure(SERVICE, make_service(plan, name))
        await cluster.ensure(DEPLOYMENT, make_deployment(plan, name))
        return {"namespace": plan.namespace, "name": name, "port": True}

    async def replace(self, state: State, workload: Workload) -> State:
        cluster = await self.cluster()
        plan = make_blueprint(workload, self.kubernetes, self.catalog, self.settings.folder.courses)
        await cluster.apply(DEPLOYMENT, make_deployment(plan, state["name"]))
        return state

    async def _ensure_claims(self, cluster: Cluster, plan: Blueprint) -> None:
        for claim in plan.claims:
            key = (plan.namespace, claim["metadata"]["name"])
            if key not in self._claims:
                await cluster.ensure(CLAIM, claim)
                self._claims.add(key)

    # ---- looking

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        cluster = await self.cluster()
        groups: dict[tuple[str, bool], list[str]] = {}
        for state in states:
            groups.setdefault(_group(state), []).append(state.get("name", ""))
        looks = await asyncio.gather(*(self._look(cluster, *key, names) for key, names in groups.items()))
        seen = dict(zip(groups, looks, strict=True))
        node = await self._any_node() if self.kubernetes.node_ports else ""
        return [self._observed(state, seen[_group(state)], node) for state in states]

    def _observed(self, state: State, seen: Seen, node: str) -> Observed:
        name = state.get("name", "")
        found, pods = seen.objects.get(name), seen.pods.get(name, [])
        if not state.get("port"):
            self._keeper.follow(name, pods)
            return observe_job(found, pods, seen.standings.get(_uid(found), Standing()))
        gated = next((pod for pod in pods if is_gated(pod)), None)
        address = address_of(seen.services.get(name), self.kubernetes, node)
        return observe_endpoint(found, pods, seen.standings.get(_uid(gated), Standing()), address)

    async def _look(self, cluster: Cluster, namespace: str, port: bool, names: Sequence[str]) -> Seen:
        if not namespace:
            return Seen()
        resource, label = (DEPLOYMENT, WORKLOAD_LABEL) if port else (JOBSET, JOBSET_NAME)
        ours = {INSTANCE: self.kubernetes.instance}
        watched, pods = await asyncio.gather(self._watches.objects(resource, namespace, ours), self._watches.objects(POD, namespace, ours))
        seen = Seen({name: watched[name] for name in names if name in watched})
        # a watch may lag behind what was made a moment ago; gone is only what the API server's store does not have
        missing = [name for name in names if name not in watched]
        found_late = await asyncio.gather(*(cluster.find(resource, namespace, name) for name in missing))
        seen.objects |= {name: found for name, found in zip(missing, found_late, strict=True) if found}
        for pod in pods.values():
            if owner := pod["metadata"].get("labels", {}).get(label):
                seen.pods.setdefault(owner, []).append(pod)
        if port:
            seen.services = dict(await self._watches.objects(SERVICE, namespace, ours))
            waiting = [next((p for p in seen.pods.get(name, []) if is_gated(p)), None) for name in names]
        else:
            waiting = [found if is_waiting(found) else None for found in seen.objects.values()]
            await self._complete(cluster, namespace, seen)
        await self._sweep(cluster, resource, namespace, watched, names)
        owners = [] if port else [found for found in watched.values() if is_waiting(found)]
        seen.standings = await self._standings(namespace, [_uid(found) for found in waiting if found], owners)
        return seen

    async def _standings(self, namespace: str, uids: Sequence[str], owners: Sequence[Object]) -> dict[str, Standing]:
        if not uids:
            return {}
        workloads = await self._watches.objects(WORKLOAD, namespace, {})
        return await self._queue.standings(namespace, uids, list(workloads.values()), owners)

    async def _complete(self, cluster: Cluster, namespace: str, seen: Seen) -> None:
        """What is known to have ended is judged by how its pods ended, which the other watch may not have told yet."""
        for name, found in seen.objects.items():
            if found.get("status", {}).get("terminalState") and not any(terminated(pod) for pod in seen.pods.get(name, [])):
                seen.pods[name] = await cluster.list(POD, namespace, {JOBSET_NAME: name}, cached=False)

    async def _sweep(
        self, cluster: Cluster, resource: Resource, namespace: str, watched: Mapping[str, Object], names: Sequence[str]
    ) -> None:
        """What ended by itself the cluster removes in time; what was stopped only we know to be over."""
        limit = utc_now() - timedelta(seconds=self.kubernetes.kept_seconds)
        for name in [name for name, found in watched.items() if name not in names and is_stopped_before(found, limit)]:
            for one in (resource, SERVICE) if resource is DEPLOYMENT else (resource,):
                await cluster.delete(one, namespace, name)
                self._watches.drop(one, namespace, name)

    async def _any_node(self) -> str:
        addresses = [a["address"] for node in await self._nodes() for a in node["status"].get("addresses", []) if a["type"] == "InternalIP"]
        return addresses[0] if addresses else "127.0.0.1"

    # ---- ending

    async def stop(self, state: State, grace_seconds: float = 10.0) -> None:
        """The object stays, marked, so that its end is still seen; ``forget`` removes it. The grace is the one it was made with."""
        cluster = await self.cluster()
        namespace, name = state.get("namespace", ""), state.get("name", "")
        if not namespace:
            return
        port = bool(state.get("port"))
        resource = DEPLOYMENT if port else JOBSET
        found = await cluster.find(resource, namespace, name)
        if found is None or found.get("status", {}).get("terminalState"):
            return
        if STOPPED not in found["metadata"].get("annotations", {}):
            mark: Object = {"metadata": {"annotations": {STOPPED: utc_now().isoformat(timespec="seconds")}}}
            await cluster.patch(resource, namespace, name, mark | ({"spec": {"replicas": 0}} if port else {}))
        if not port:
            await self._deactivate(cluster, namespace, name, _uid(found))

    async def _deactivate(self, cluster: Cluster, namespace: str, name: str, uid: str) -> None:
        """Kueue takes it out of the queue, or ends its pods; it never begins again."""
        workloads = await cluster.list(WORKLOAD, namespace, {JOB_UID: uid}, cached=False)
        for workload in workloads:
            if workload["spec"].get("active", True):
                await cluster.patch(WORKLOAD, namespace, workload["metadata"]["name"], {"spec": {"active": False}})
        if not workloads:
            # Kueue has not seen it yet, or is away: nothing keeps it from beginning but its absence
            await cluster.delete(JOBSET, namespace, name)

    async def forget(self, state: State) -> None:
        (seen,) = await self.observe([state])
        if seen.phase in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING):
            return
        cluster = await self.cluster()
        namespace, name = state.get("namespace", ""), state.get("name", "")
        if seen.phase is not Phase.GONE:
            for resource in (DEPLOYMENT, SERVICE) if state.get("port") else (JOBSET,):
                await cluster.delete(resource, namespace, name)
                self._watches.drop(resource, namespace, name)
        if name:
            await asyncio.to_thread(self._keeper.forget, name)

    # ---- logs

    async def logs(self, state: State, replica: int = 0, follow: bool = False, offset: int = 0) -> AsyncIterator[bytes]:
        if state.get("port"):
            async for chunk in self._live_log(state, replica, follow, offset):
                yield chunk
            return
        name = state.get("name", "")
        while True:
            (seen,) = await self.observe([state])
            ended = seen.phase not in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING)
            await self._keeper.settle(name, ended)
            for chunk in self._keeper.read(name, replica, offset):
                offset += len(chunk)
                yield chunk
            if ended or not follow:
                return
            await asyncio.sleep(LOG_SECONDS)

    async def _live_log(self, state: State, replica: int, follow: bool, offset: int) -> AsyncIterator[bytes]:
        """Of an endpoint's replica as long as its pod is there."""
        cluster = await self.cluster()
        namespace = state.get("namespace", "")
        pods = await cluster.list(POD, namespace, {WORKLOAD_LABEL: state.get("name", "")}, cached=False)
        pods.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        for pod in pods[replica : replica + 1]:
            async for chunk in self._unbroken(cluster, pod, follow):
                if fresh := chunk[offset:]:
                    yield fresh
                offset = max(offset - len(chunk), 0)

    async def _unbroken(self, cluster: Cluster, pod: Object, follow: bool) -> AsyncIterator[bytes]:
        last = ""
        while True:
            lines = LogLines(last)
            try:
                async for chunk in read_lines(cluster, pod, lines, follow):
                    yield chunk
                return
            except TryLater:
                if not follow:
                    return
            last = lines.last
            await asyncio.sleep(LOG_SECONDS)

    # ---- capabilities

    async def fits(self, resources: Resources, replicas: int = 1) -> str:
        return lacking(await self._nodes(), self.catalog, resources, replicas)

    async def _nodes(self) -> list[Object]:
        await self.cluster()
        return list((await self._watches.objects(NODE, "", {})).values())

    async def measure(self, states: Sequence[State]) -> list[Use | None]:
        """As the kubelets report it; their numbers are some ten seconds old."""
        cluster = await self.cluster()
        found = await asyncio.gather(*(self._running_pods(cluster, state) for state in states))
        nodes = {pod["spec"]["nodeName"] for pods in found for pod in pods}
        summaries = await asyncio.gather(*(self._summary(cluster, node) for node in nodes))
        used = {(p["podRef"]["namespace"], p["podRef"]["name"]): p for summary in summaries for p in summary.get("pods", [])}
        return [use_of(pods, used) for pods in found]

    async def _running_pods(self, cluster: Cluster, state: State) -> list[Object]:
        if not state.get("namespace"):
            return []
        label = WORKLOAD_LABEL if state.get("port") else JOBSET_NAME
        pods = await cluster.list(POD, state["namespace"], {label: state["name"]})
        return [pod for pod in pods if is_alive(pod) and pod["spec"].get("nodeName")]

    async def _summary(self, cluster: Cluster, node: str) -> Object:
        try:
            return await cluster.raw("GET", f"{NODE.path(name=node)}/proxy/stats/summary")
        except Problem:  # a node that is lost, or one of a simulation: the others are shown all the same
            return {}

    async def accelerators(self) -> list[AcceleratorUse]:
        """None: what a card does is known only to the vendor's exporter on its node."""
        return []

    def decides(self, resource: str) -> bool:
        return can_be_guaranteed(resource)

    async def mirror(self, shares: Sequence[TenantShare]) -> Mapping[str, str]:
        return await mirror(await self.cluster(), self.kubernetes, self.catalog, shares)


def is_waiting(jobset: Object) -> bool:
    return bool(jobset["spec"].get("suspend")) and not jobset.get("status", {}).get("terminalState")


def is_stopped_before(found: Object, limit: datetime) -> bool:
    stopped = moment(found["metadata"].get("annotations", {}).get(STOPPED))
    return stopped is not None and stopped < limit


def _group(state: State) -> tuple[str, bool]:
    return state.get("namespace", ""), bool(state.get("port"))


def _uid(found: Any) -> str:
    return str(found["metadata"]["uid"]) if found else ""
