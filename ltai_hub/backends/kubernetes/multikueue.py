"""The tenants' way into other clusters, as manifests. Pure.

In the platform's own cluster a second tree of queues stands beside the first: its root has what the other clusters have, and all of
its ClusterQueues carry the AdmissionCheck of MultiKueue, which hands what they admit to another cluster. Only jobs come there: they
name the LocalQueue ``spread``. In each other cluster the tenants are as at home, with what that cluster has, and there ``spread`` leads
into the tenant's one queue. What is guaranteed is so at home only; a limit holds at home, in each other cluster, and for all other
clusters together.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.api import (
    ADMISSION_CHECK,
    LOCAL_QUEUE,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
    Object,
    Resource,
)
from ltai_hub.backends.kubernetes.names import (
    DOMAIN,
    MIRRORED,
    SPREAD,
    cluster_name,
    clusters_name,
    installation_labels,
    tenant_name,
)
from ltai_hub.backends.kubernetes.network import make_far_policy
from ltai_hub.backends.kubernetes.supply import kinds_there, supply_of
from ltai_hub.backends.kubernetes.tenants import (
    Tree,
    Wish,
    make_account,
    make_local_queue,
    make_metadata,
    make_wishes,
    queue_wishes,
    tenant_labels,
)
from ltai_hub.domain.catalog import Catalog
from ltai_hub.settings import KubernetesSettings

CONTROLLER = "kueue.x-k8s.io/multikueue"
SUFFIX = f"--{SPREAD}"
# on a MultiKueueCluster: which kubeconfig its Secret has; nobody may list Secrets
NOTED = f"{DOMAIN}/kubeconfig"


@dataclass(frozen=True)
class Others:
    """The other clusters. ``kubeconfigs``: name → contents, empty where it cannot be read now; ``nodes``: of all that were ever seen."""

    kubeconfigs: Mapping[str, bytes] = field(default_factory=dict)
    nodes: Sequence[Object] = ()


def make_spread_tree(settings: KubernetesSettings, catalog: Catalog, shares: Sequence[TenantShare], nodes: Sequence[Object]) -> Tree:
    supply, there = supply_of(nodes, catalog, settings), kinds_there(nodes, catalog, settings)
    return Tree(settings, catalog, [replace(share, guaranteed={}) for share in shares], supply, there, SUFFIX)


def spread_wishes(settings: KubernetesSettings, catalog: Catalog, shares: Sequence[TenantShare], others: Others) -> list[Wish]:
    """In the platform's own cluster; nothing when there are no others."""
    if not others.kubeconfigs:
        return []
    tree = make_spread_tree(settings, catalog, shares, others.nodes)
    queues = [with_check(wish, settings.instance) for wish in queue_wishes(tree)]
    return [*check_wishes(settings, others), *queues, *(Wish(LOCAL_QUEUE, make_way(tree, share), share.tenant) for share in shares)]


def with_check(wish: Wish, instance: str) -> Wish:
    if wish.resource.kind != "ClusterQueue":
        return wish
    checks = {"admissionChecks": [{"name": clusters_name(instance)}]}
    return replace(wish, body={**wish.body, "spec": {**wish.body["spec"], "admissionChecksStrategy": checks}})


def make_way(tree: Tree, share: TenantShare) -> Object:
    namespace = tenant_name(tree.settings.instance, share.tenant)
    return make_local_queue(SPREAD, namespace, tenant_labels(tree.settings, share.tenant), tree.queue(share.tenant))


def check_wishes(settings: KubernetesSettings, others: Others) -> list[Wish]:
    instance, labels = settings.instance, installation_labels(settings.instance)
    name = clusters_name(instance)
    parameters = {"apiGroup": MULTIKUEUE_CONFIG.group, "kind": MULTIKUEUE_CONFIG.kind, "name": name}
    objects: list[tuple[Resource, Object]] = [
        *((MULTIKUEUE_CLUSTER, make_cluster(settings, one)) for one in others.kubeconfigs),
        (
            MULTIKUEUE_CONFIG,
            {"metadata": make_metadata(name, labels), "spec": {"clusters": [cluster_name(instance, one) for one in others.kubeconfigs]}},
        ),
        (
            ADMISSION_CHECK,
            {"metadata": make_metadata(name, labels), "spec": {"controllerName": CONTROLLER, "parameters": parameters}},
        ),
    ]
    return [Wish(resource, body) for resource, body in objects]


def make_cluster(settings: KubernetesSettings, cluster: str) -> Object:
    name = cluster_name(settings.instance, cluster)
    source = {"kubeConfig": {"locationType": "Secret", "location": name}}
    return {"metadata": make_metadata(name, installation_labels(settings.instance)), "spec": {"clusterSource": source}}


def make_note(name: str, kubeconfig: bytes) -> Object:
    return {"metadata": {"name": name, "annotations": {NOTED: version_of(kubeconfig)}}}


def make_secret(settings: KubernetesSettings, cluster: str, kubeconfig: bytes) -> Object:
    """As Kueue wants it: in its own namespace, everything inside."""
    labels = installation_labels(settings.instance)
    metadata = make_metadata(cluster_name(settings.instance, cluster), labels, settings.kueue_namespace)
    return {"metadata": metadata, "type": "Opaque", "data": {"kubeconfig": base64.b64encode(kubeconfig).decode()}}


def version_of(kubeconfig: bytes) -> str:
    """Another one when it changed; it does not tell it."""
    return hashlib.sha256(kubeconfig).hexdigest()[:16]


# ---- in another cluster


def far_wishes(tree: Tree) -> list[Wish]:
    """What another cluster should have."""
    return [marked(wish) for wish in make_wishes(tree, inside_far_namespace)]


def inside_far_namespace(settings: KubernetesSettings, share: TenantShare) -> list[Wish]:
    """Nothing of the platform is there, so nobody calls in; environments and endpoints never run there."""
    namespace, labels = tenant_name(settings.instance, share.tenant), tenant_labels(settings, share.tenant)
    objects: list[tuple[Resource, Object]] = [
        (SERVICE_ACCOUNT, make_account(namespace, labels)),
        (NETWORK_POLICY, make_far_policy(settings, namespace, labels)),
        (LOCAL_QUEUE, make_local_queue(SPREAD, namespace, labels, namespace)),
    ]
    return [Wish(resource, body, share.tenant) for resource, body in objects]


def marked(wish: Wish) -> Wish:
    metadata = wish.body["metadata"]
    return replace(wish, body={**wish.body, "metadata": {**metadata, "labels": {**metadata["labels"], MIRRORED: "true"}}})
