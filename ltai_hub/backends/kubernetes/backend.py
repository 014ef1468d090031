"""The kubernetes backend: the seam of ``ltai_hub.backends.base`` on JobSets, Deployments and Kueue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from ltai_hub.backends.base import (
    AcceleratorUse,
    AddsReplicas,
    Backend,
    HasQueue,
    KnowsCapacity,
    KnowsNodes,
    MeasuresUse,
    Node,
    Observed,
    PartlySeen,
    PublishesPorts,
    RunsContainers,
    RunsTogether,
    SpansClusters,
    State,
    TenantShare,
    Use,
    check_fits,
)
from ltai_hub.backends.kubernetes.api import (
    AUTOSCALER,
    CLAIM,
    DEPLOYMENT,
    EVENT,
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
from ltai_hub.backends.kubernetes.clusters import Clusters
from ltai_hub.backends.kubernetes.endpoints import address_of, endpoint_name, make_autoscaler, make_deployment, make_service
from ltai_hub.backends.kubernetes.jobs import inner_job, job_name, make_jobset, variables_of
from ltai_hub.backends.kubernetes.logs import LogKeeper, live_log
from ltai_hub.backends.kubernetes.names import INSTANCE, QUEUE, QUEUE_LABEL, tenant_name
from ltai_hub.backends.kubernetes.names import WORKLOAD as WORKLOAD_LABEL
from ltai_hub.backends.kubernetes.network import make_gang_policy
from ltai_hub.backends.kubernetes.nodes import RecentNodes
from ltai_hub.backends.kubernetes.observe import (
    STOPPED,
    is_gated,
    is_without_pods,
    observe_endpoint,
    observe_job,
    refusals,
    terminated,
)
from ltai_hub.backends.kubernetes.pods import Blueprint, make_blueprint
from ltai_hub.backends.kubernetes.queue import JOB_UID, Queue, Standing
from ltai_hub.backends.kubernetes.spread import AWAY, PLACE, annotations_of, away_name, make_away, over_since
from ltai_hub.backends.kubernetes.times import moment
from ltai_hub.backends.kubernetes.travel import JOBSET_NAME, Travels, uid_of
from ltai_hub.backends.kubernetes.usage import measure
from ltai_hub.backends.kubernetes.watch import Watches
from ltai_hub.catalog import load_catalog
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.quotas import can_be_guaranteed
from ltai_hub.domain.workloads import Kind, Phase, Resources, Workload
from ltai_hub.errors import BadWorkload, Problem, TryLater
from ltai_hub.settings import KubernetesSettings, Settings
from ltai_hub.units import utc_now

LOG_SECONDS = 0.5
METRICS_GROUP = "metrics.k8s.io"
# so long a claim is believed to be there: many jobs at once ask for it once, and no namespace goes and comes again meanwhile
CLAIM_SECONDS = 5.0
FITS_SECONDS = 2.0
# why the cluster makes no pods of a job is asked so often, whatever many jobs wait for theirs
REFUSED_SECONDS = 5.0
# thousands of jobs are looked through for what may go; where one is asked for after another, not each time
SWEEP_SECONDS = 10.0


@dataclass
class Seen:
    """What one look at a namespace found."""

    objects: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, list[Object]] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    services: dict[str, Object] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    travelling: dict[str, Observed] = field(default_factory=dict)


class KubernetesBackend(
    Backend, MeasuresUse, KnowsCapacity, KnowsNodes, PublishesPorts, RunsContainers, RunsTogether, SpansClusters, AddsReplicas, HasQueue
):
    """State: {"namespace", "name", "port": bool}, and "anywhere": true of a job that may run in any cluster."""

    def __init__(self, settings: Settings, kubernetes: KubernetesSettings | None = None, catalog: Catalog | None = None) -> None:
        self.settings = settings
        self.kubernetes = kubernetes or KubernetesSettings()
        self._catalog = catalog
        self._cluster: Cluster | None = None
        self._connecting = asyncio.Lock()
        self._claims: dict[tuple[str, str], float] = {}
        self._lacking: dict[tuple[Resources, int], tuple[float, str]] = {}
        self._refused: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._swept: dict[tuple[Resource, str], float] = {}
        self._others = Clusters(self.kubernetes)

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
                self._travels = Travels(self._cluster, self._others, self._watches, self._queue, self._keeper, self.kubernetes)
                self._recent_nodes = RecentNodes(self._cluster)
            return self._cluster

    async def close(self) -> None:
        if self._cluster is not None:
            await self._keeper.close()
            await self._others.close()
            await self._watches.close()
            await self._cluster.close()

    # ---- starting

    async def start(self, workload: Workload) -> State:
        if not workload.command:
            raise BadWorkload(f"{workload.name} has no command")
        cluster = await self.cluster()
        await check_fits(self, workload.resources, workload.replicas, workload.anywhere)
        plan = make_blueprint(workload, self.kubernetes, self.catalog, self.settings.folder.courses)
        await self._ensure_claims(cluster, plan)
        if not workload.port:
            jobset = await self._made(cluster, make_jobset(plan))
            if workload.replicas > 1:
                await cluster.ensure(NETWORK_POLICY, make_gang_policy(jobset))
            state = {"namespace": plan.namespace, "name": job_name(workload.name), "port": False}
            if not workload.anywhere:
                return state
            await self._made(cluster, make_away(plan, jobset))
            return {**state, "anywhere": True}
        name = endpoint_name(workload.name)
        await cluster.ensure(SERVICE, make_service(plan, name))
        made = await cluster.ensure(DEPLOYMENT, make_deployment(plan, name))
        if workload.most_replicas:
            await cluster.apply(AUTOSCALER, make_autoscaler(made, workload.replicas, workload.most_replicas))
        return {"namespace": plan.namespace, "name": name, "port": True}

    async def _made(self, cluster: Cluster, wished: Object) -> Object:
        """What has the name may be left of another installation, whose numbers began anew: then it is made anew.

        Raises TryLater while the old one goes."""
        found = await cluster.ensure(JOBSET, wished)
        if "uid" not in found["metadata"]:
            raise TryLater("what had its name has just gone")
        if variables_of(found) == variables_of(wished):
            # or the next look would have to ask for it
            self._watches.note(JOBSET, found)
            return found
        await cluster.delete(JOBSET, wished["metadata"]["namespace"], wished["metadata"]["name"])
        raise TryLater("what has its name from an earlier time is being removed")

    async def replace(self, state: State, workload: Workload) -> State:
        cluster = await self.cluster()
        plan = make_blueprint(workload, self.kubernetes, self.catalog, self.settings.folder.courses)
        namespace, name, most = state["namespace"], state["name"], workload.most_replicas
        wished = make_deployment(plan, name)
        if most and (found := await cluster.find(DEPLOYMENT, namespace, name)):
            # what was added under load stays until the load has gone
            wished["spec"]["replicas"] = min(max(found["spec"]["replicas"], workload.replicas), most)
        made = await cluster.apply(DEPLOYMENT, wished)
        if most:
            await cluster.apply(AUTOSCALER, make_autoscaler(made, workload.replicas, most))
        else:
            await cluster.delete(AUTOSCALER, namespace, name)
        return state

    async def why_none_added(self) -> str:
        if await (await self.cluster()).has_group(METRICS_GROUP):
            return ""
        return "nothing measures the load in this cluster; it needs a metrics API (metrics-server)"

    async def _ensure_claims(self, cluster: Cluster, plan: Blueprint) -> None:
        for claim in plan.claims:
            key = (plan.namespace, claim["metadata"]["name"])
            if time.monotonic() - self._claims.get(key, -CLAIM_SECONDS) >= CLAIM_SECONDS:
                await cluster.find_or_create(CLAIM, claim)
                self._claims[key] = time.monotonic()

    # ---- looking

    async def find(self, kind: Kind, name: str, tenant: str) -> State | None:
        cluster = await self.cluster()
        namespace, port = tenant_name(self.kubernetes.instance, tenant), kind is Kind.ENDPOINT
        resource, own = (DEPLOYMENT, endpoint_name(name)) if port else (JOBSET, job_name(name))
        if await cluster.find(resource, namespace, own) is None:
            return None
        anywhere = not port and await cluster.find(JOBSET, namespace, away_name(own)) is not None
        return {"namespace": namespace, "name": own, "port": port} | ({"anywhere": True} if anywhere else {})

    async def observe(self, states: Sequence[State]) -> list[Observed]:
        cluster = await self.cluster()
        groups: dict[tuple[str, bool], list[str]] = {}
        for state in states:
            groups.setdefault(_group(state), []).append(state.get("name", ""))
        anywhere = {(state["namespace"], state["name"]) for state in states if state.get("anywhere")}
        each = (self._look(cluster, *key, names, anywhere) for key, names in groups.items())
        looks = dict(zip(groups, await asyncio.gather(*each, return_exceptions=True), strict=True))
        seen = {key: look for key, look in looks.items() if isinstance(look, Seen)}
        node = await self._any_node() if self.kubernetes.node_ports else ""
        found = [self._observed(state, seen[_group(state)], node) if _group(state) in seen else None for state in states]
        for failed in looks.values():
            if isinstance(failed, Problem) and seen:
                raise PartlySeen(failed.message, found) from failed
            if isinstance(failed, BaseException):
                raise failed
        return [one for one in found if one is not None]

    def _observed(self, state: State, seen: Seen, node: str) -> Observed:
        name = state.get("name", "")
        if name in seen.travelling:
            return seen.travelling[name]
        found, pods = seen.objects.get(name), seen.pods.get(name, [])
        if not state.get("port"):
            self._keeper.follow(name, pods)
            return observe_job(found, pods, seen.standings.get(uid_of(found), Standing()), refused=seen.refused.get(inner_job(name), ""))
        gated = next((pod for pod in pods if is_gated(pod)), None)
        address = address_of(seen.services.get(name), self.kubernetes, node)
        return observe_endpoint(found, pods, seen.standings.get(uid_of(gated), Standing()), address)

    async def _look(
        self, cluster: Cluster, namespace: str, port: bool, names: Sequence[str], anywhere: AbstractSet[tuple[str, str]]
    ) -> Seen:
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
            await self._ask_why_without_pods(cluster, namespace, seen)
        await self._sweep(cluster, resource, namespace, watched, names)
        seen.standings = await self._standings(namespace, [uid_of(found) for found in waiting if found], {} if port else watched)
        if not port:
            travelling = {name: found for name, found in seen.objects.items() if (namespace, name) in anywhere}
            seen.travelling = await self._travels.observe(namespace, travelling, seen.pods, seen.standings, seen.refused)
        return seen

    async def _standings(self, namespace: str, uids: Sequence[str], jobsets: Mapping[str, Object]) -> dict[str, Standing]:
        if not uids:
            return {}
        workloads = await self._watches.objects(WORKLOAD, namespace, {})
        return await self._queue.standings(
            namespace,
            uids,
            list(workloads.values()),
            lambda: [found for found in jobsets.values() if is_waiting(found) and has_turn_here(found)],
        )

    async def _complete(self, cluster: Cluster, namespace: str, seen: Seen) -> None:
        """What is known to have ended is judged by how its pods ended, which the other watch may not have told yet."""
        for name, found in seen.objects.items():
            if found.get("status", {}).get("terminalState") and not any(terminated(pod) for pod in seen.pods.get(name, [])):
                seen.pods[name] = await cluster.list(POD, namespace, {JOBSET_NAME: name}, cached=False)

    async def _ask_why_without_pods(self, cluster: Cluster, namespace: str, seen: Seen) -> None:
        """A RuntimeClass that is not there, a webhook that says no: only events tell, of which the API server looks through all."""
        now = utc_now()
        if any(is_without_pods(found, seen.pods.get(name, []), now) for name, found in seen.objects.items()):
            at, known = self._refused.get(namespace, (-REFUSED_SECONDS, {}))
            if time.monotonic() - at >= REFUSED_SECONDS:
                query = {"fieldSelector": "reason=FailedCreate,involvedObject.kind=Job"}
                known = refusals((await cluster.raw("GET", EVENT.path(namespace), query=query)).get("items", []))
                self._refused[namespace] = (time.monotonic(), known)
            seen.refused = known

    async def _sweep(
        self, cluster: Cluster, resource: Resource, namespace: str, watched: Mapping[str, Object], names: Sequence[str]
    ) -> None:
        """What ended by itself the cluster removes in time; what was stopped only we know to be over."""
        if time.monotonic() - self._swept.get((resource, namespace), -SWEEP_SECONDS) < SWEEP_SECONDS:
            return
        self._swept[resource, namespace] = time.monotonic()
        limit, asked = utc_now() - timedelta(seconds=self.kubernetes.kept_seconds), frozenset(names)
        for name in [name for name, found in watched.items() if name not in asked and is_stopped_before(found, limit)]:
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
        if port:
            await self._mark_stopped(cluster, resource, found)
            return
        # who asks to stop waits for the answer
        workloads, _ = await asyncio.gather(workloads_of(cluster, found), self._mark_stopped(cluster, resource, found))
        await self._deactivate(cluster, found, workloads)
        if state.get("anywhere") and (away := await cluster.find(JOBSET, namespace, away_name(name))):
            await self._deactivate(cluster, away, await workloads_of(cluster, away))

    async def _mark_stopped(self, cluster: Cluster, resource: Resource, found: Object) -> None:
        if STOPPED not in annotations_of(found):
            mark: Object = {"metadata": {"annotations": {STOPPED: utc_now().isoformat(timespec="seconds")}}}
            none: Object = {"spec": {"replicas": 0}} if resource is DEPLOYMENT else {}
            await cluster.patch(resource, found["metadata"]["namespace"], found["metadata"]["name"], mark | none)

    async def _deactivate(self, cluster: Cluster, jobset: Object, workloads: Sequence[Object]) -> None:
        """Kueue takes it out of the queue, or ends its pods; it never begins again."""
        namespace = jobset["metadata"]["namespace"]
        for workload in workloads:
            if workload["spec"].get("active", True):
                await cluster.patch(WORKLOAD, namespace, workload["metadata"]["name"], {"spec": {"active": False}})
        if not workloads:
            # Kueue has not seen it yet, or is away: nothing keeps it from beginning but its absence
            await cluster.delete(JOBSET, namespace, jobset["metadata"]["name"])

    async def forget(self, state: State) -> None:
        (seen,) = await self.observe([state])
        if seen.phase in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING):
            return
        cluster = await self.cluster()
        namespace, name = state.get("namespace", ""), state.get("name", "")
        if not name:
            return
        # also when it seems to be gone: of a job that may run anywhere one half may be left
        for resource in (DEPLOYMENT, SERVICE) if state.get("port") else (JOBSET,):
            await cluster.delete(resource, namespace, name)
            self._watches.drop(resource, namespace, name)
        await asyncio.to_thread(self._keeper.forget, name)

    # ---- logs

    async def logs(self, state: State, replica: int = 0, follow: bool = False, offset: int = 0) -> AsyncIterator[bytes]:
        if state.get("port"):
            async for chunk in live_log(await self.cluster(), state.get("namespace", ""), state.get("name", ""), replica, follow, offset):
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

    # ---- capabilities

    async def fits(self, resources: Resources, replicas: int = 1) -> str:
        """Told again for a moment: the same is asked for a thousand jobs, and hundreds of nodes are looked through for it."""
        until, known = self._lacking.get((resources, replicas), (0.0, ""))
        if time.monotonic() >= until:
            known = lacking(await self._nodes(), self.catalog, self.kubernetes, resources, replicas)
            # what does not fit may in the next moment, when its node has come
            until = time.monotonic() + FITS_SECONDS if not known else 0.0
            self._lacking = {key: told for key, told in self._lacking.items() if told[0] > time.monotonic()}
            self._lacking[resources, replicas] = (until, known)
        return known

    def clusters(self) -> Sequence[str]:
        return self._others.names

    async def fits_anywhere(self, resources: Resources, replicas: int = 1) -> str:
        here = await self.fits(resources, replicas)
        if not here:
            return ""
        far = [lacking(nodes, self.catalog, self.kubernetes, resources, replicas) for nodes in await self._others.nodes()]
        return "" if "" in far else f"{here}; no other cluster can run it either" if far else here

    async def _nodes(self) -> list[Object]:
        await self.cluster()
        return list((await self._watches.objects(NODE, "", {})).values())

    async def measure(self, states: Sequence[State]) -> list[Use | None]:
        return await measure(await self.cluster(), states)

    async def accelerators(self) -> list[AcceleratorUse]:
        """None: what a card does is known only to the vendor's exporter on its node."""
        return []

    async def nodes(self) -> list[Node]:
        await self.cluster()
        return await self._recent_nodes.read()

    def decides(self, resource: str) -> bool:
        return can_be_guaranteed(resource)

    async def only_wait(self, states: Sequence[State]) -> list[bool]:
        await self.cluster()
        ours = {INSTANCE: self.kubernetes.instance}
        namespaces = list({state["namespace"] for state in states})
        looks = await asyncio.gather(*(self._watches.objects(JOBSET, one, ours) for one in namespaces), return_exceptions=True)
        # one that cannot be looked at now is not looked at more closely either
        watched = {one: look for one, look in zip(namespaces, looks, strict=True) if not isinstance(look, BaseException)}
        return [
            not state.get("anywhere") and (state["namespace"] not in watched or only_waits(watched[state["namespace"]].get(state["name"])))
            for state in states
        ]

    async def mirror(self, shares: Sequence[TenantShare]) -> Mapping[str, str]:
        return await self._others.mirror(await self.cluster(), self.catalog, shares)


async def workloads_of(cluster: Cluster, jobset: Object) -> list[Object]:
    """What Kueue has made for it."""
    return await cluster.list(WORKLOAD, jobset["metadata"]["namespace"], {JOB_UID: uid_of(jobset)}, cached=False)


def is_waiting(jobset: Object) -> bool:
    return bool(jobset["spec"].get("suspend")) and not jobset.get("status", {}).get("terminalState")


def only_waits(jobset: Object | None) -> bool:
    return jobset is not None and is_waiting(jobset) and STOPPED not in annotations_of(jobset)


def has_turn_here(jobset: Object) -> bool:
    return jobset["metadata"].get("labels", {}).get(QUEUE_LABEL) == QUEUE and annotations_of(jobset).get(PLACE) != AWAY


def is_stopped_before(found: Object, limit: datetime) -> bool:
    """Or ended in another cluster."""
    stopped = moment(annotations_of(found).get(STOPPED)) or over_since(found)
    return stopped is not None and stopped < limit


def _group(state: State) -> tuple[str, bool]:
    return state.get("namespace", ""), bool(state.get("port"))
