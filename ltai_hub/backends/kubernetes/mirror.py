"""Brings the cluster's tenants in line with the wish: look, compare, act. Level-triggered; a pass that finds all well only lists.

Ours is what carries the label of this installation and is no workload's; nothing else is ever changed or removed. What is missing
is created (much cheaper than apply), what differs in a field of ours is applied. A tenant that is no more loses its namespace
only when there is no volume in it; else the namespace is kept, labelled ``ltai.dev/removed``, and its queue is held, until an
administrator deletes the namespace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes import pull_secrets
from ltai_hub.backends.kubernetes.api import (
    ADMISSION_CHECK,
    CLAIM,
    CLUSTER_QUEUE,
    COHORT,
    LOCAL_QUEUE,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PRIORITY_CLASS,
    RESOURCE_FLAVOR,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    AlreadyThere,
    Cluster,
    Object,
    Resource,
)
from ltai_hub.backends.kubernetes.multikueue import NOTED as KUBECONFIG
from ltai_hub.backends.kubernetes.multikueue import (
    Others,
    far_wishes,
    make_note,
    make_secret,
    spread_wishes,
    version_of,
)
from ltai_hub.backends.kubernetes.names import INSTANCE, REMOVED, TENANT, WORKLOAD, cluster_name, tenant_name
from ltai_hub.backends.kubernetes.names import MIRRORED as FAR
from ltai_hub.backends.kubernetes.supply import kinds_there, supply_of
from ltai_hub.backends.kubernetes.tenants import Tree, Wish, key_of, make_held_queue, make_wishes
from ltai_hub.domain.catalog import Catalog
from ltai_hub.errors import Problem, TryLater
from ltai_hub.settings import KubernetesSettings
from ltai_hub.units import utc_now

# in the order in which they are removed
MIRRORED = (
    LOCAL_QUEUE,
    NETWORK_POLICY,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    CLUSTER_QUEUE,
    ADMISSION_CHECK,
    MULTIKUEUE_CONFIG,
    MULTIKUEUE_CLUSTER,
    COHORT,
    RESOURCE_FLAVOR,
    PRIORITY_CLASS,
    NAMESPACE,
)
AT_ONCE = 24
# so many requests in a row that the cluster could not do: it cannot do the others either
GIVE_UP_AFTER = 10
# as the API server refuses a change of them, the object is made anew
FIXED = {LOCAL_QUEUE.kind: ("spec", "clusterQueue"), ROLE_BINDING.kind: ("roleRef",)}
VISIBILITY = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.visibility.kueue.x-k8s.io"
HERE_ALONE = Others()
log = logging.getLogger("ltai.kubernetes")

Key = tuple[str, str, str]


class Verb(StrEnum):
    CREATE = "create"
    APPLY = "apply"
    PATCH = "patch"
    RENEW = "renew"
    DELETE = "delete"


@dataclass(frozen=True)
class Step:
    verb: Verb
    resource: Resource
    body: Object
    tenant: str = ""

    @property
    def what(self) -> str:
        return f"{self.resource.kind} {self.body['metadata']['name']}"


@dataclass(frozen=True)
class Found:
    """What is there of ours, and the nodes. ``kept``: tenants that are no more, whose namespaces have volumes or cannot go now.
    ``secrets``: those to be copied, ``missing`` which of them cannot be."""

    objects: Mapping[Key, tuple[Resource, Object]]
    nodes: Sequence[Object] = ()
    kept: frozenset[str] = frozenset()
    secrets: Sequence[Object] = ()
    missing: str = ""


@dataclass(frozen=True)
class Plan:
    """``troubles``: tenant → why nothing can be done for it now; "cluster NAME" beside the tenants."""

    steps: Sequence[Step]
    troubles: Mapping[str, str] = field(default_factory=dict)


async def mirror(
    cluster: Cluster, settings: KubernetesSettings, catalog: Catalog, shares: Sequence[TenantShare], others: Others = HERE_ALONE
) -> dict[str, str]:
    """Tenant → what is in the way; "" for what concerns all. Raises TryLater when the cluster does not answer at all."""
    found = await look(cluster, settings, shares)
    plan = await asyncio.to_thread(make_plan, settings, catalog, shares, found, utc_now(), others)
    return await carry_out(plan, cluster, settings)


async def mirror_far(
    cluster: Cluster, settings: KubernetesSettings, catalog: Catalog, shares: Sequence[TenantShare], found: Found
) -> dict[str, str]:
    """The same in another cluster, where jobs may run and nothing else."""
    plan = await asyncio.to_thread(make_plan, settings, catalog, [replace(one, guaranteed={}) for one in shares], found, utc_now(), None)
    return await carry_out(plan, cluster, settings)


async def carry_out(plan: Plan, cluster: Cluster, settings: KubernetesSettings) -> dict[str, str]:
    act = Act(cluster, settings.instance)
    for stage in stages(plan.steps):
        await act.all(stage)
    return {**plan.troubles, **act.troubles}


async def look(cluster: Cluster, settings: KubernetesSettings, shares: Sequence[TenantShare], home: Cluster | None = None) -> Found:
    """``home``: the platform's own cluster, where this is another one."""
    ours = f"{INSTANCE}={settings.instance},!{WORKLOAD},{'' if home else '!'}{FAR}"
    nodes, *lists = await asyncio.gather(cluster.list(NODE), *(cluster.list(resource, labels=ours) for resource in MIRRORED))
    objects = {key_of(resource, body): (resource, body) for resource, bodies in zip(MIRRORED, lists, strict=True) for body in bodies}
    kept = await _kept(cluster, lists[MIRRORED.index(NAMESPACE)], {share.tenant for share in shares})
    return Found(objects, nodes, kept, *await _secrets(home or cluster, settings))


async def _secrets(cluster: Cluster, settings: KubernetesSettings) -> tuple[Sequence[Object], str]:
    try:
        return await pull_secrets.read(cluster, settings), ""
    except Problem as problem:
        return (), problem.message


async def _kept(cluster: Cluster, namespaces: Sequence[Object], wished: set[str]) -> frozenset[str]:
    removed = {
        body["metadata"]["labels"].get(TENANT, ""): body["metadata"]["name"]
        for body in namespaces
        if not is_ending(body) and body["metadata"]["labels"].get(TENANT, "") not in wished
    }
    if not removed:
        return frozenset()
    # without it the API server cannot say what a namespace contains, and one that is deleted never ends
    if not await can_delete_namespaces(cluster):
        return frozenset(removed)
    claims = await asyncio.gather(*(cluster.list(CLAIM, namespace, cached=False) for namespace in removed.values()))
    return frozenset(tenant for tenant, those in zip(removed, claims, strict=True) if those)


async def can_delete_namespaces(cluster: Cluster) -> bool:
    try:
        service = await cluster.raw("GET", VISIBILITY)
    except Problem:
        return False
    conditions = {one["type"]: one["status"] for one in service.get("status", {}).get("conditions", [])}
    return conditions.get("Available") == "True"


# ---- what to do (pure)


def make_plan(
    settings: KubernetesSettings,
    catalog: Catalog,
    shares: Sequence[TenantShare],
    found: Found,
    now: datetime,
    others: Others | None = HERE_ALONE,
) -> Plan:
    """``others``: the other clusters; None where this is one of them."""
    supply, there = supply_of(found.nodes, catalog, settings), kinds_there(found.nodes, catalog, settings)
    tree = Tree(settings, catalog, shares, supply, there)
    own = far_wishes(tree) if others is None else [*make_wishes(tree), *spread_wishes(settings, catalog, shares, others)]
    wishes = {wish.key: wish for wish in [*own, *kept_wishes(tree, found, now)]}
    ending = {key for key, (_, body) in found.objects.items() if is_ending(body)}
    steps, troubles = [], tree.broken_promises()
    for key, wish in wishes.items():
        _, body = found.objects.get(key, (None, None))
        if key in ending:
            troubles[wish.tenant] = f"its {wish.resource.kind} {key[2]} is being deleted; it is made again when that has ended"
        elif body is None:
            steps.append(Step(Verb.CREATE, wish.resource, wish.body, wish.tenant))
        elif differs(body, wish.body):
            steps.append(Step(_verb(wish, body), wish.resource, wish.body, wish.tenant))
        elif wish.resource is CLUSTER_QUEUE and not has_check(wish.body) and (trouble := inactive(body)):
            troubles[wish.tenant] = trouble
    if found.missing:
        troubles[""] = found.missing
    steps += secret_steps(settings, shares, found)
    steps += kubeconfig_steps(settings, others or HERE_ALONE, found)
    if shares:  # a platform that knows no tenant at all is more likely to have lost its memory
        steps += [Step(Verb.DELETE, resource, body) for resource, body in superfluous(found, wishes)]
    # what lies in a namespace that is being deleted is made when it is there again
    return Plan([step for step in steps if _namespace_key(step) not in ending], troubles)


def secret_steps(settings: KubernetesSettings, shares: Sequence[TenantShare], found: Found) -> Iterable[Step]:
    version = pull_secrets.version_of(found.secrets)
    for share in shares:
        name = tenant_name(settings.instance, share.tenant)
        _, namespace = found.objects.get((NAMESPACE.kind, "", name), (None, None))
        if not pull_secrets.has(namespace, version):
            for body in pull_secrets.make_copies(settings, found.secrets, name):
                yield Step(Verb.APPLY, SECRET, body, share.tenant)
            yield Step(Verb.PATCH, NAMESPACE, pull_secrets.make_note(name, version), share.tenant)


def kubeconfig_steps(settings: KubernetesSettings, others: Others, found: Found) -> Iterable[Step]:
    """Kueue's own copies: made when they are not those noted, removed with the cluster."""
    wished = {cluster_name(settings.instance, one): (one, kubeconfig) for one, kubeconfig in others.kubeconfigs.items()}
    there = {key[2]: body for key, (resource, body) in found.objects.items() if resource is MULTIKUEUE_CLUSTER}
    for name, (one, kubeconfig) in wished.items():
        noted = there.get(name, {}).get("metadata", {}).get("annotations", {}).get(KUBECONFIG)
        if kubeconfig and noted != version_of(kubeconfig):
            yield Step(Verb.APPLY, SECRET, make_secret(settings, one, kubeconfig), f"cluster {one}")
            yield Step(Verb.PATCH, MULTIKUEUE_CLUSTER, make_note(name, kubeconfig), f"cluster {one}")
    for name in there.keys() - wished.keys():
        yield Step(Verb.DELETE, SECRET, {"metadata": {"name": name, "namespace": settings.kueue_namespace}})


def kept_wishes(tree: Tree, found: Found, now: datetime) -> list[Wish]:
    """Of tenants that are no more: the label on the namespace, and a queue that lets nothing begin."""
    if not tree.shares:
        return []
    wishes = []
    for resource, body in found.objects.values():
        tenant = body["metadata"]["labels"].get(TENANT, "")
        if resource is NAMESPACE and tenant in found.kept:
            since = body["metadata"]["labels"].get(REMOVED, f"{now:%Y-%m-%d}")
            labels = {INSTANCE: tree.settings.instance, TENANT: tenant, REMOVED: since}
            wishes += [Wish(resource, {"metadata": {"name": body["metadata"]["name"], "labels": labels}})]
            wishes += [Wish(CLUSTER_QUEUE, make_held_queue(tree, tenant))]
    return wishes


def superfluous(found: Found, wishes: Mapping[Key, Wish]) -> Iterable[tuple[Resource, Object]]:
    """What is ours and not wished; what lies in a namespace that is kept or goes anyway is left to it."""
    wished = {key[2] for key in wishes if key[0] == NAMESPACE.kind} - {key[2] for key, wish in wishes.items() if _is_removed(wish.body)}
    for key, (resource, body) in found.objects.items():
        if key not in wishes and not is_ending(body) and (not resource.namespaced or key[1] in wished):
            yield resource, body


def _is_removed(body: Object) -> bool:
    return REMOVED in body["metadata"].get("labels", {})


def _verb(wish: Wish, body: Object) -> Verb:
    path = FIXED.get(wish.resource.kind)
    return Verb.RENEW if path and _at(body, path) != _at(wish.body, path) else Verb.APPLY


def _at(body: Any, path: Sequence[str]) -> Any:
    for name in path:
        body = body.get(name, {})
    return body


def _namespace_key(step: Step) -> Key:
    return (NAMESPACE.kind, "", step.body["metadata"].get("namespace", ""))


def is_ending(body: Object) -> bool:
    return "deletionTimestamp" in body["metadata"]


def differs(body: Object, wished: Object) -> bool:
    """In a field of ours: labels and annotations others have added stay, and so do fields of the spec that we never set."""
    for name, value in wished.items():
        if name == "metadata":
            there = body["metadata"]
            if any(there.get(part, {}).get(key) != text for part in ("labels", "annotations") for key, text in value.get(part, {}).items()):
                return True
        elif name == "spec":
            if any(not same(body.get("spec", {}).get(key), part) for key, part in value.items()):
                return True
        elif not same(body.get(name), value):
            return True
    # it was kept after its tenant had gone, and the tenant is there again
    return _is_removed(body) and not _is_removed(wished)


def same(there: Any, wished: Any) -> bool:
    """The API server leaves empty parts out."""
    return there == wished or (not there and not wished)


def has_check(queue: Object) -> bool:
    """Another cluster that does not answer is told once for all, and to those whose jobs are there."""
    return "admissionChecksStrategy" in queue["spec"]


def inactive(queue: Object) -> str:
    active = next((one for one in queue.get("status", {}).get("conditions", []) if one["type"] == "Active"), None)
    if active is None or active["status"] == "True":
        return ""
    return f"the cluster lets nothing begin in its queue: {active.get('message', '')}"


def stages(steps: Sequence[Step]) -> list[list[Step]]:
    """Namespaces before what is in them, and notes of that after it; removals last, kind by kind."""
    make = [step for step in steps if step.verb not in (Verb.DELETE, Verb.PATCH)]
    first, second = ([step for step in make if step.resource.namespaced is inside] for inside in (False, True))
    notes = [step for step in steps if step.verb is Verb.PATCH]
    removals = ([s for s in steps if s.verb is Verb.DELETE and s.resource is resource] for resource in (*MIRRORED, SECRET))
    return [first, second, notes, *removals]


# ---- doing it


class Act:
    """Does steps, some at once. What fails for one tenant holds up no other."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._failed_in_a_row = 0
        self.troubles: dict[str, str] = {}

    async def all(self, steps: Sequence[Step]) -> None:
        todo = iter(steps)
        await asyncio.gather(*(self._work(todo) for _ in range(min(AT_ONCE, len(steps)))))

    async def _work(self, todo: Iterable[Step]) -> None:
        for step in todo:
            if self._failed_in_a_row < GIVE_UP_AFTER and (not step.tenant or step.tenant not in self.troubles):
                await self._try(step)

    async def _try(self, step: Step) -> None:
        try:
            await self._do(step)
        except Problem as problem:
            log.info("%s of %s: %s", step.verb, step.what, problem.message)
            self.troubles.setdefault(step.tenant, problem.message)
            self._failed_in_a_row += isinstance(problem, TryLater)
            if self._failed_in_a_row >= GIVE_UP_AFTER:
                self.troubles[""] = problem.message
        else:
            self._failed_in_a_row = 0

    async def _do(self, step: Step) -> None:
        resource, metadata = step.resource, step.body["metadata"]
        if step.verb is Verb.APPLY:
            await self._cluster.apply(resource, step.body)
        if step.verb is Verb.PATCH:
            await self._cluster.patch(resource, metadata.get("namespace", ""), metadata["name"], step.body)
        if step.verb in (Verb.DELETE, Verb.RENEW):
            await self._cluster.delete(resource, metadata.get("namespace", ""), metadata["name"])
        if step.verb in (Verb.CREATE, Verb.RENEW):
            await self._create(step)
        if step.verb is not Verb.CREATE:
            log.info("%s %s", step.verb, step.what)

    async def _create(self, step: Step) -> None:
        try:
            full = {"apiVersion": step.resource.api_version, "kind": step.resource.kind, **step.body}
            await self._cluster.create(step.resource, full)
        except AlreadyThere as problem:
            metadata = step.body["metadata"]
            there = await self._cluster.find(step.resource, metadata.get("namespace", ""), metadata["name"])
            if there is not None and there["metadata"].get("labels", {}).get(INSTANCE) != self._instance:
                raise Problem(
                    f"the cluster has a {step.what} that is not of this installation; remove it, or hand it over with the label "
                    f"{INSTANCE}={self._instance}"
                ) from problem
