"""Environments as pods in the namespace of their tenant.

KubeSpawner brings the settings an operator knows (``extra_labels``, ``extra_pod_config``, ``modify_pod_hook`` …); the pod itself is
made of the parts that jobs and endpoints have too. A pod that waits in the queue or starts is not bound to this process: a hub
that comes back takes it up again by the row's ``backend_state``, {"namespace", "pod", "position"}.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from jupyterhub.utils import maybe_future
from kubespawner import KubeSpawner
from traitlets import Integer, default

from ltai_hub.backends.kubernetes.api import CLAIM, POD, AlreadyThere, Cluster, Object, Objects
from ltai_hub.backends.kubernetes.capacity import lacking
from ltai_hub.backends.kubernetes.environments import environment_name, make_pod
from ltai_hub.backends.kubernetes.names import tenant_name
from ltai_hub.backends.kubernetes.observe import is_gated, started_at
from ltai_hub.backends.kubernetes.pods import MAIN, Blueprint, make_blueprint
from ltai_hub.domain.quotas import can_be_guaranteed, resource_names
from ltai_hub.domain.workloads import Phase, Resources
from ltai_hub.environments.store import Environment
from ltai_hub.errors import Problem, TryLater
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.kube import kube
from ltai_hub.hub.mixin import STOP_SECONDS, DidNotStart, PlatformSpawner, Seen, workload_name
from ltai_hub.hub.podstate import (
    address_of,
    env_of,
    has_ended,
    is_leaving,
    seen_of,
    seen_of_events,
    seen_of_gone,
    step_of,
    what_fails,
    why_hopeless,
    why_it_leaves,
)
from ltai_hub.hub.podwatch import PodWatch
from ltai_hub.hub.progress import Step
from ltai_hub.hub.records import Records
from ltai_hub.units import utc_now

# a start that takes longer tells why, and looks again at it so often
FIRST_SECONDS, LONGEST_SECONDS = 0.5, 2.0
# more than its grace: Kueue or the node may be away, and the hub does not wait for them
GONE_SECONDS = 10.0
PENDING_SECONDS = 0.05


class KubernetesSpawner(PlatformSpawner, KubeSpawner):  # type: ignore[misc]  # neither has types
    failing_seconds = Integer(
        60, config=True, help="How long a node may try in vain, for example to pull an image from a registry that does not answer."
    )

    outlives_hub = True
    builds_images = False
    # what the row was told last, and the task that sees to an end nobody here asked for
    _told: tuple[Phase, str, dict[str, Any] | None] | None = None
    _leaving: asyncio.Task[None] | None = None

    @default("cmd")  # type: ignore[untyped-decorator]  # traitlets has no types
    def _cmd(self) -> list[str]:
        return ["lab-start"]

    @default("delete_pvc")  # type: ignore[untyped-decorator]  # traitlets has no types
    def _delete_pvc(self) -> bool:
        """A person's files stay when their account of the hub goes."""
        return False

    @default("platform_url")  # type: ignore[untyped-decorator]  # traitlets has no types
    def _platform_url(self) -> str:
        settings = hub_core().settings
        return settings.inside_url or settings.public_url

    # ---- PlatformSpawner's seam

    async def launch(self, row: Environment) -> tuple[str, int]:
        workload = replace(self._workload(row, tuple(self.cmd)), grace_seconds=STOP_SECONDS)
        plan = make_blueprint(workload, kube().settings, hub_core().catalog, hub_core().settings.folder.courses)
        self.namespace, self.pod_name = plan.namespace, environment_name(workload.name)
        # what the row says already need not be written again
        self._told = self._told or (row.phase, row.reason, row.backend_state)
        await self._remember(row.phase, row.reason, row.position)
        pod = await self._made(plan)
        pod = await self._running(pod)
        self.began_at = started_at(pod)
        self.told.tell(Step("waiting", 80, "Waiting for its first answer"))
        await self._answered(address_of(pod), self.port)
        await self._watch_for_its_end()
        # it may have been told to end a moment ago
        self._on_change()
        return address_of(pod), self.port

    def place(self, row: Environment) -> dict[str, Any]:
        """Written down before it is made: whatever happens then, it is found again or removed."""
        return {"namespace": tenant_name(kube().settings.instance, row.tenant), "pod": environment_name(workload_name(row))}

    def clear_state(self) -> None:
        super().clear_state()
        self._told = None

    async def fits(self, resources: Resources) -> str:
        # a node may have come meanwhile
        return lack_of(await kube().nodes(), resources) and lack_of(await kube().nodes(fresh=True), resources)

    @classmethod
    def left_to_queue(cls) -> frozenset[str]:
        return frozenset(filter(can_be_guaranteed, resource_names(hub_core().catalog.accelerators)))

    async def halt(self, now: bool) -> None:
        if self.backend_state is not None:
            await end_pod(self.backend_state, 0 if now else STOP_SECONDS)

    @classmethod
    async def end_stray(cls, state: dict[str, Any] | None) -> None:
        if state is not None:
            await end_pod(state, 0)

    async def look(self) -> Seen:
        if self.backend_state is None:
            return Seen(0)
        namespace, name = self.backend_state["namespace"], self.backend_state["pod"]
        pods = await watched(namespace)
        if pod := pods.find(name):
            return seen_of(pod, utc_now())
        if gone := pods.find_gone(name):
            return seen_of_gone(gone)
        return seen_of_events(await kube().events(namespace, "involvedObject.name", name))

    async def poll(self) -> int | None:
        # known to run since before this hub
        await self._watch_for_its_end()
        return await super().poll()

    @classmethod
    async def sweep(cls) -> None:
        there = [(watch.namespace, name) for watch in kube().watches for name in watch.names]
        core = hub_core()
        rows = await in_thread(Records(core.database, core.catalog).unfinished)
        kept = {(row.backend_state["namespace"], row.backend_state["pod"]) for row in rows if row.backend_state}
        for namespace, name in there:
            if (namespace, name) not in kept:
                await remove({"namespace": namespace, "pod": name})

    async def record_end(self) -> None:
        await super().record_end()
        if self.backend_state is not None:
            await remove(self.backend_state)

    # ---- making it

    async def _made(self, plan: Blueprint) -> Object:
        """The pod, made now or, before the hub went away, then. Raises TryLater.

        Its volumes at the same time: it does not start before they are there, and they mostly are.
        """
        cluster = await kube().cluster()
        ensured = asyncio.gather(*(cluster.find_or_create(CLAIM, claim) for claim in plan.claims))
        try:
            return await self._made_or_found(cluster, plan)
        finally:
            await ensured

    async def _made_or_found(self, cluster: Cluster, plan: Blueprint) -> Object:
        try:
            pod = await cluster.create(POD, await self._manifest(plan))
        except AlreadyThere:
            found = await cluster.find(POD, plan.namespace, self.pod_name)
            if found is None:
                raise TryLater("its pod has just gone; it is made again", after=1.0) from None
            # the token it was made with goes on, JupyterHub takes it over
            pod, self.api_token = found, env_of(found, "JUPYTERHUB_API_TOKEN")
        (await watched(plan.namespace)).note(pod)
        return pod

    async def _manifest(self, plan: Blueprint) -> Object:
        """With what the operator's configuration adds; ``modify_pod_hook`` is given the plain manifest, not a model."""
        pod = make_pod(plan, self.port)
        pod["metadata"]["labels"] |= self._expand_all(self.extra_labels)
        pod["metadata"]["annotations"] |= self._expand_all(self.extra_annotations)
        pod["spec"] |= self._expand_all(self.extra_pod_config)
        main = next(container for container in pod["spec"]["containers"] if container["name"] == MAIN)
        main |= self.extra_container_config
        if self.modify_pod_hook:
            pod = await maybe_future(self.modify_pod_hook(self, pod))
        return pod

    # ---- waiting for it

    async def _running(self, pod: Object) -> Object:
        """Queued, placed, prepared, started. Raises DidNotStart."""
        pods = await watched(self.namespace)
        pause = FIRST_SECONDS
        fails_since: float | None = None
        while True:
            found = pods.find(self.pod_name)
            if found is None or has_ended(found) or is_leaving(found):
                seen = await self.look()
                raise DidNotStart(seen.reason or (why_it_leaves(found) if found else "") or f"it ended with exit code {seen.code}")
            if why := why_hopeless(found):
                raise DidNotStart(why)
            if why := what_fails(found):
                fails_since = fails_since or time.monotonic()
                if time.monotonic() - fails_since > self.failing_seconds:
                    raise DidNotStart(why)
            if address_of(found):
                # one that ran already when the hub went away runs on
                if self._told is None or self._told[0] is not Phase.RUNNING:
                    await self._remember(Phase.STARTING)
                return found
            if not await pods.change(self.pod_name, pause):
                pause = min(2 * pause, LONGEST_SECONDS)
                await self._explain(found)

    async def _explain(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if is_gated(pod):
            standing = (await (await kube().queue()).standings(self.namespace, [uid]))[uid]
            place = f", place {standing.position}" if standing.position else ""
            self.told.tell(Step("queued", 10, f"Waiting{place}: {standing.reason}", standing.position, standing.reason))
            await self._remember(Phase.QUEUED, standing.reason, standing.position)
        else:
            step = step_of(pod, await kube().events(self.namespace, "involvedObject.uid", uid))
            self.told.tell(step)
            await self._remember(Phase.STARTING, step.detail)

    async def _remember(self, phase: Phase, reason: str = "", position: int | None = None) -> None:
        state: dict[str, Any] = {"namespace": self.namespace, "pod": self.pod_name}
        if position:
            state["position"] = position
        told = (phase, reason, state)
        if told != self._told:
            self._told, self.backend_state = told, state
            await self.record(phase, reason)

    # ---- its end

    async def _watch_for_its_end(self) -> None:
        if self.backend_state is not None:
            (await watched(self.backend_state["namespace"])).follow(self.backend_state["pod"], self._on_change)

    def _on_change(self) -> None:
        """At every change of the pod: an end that nobody here asked for is told at once, not at the next poll."""
        if self.ending is None and (self._leaving is None or self._leaving.done()):
            pod = self._pod()
            if pod is None or has_ended(pod) or is_leaving(pod):
                self._leaving = asyncio.create_task(self._leave(), name=f"end of {self.pod_name}")

    async def _leave(self) -> None:
        while self.pending or self.server:
            pod = self._pod()
            if self.pending:
                await asyncio.sleep(PENDING_SECONDS)
            elif pod is None or has_ended(pod):
                await self.poll_and_notify()
                return
            elif not is_leaving(pod):  # another one, started meanwhile
                return
            else:
                if self.ending is None:
                    self.ending = (Phase.STOPPED, why_it_leaves(pod))
                    await self.record(Phase.STOPPING, self.ending[1])
                await (await watched(self.namespace)).change(self.pod_name, LONGEST_SECONDS)

    def _pod(self) -> Object | None:
        watch = next((w for w in kube().watches if self.backend_state and w.namespace == self.backend_state["namespace"]), None)
        return watch.find(self.backend_state["pod"]) if watch and self.backend_state else None


def lack_of(nodes: Objects, resources: Resources) -> str:
    """Why none of the nodes will ever do; "" where they are not known."""
    return lacking(nodes, hub_core().catalog, kube().settings, resources, 1) if nodes else ""


async def watched(namespace: str) -> PodWatch:
    """However long the API server is away."""
    while True:
        try:
            return await kube().pods(namespace)
        except TryLater as later:
            await asyncio.sleep(later.after)


async def end_pod(state: dict[str, Any], grace_seconds: int) -> None:
    """Deletes it and waits until it has ended. An API server that is away is waited for: else the pod would be left behind."""
    namespace, name = state["namespace"], state["pod"]
    pods = await watched(namespace)
    while True:
        try:
            if not await pods.cluster.delete(POD, namespace, name, grace_seconds=grace_seconds):
                return
            break
        except TryLater as later:
            await asyncio.sleep(later.after)
    until = asyncio.get_running_loop().time() + grace_seconds + GONE_SECONDS
    while (pod := pods.find(name)) and not has_ended(pod) and (left := until - asyncio.get_running_loop().time()) > 0:
        await pods.change(name, left)


async def remove(state: dict[str, Any]) -> None:
    """What is left of one that has ended."""
    pods = await watched(state["namespace"])
    try:
        await pods.cluster.delete(POD, state["namespace"], state["pod"])
    except Problem:  # the next sweep finds it
        return
    pods.forget(state["pod"])
