"""The tenants of a cluster as manifests: what each gets, in Kueue's terms. Pure.

::

    Cohort INSTANCE--all                what the nodes have and nobody is guaranteed
     ├─ ClusterQueue of a tenant        nominal = guaranteed, may borrow up to its limit
     └─ Cohort of a tenant with others below it
         ├─ its own ClusterQueue        everything it uses is borrowed from its cohort
         └─ those of the tenants below, and so on

A cohort's nominal quota is what its tenant is guaranteed beyond the guarantees inside; what a cohort may use with all that is in
it is the sum of the nominal quotas inside and what it may borrow, which is therefore the tenant's limit minus these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import (
    CLUSTER_QUEUE,
    COHORT,
    LOCAL_QUEUE,
    NAMESPACE,
    NETWORK_POLICY,
    PRIORITY_CLASS,
    RESOURCE_FLAVOR,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Object,
    Resource,
)
from ltai_hub.backends.kubernetes.names import (
    ACCELERATOR as TAINT,
)
from ltai_hub.backends.kubernetes.names import (
    ACCOUNT,
    DOMAIN,
    QUEUE,
    REMOVED,
    TENANT,
    flavor_name,
    installation_labels,
    label_value,
    priority_class,
    root_cohort,
    tenant_name,
)
from ltai_hub.backends.kubernetes.network import make_policy
from ltai_hub.domain.catalog import Catalog, KubernetesFlavor
from ltai_hub.domain.quotas import ACCELERATOR, guaranteed_inside, say
from ltai_hub.domain.workloads import Kind
from ltai_hub.settings import KubernetesSettings

Quota = Callable[[str], Object]
Inside = Callable[[KubernetesSettings, TenantShare], "list[Wish]"]
DEFAULT = "default"
# every pod has a limit of it, and Kueue admits only what its queue covers; the platform counts storage itself
STORAGE = "ephemeral-storage"
PLENTY = "1E"
VALUES = {Kind.ENVIRONMENT: 1000, Kind.ENDPOINT: 900, Kind.JOB: 100}
# Kueue takes 16
MOST_GROUPS = 15
DISPLAY_NAME = f"{DOMAIN}/name"


@dataclass(frozen=True)
class Group:
    """Resources of pods that are handed out together, by the kinds that have them."""

    resources: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Wish:
    """One object that should be there. ``tenant`` is whose trouble it is when it cannot be made; "": everybody's."""

    resource: Resource
    body: Object
    tenant: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return key_of(self.resource, self.body)


def key_of(resource: Resource, body: Object) -> tuple[str, str, str]:
    return (resource.kind, body["metadata"].get("namespace", ""), body["metadata"]["name"])


@dataclass(frozen=True)
class Tree:
    """The tenants with sums. ``capacity``: what the nodes have, by the names of quotas. ``there``: kinds of accelerators they have."""

    settings: KubernetesSettings
    catalog: Catalog
    shares: Sequence[TenantShare]
    capacity: Mapping[str, float] = field(default_factory=dict)
    there: frozenset[str] = frozenset()
    # of the tree of what other clusters have: ends the names of its queues and cohorts and tells its flavors apart
    suffix: str = ""

    def queue(self, tenant: str) -> str:
        """Name of the tenant's ClusterQueue and Cohort."""
        return tenant_name(self.settings.instance, tenant + self.suffix)

    @property
    def root(self) -> str:
        return f"{self.settings.instance}{self.suffix}" if self.suffix else root_cohort(self.settings.instance)

    def flavor(self, kind: str = DEFAULT) -> str:
        return flavor_name(f"{self.settings.instance}{self.suffix}", kind)

    @cached_property
    def kinds(self) -> dict[str, KubernetesFlavor]:
        """Those of the catalogue the cluster has: every kind is a dozen lines in every queue, and what nobody has is refused earlier."""
        return {kind: row for kind, row in kinds_of(self.catalog).items() if kind in self.there}

    @cached_property
    def groups(self) -> list[Group]:
        return [Group(("cpu", "memory", STORAGE), (DEFAULT,)), *make_groups(self.kinds)]

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(share.tenant for share in self.shares)

    @cached_property
    def parents(self) -> frozenset[str]:
        """Tenants with others below them."""
        return frozenset(share.parent for share in self.shares if share.parent is not None)

    @cached_property
    def children(self) -> dict[str, list[str]]:
        below: dict[str, list[str]] = {}
        for share in self.shares:
            if share.parent is not None:
                below.setdefault(share.parent, []).append(share.tenant)
        return below

    @cached_property
    def inside(self) -> dict[str, dict[str, float]]:
        """Resource → tenant → what is guaranteed to it and to those below it together."""
        above = {share.tenant: share.parent for share in self.shares}
        names = {resource for share in self.shares for resource in share.guaranteed}
        return {
            name: guaranteed_inside(above, {share.tenant: share.guaranteed.get(name, 0) for share in self.shares}) for name in sorted(names)
        }

    def guaranteed(self, resource: str, tenant: str) -> float:
        return self.inside.get(resource, {}).get(tenant, 0)

    def promised(self, resource: str) -> float:
        """To all together."""
        return sum(self.guaranteed(resource, share.tenant) for share in self.shares if share.parent not in self.known)

    def broken_promises(self) -> dict[str, str]:
        """Tenant → why not all of its guarantee can be kept."""
        found = {}
        for resource in self.inside:
            promised, there = self.promised(resource), self.capacity.get(resource, 0)
            if promised > there:
                sentence = f"{say(resource, promised)} are guaranteed in all and the cluster has {say(resource, there)}; guarantee less"
                found.update({share.tenant: sentence for share in self.shares if share.guaranteed.get(resource)})
        return found


def make_wishes(tree: Tree, inside: Inside | None = None) -> list[Wish]:
    """Everything that should be there, those first that others need. ``inside``: what a tenant's namespace has."""
    settings = tree.settings
    return [
        *(Wish(PRIORITY_CLASS, make_priority(settings.instance, kind)) for kind in Kind),
        *queue_wishes(tree),
        *(Wish(NAMESPACE, make_namespace(settings, share), share.tenant) for share in tree.shares),
        *(wish for share in tree.shares for wish in (inside or inside_namespace)(settings, share)),
    ]


def queue_wishes(tree: Tree) -> list[Wish]:
    return [
        *(Wish(RESOURCE_FLAVOR, body) for body in make_flavors(tree)),
        Wish(COHORT, make_root(tree)),
        *(Wish(COHORT, make_cohort(tree, share), share.tenant) for share in tree.shares if share.tenant in tree.parents),
        *(Wish(CLUSTER_QUEUE, make_queue(tree, share), share.tenant) for share in tree.shares),
    ]


def inside_namespace(settings: KubernetesSettings, share: TenantShare) -> list[Wish]:
    namespace = tenant_name(settings.instance, share.tenant)
    labels = tenant_labels(settings, share.tenant)
    objects: list[tuple[Resource, Object]] = [
        (SERVICE_ACCOUNT, make_account(namespace, labels)),
        *((ROLE_BINDING, make_binding(settings, namespace, labels, account)) for account in ("hub", "services")),
        (NETWORK_POLICY, make_policy(settings, namespace, labels)),
        (LOCAL_QUEUE, make_local_queue(QUEUE, namespace, labels, namespace)),
    ]
    return [Wish(resource, body, share.tenant) for resource, body in objects]


def make_account(namespace: str, labels: Mapping[str, str]) -> Object:
    return {"metadata": make_metadata(ACCOUNT, labels, namespace), "automountServiceAccountToken": False}


def make_local_queue(name: str, namespace: str, labels: Mapping[str, str], queue: str) -> Object:
    return {"metadata": make_metadata(name, labels, namespace), "spec": {"clusterQueue": queue}}


# ---- what all share


def make_priority(instance: str, kind: Kind) -> Object:
    return {"metadata": make_metadata(priority_class(instance, kind), installation_labels(instance)), "value": VALUES[kind]}


def make_flavors(tree: Tree) -> list[Object]:
    instance = tree.settings.instance
    labels = installation_labels(instance)
    plain: Object = {"metadata": make_metadata(tree.flavor(), labels), "spec": {"nodeLabels": {}, "nodeTaints": [], "tolerations": []}}
    return [plain, *(_kind_flavor(tree.flavor(kind), labels, kind, row) for kind, row in tree.kinds.items())]


def _kind_flavor(name: str, labels: Mapping[str, str], kind: str, row: KubernetesFlavor) -> Object:
    taint = {"key": TAINT, "value": label_value(kind), "effect": "NoSchedule"}
    spec: Object = {"nodeLabels": dict(row.node_selector), "nodeTaints": [taint], "tolerations": []}
    return {"metadata": make_metadata(name, labels), "spec": spec}


def kinds_of(catalog: Catalog) -> dict[str, KubernetesFlavor]:
    """Kind of accelerator → what its pods ask for, of those a cluster can have. Rows of one kind differ in amounts only."""
    found: dict[str, KubernetesFlavor] = {}
    for row in catalog.flavors.values():
        if row.resources.accelerator_count and row.kubernetes.resource_name:
            found.setdefault(row.resources.accelerator, row.kubernetes)
    return found


def make_groups(kinds: Mapping[str, KubernetesFlavor]) -> list[Group]:
    """Kinds whose pods ask for the same resource lie in one group: Kueue has every resource in one only."""
    groups: list[Group] = []
    for kind, row in kinds.items():
        new = Group((row.resource_name, *sorted(row.resources)), (kind,))
        touching = [group for group in groups if set(group.resources) & set(new.resources)]
        groups = [group for group in groups if group not in touching] + [_together([*touching, new])]
    return groups if len(groups) < MOST_GROUPS else [*groups[: MOST_GROUPS - 1], _together(groups[MOST_GROUPS - 1 :])]


def _together(groups: Sequence[Group]) -> Group:
    return Group(
        tuple(dict.fromkeys(name for group in groups for name in group.resources)),
        tuple(dict.fromkeys(kind for group in groups for kind in group.kinds)),
    )


def make_root(tree: Tree) -> Object:
    """Lends what is guaranteed to nobody; the guaranteed parts lie with those who have them, and are lent from there."""

    def quota(resource: str) -> Object:
        return {"nominalQuota": quantity(resource, max(tree.capacity.get(resource, 0) - tree.promised(resource), 0))}

    spec = {"resourceGroups": _resource_groups(tree, quota, {"nominalQuota": PLENTY})}
    return {"metadata": make_metadata(tree.root, installation_labels(tree.settings.instance)), "spec": spec}


# ---- one tenant


def make_cohort(tree: Tree, share: TenantShare) -> Object:
    def quota(resource: str) -> Object:
        inside = tree.guaranteed(resource, share.tenant)
        below = sum(tree.guaranteed(resource, child) for child in tree.children[share.tenant])
        return _quota(resource, inside - below, share.limits.get(resource), inside)

    spec = {
        "parentName": _cohort_above(tree, share),
        "fairSharing": {"weight": str(share.weight)},
        "resourceGroups": _resource_groups(tree, quota, {"nominalQuota": "0"}),
    }
    return {"metadata": make_metadata(tree.queue(share.tenant), tenant_labels(tree.settings, share.tenant)), "spec": spec}


def make_queue(tree: Tree, share: TenantShare) -> Object:
    is_parent = share.tenant in tree.parents
    name, namespace = tree.queue(share.tenant), tenant_name(tree.settings.instance, share.tenant)

    def quota(resource: str) -> Object:
        guaranteed = share.guaranteed.get(resource, 0)
        # of a tenant with others below it its cohort has the guarantee and the limit
        return _quota(resource, 0, None, 0) if is_parent else _quota(resource, guaranteed, share.limits.get(resource), guaranteed)

    spec = {
        "cohortName": name if is_parent else _cohort_above(tree, share),
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "queueingStrategy": "BestEffortFIFO",
        "fairSharing": {"weight": "1" if is_parent else str(share.weight)},
        # what was lent comes back by stopping whoever borrowed it
        "preemption": {"withinClusterQueue": "LowerPriority", "reclaimWithinCohort": "Any", "borrowWithinCohort": {"policy": "Never"}},
        "resourceGroups": _resource_groups(tree, quota, {"nominalQuota": "0"}),
    }
    return {"metadata": make_metadata(name, tenant_labels(tree.settings, share.tenant)), "spec": spec}


def make_held_queue(tree: Tree, tenant: str) -> Object:
    """Of a tenant that is no more but whose namespace is kept: what runs there runs on, and nothing new begins."""
    body = make_queue(tree, TenantShare(tenant, None, ""))
    body["metadata"]["labels"] |= {REMOVED: "queue"}
    body["spec"]["stopPolicy"] = "Hold"
    return body


def _cohort_above(tree: Tree, share: TenantShare) -> str:
    return tree.queue(share.parent) if share.parent in tree.known and share.parent else tree.root


def _quota(resource: str, nominal: float, limit: float | None, inside: float) -> Object:
    """``inside``: all nominal quotas that count against the limit."""
    quota: Object = {"nominalQuota": quantity(resource, nominal)}
    return quota if limit is None else {**quota, "borrowingLimit": quantity(resource, max(limit - inside, 0))}


def _resource_groups(tree: Tree, quota: Quota, other: Object) -> list[Object]:
    """``quota`` says it of a resource by its name in quotas; ``other`` is what quotas do not name."""
    return [
        {
            "coveredResources": list(group.resources),
            "flavors": [
                {
                    "name": tree.flavor(kind),
                    "resources": [{"name": name, **_one(tree, kind, name, quota, other)} for name in group.resources],
                }
                for kind in group.kinds
            ],
        }
        for group in tree.groups
    ]


def _one(tree: Tree, kind: str, name: str, quota: Quota, other: Object) -> Object:
    if kind == DEFAULT:
        return other if name == STORAGE else quota(name)
    row = tree.kinds[kind]
    if name == row.resource_name:
        return quota(ACCELERATOR + kind)
    # what comes with each accelerator is as much as there are accelerators; what others of the group have this one has not
    return other if name in row.resources else {"nominalQuota": "0"}


def quantity(resource: str, amount: float) -> str:
    """As the API server writes it, so that what it returns is equal: 2500m, 16, 2k."""
    if resource == "cpu" and round(amount * 1000) % 1000:
        return f"{round(amount * 1000)}m"
    number = round(amount)
    for suffix in ("", "k", "M", "G", "T", "P"):
        if number % 1000 or not number:
            return f"{number}{suffix}"
        number //= 1000
    return f"{number}E"


def make_namespace(settings: KubernetesSettings, share: TenantShare) -> Object:
    labels = tenant_labels(settings, share.tenant) | {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"metadata": make_metadata(tenant_name(settings.instance, share.tenant), labels) | {"annotations": {DISPLAY_NAME: share.name}}}


def make_binding(settings: KubernetesSettings, namespace: str, labels: Mapping[str, str], account: str) -> Object:
    """The hub and the services may do here what the chart's role of that name says."""
    return {
        "metadata": make_metadata(account, labels, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{settings.instance}-{account}-workloads"},
        "subjects": [{"kind": "ServiceAccount", "name": f"{settings.instance}-{account}", "namespace": settings.namespace}],
    }


def tenant_labels(settings: KubernetesSettings, tenant: str) -> dict[str, str]:
    return installation_labels(settings.instance) | {TENANT: tenant}


def make_metadata(name: str, labels: Mapping[str, str], namespace: str = "") -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)}
