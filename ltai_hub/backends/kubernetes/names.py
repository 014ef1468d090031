"""Names and labels of everything the platform makes in a cluster. Pure."""

from __future__ import annotations

import hashlib
import re

from ltai_hub.domain.workloads import Kind

DOMAIN = "ltai.dev"
INSTANCE, TENANT, USER, KIND, WORKLOAD = (f"{DOMAIN}/{name}" for name in ("instance", "tenant", "user", "kind", "workload"))
MANAGED_BY = "app.kubernetes.io/managed-by"
FIELD_MANAGER = "ltai"

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
# on the namespace of a tenant that is no more, with the day since when; kept for the homes in it
REMOVED = f"{DOMAIN}/removed"
# a taint of ResourceFlavors that no node has: only pods of that kind of accelerator tolerate it, so no other takes its quota
ACCELERATOR = f"{DOMAIN}/accelerator"
# the one LocalQueue of a tenant's namespace
QUEUE = "main"
# the LocalQueue of jobs that Kueue hands to another cluster; there it is the way into the tenant's own queue
SPREAD = "spread"
# on what this platform made in another cluster, so that an installation there of the same name takes it for nothing of its own
MIRRORED = f"{DOMAIN}/mirrored"
# volumes of a tenant's namespace
COURSES = "courses"
ACCOUNT = "workload"

PRIORITIES = {Kind.ENVIRONMENT: "interactive", Kind.ENDPOINT: "serving", Kind.JOB: "batch"}
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def dns_name(text: str, longest: int = 63) -> str:
    """A DNS label: the text itself where it is one, else what is left of it and a hash, so that two never clash."""
    if len(text) <= longest and LABEL.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: longest - 9].strip("-")
    return f"{stem or 'x'}-{digest}"


def tenant_name(instance: str, tenant: str) -> str:
    """Of the tenant's namespace, ClusterQueue and Cohort."""
    return dns_name(f"{instance}-{tenant}")


def root_cohort(instance: str) -> str:
    """Holds what is guaranteed to nobody."""
    return f"{instance}--all"


def flavor_name(instance: str, kind: str = "default") -> str:
    """Of the ResourceFlavor of a kind of accelerator; "default" is that of processors and memory."""
    return dns_name(f"{instance}--{kind}")


def clusters_name(instance: str) -> str:
    """Of Kueue's AdmissionCheck and MultiKueueConfig."""
    return f"{instance}--clusters"


def cluster_name(instance: str, cluster: str) -> str:
    """Of Kueue's MultiKueueCluster, and of the Secret with its kubeconfig."""
    return f"{instance}--{cluster}"


def accelerator_toleration(kind: str) -> dict[str, str]:
    return {"key": ACCELERATOR, "operator": "Equal", "value": label_value(kind), "effect": "NoSchedule"}


def priority_class(instance: str, kind: Kind) -> str:
    """Of the WorkloadPriorityClass."""
    return f"{instance}-{PRIORITIES[kind]}"


def home_claim(user: str) -> str:
    return dns_name(f"home-{user}")


def label_value(text: str) -> str:
    """User names may have dots and underscores inside, which labels take too; up to 63 characters."""
    return text if len(text) <= 63 else dns_name(text)


def installation_labels(instance: str) -> dict[str, str]:
    return {MANAGED_BY: "ltai", INSTANCE: instance}


def workload_labels(instance: str, tenant: str, user: str, kind: Kind, name: str) -> dict[str, str]:
    return installation_labels(instance) | {
        TENANT: tenant,
        USER: label_value(user),
        KIND: kind.value,
        WORKLOAD: dns_name(name),
    }
