"""A workload with a port as a Deployment behind a Service. Pure."""

from __future__ import annotations

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.names import WORKLOAD, dns_name
from ltai_hub.backends.kubernetes.pods import Blueprint, make_env, make_pod_spec, queue_labels
from ltai_hub.settings import KubernetesSettings

PORT = 8080
# names of pods end at 63 characters and add "-xxxxxxxxxx-xxxxx"
LONGEST = 45
# the proxy and kube-proxy go on sending for a moment after a replica was told to end
DRAIN_SECONDS = 5
# and it takes the nodes a moment to send to one that has just become ready
ROUTED_SECONDS = 2


# of the cpu a replica asked for: above it there are more of them, below it fewer
BUSY_PERCENT = 80


def endpoint_name(workload: str) -> str:
    return dns_name(workload, LONGEST)


def make_deployment(plan: Blueprint, name: str) -> Object:
    """``name`` stays when another workload takes its place: its pods are then replaced one by one."""
    w = plan.workload
    # one name for the selector, which must never change, whatever the replaced workload is called
    labels = plan.labels | {WORKLOAD: name}
    probe = probe_of(w.env.get("LTAI_PREFIX"))
    container: Object = {
        "ports": [{"containerPort": PORT, "name": "http"}],
        "readinessProbe": {**probe, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
        "startupProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 600},
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    }
    spec = make_pod_spec(plan, make_env({"LTAI_HOST": "0.0.0.0", "LTAI_PORT": str(PORT)}), container)
    spec["terminationGracePeriodSeconds"] = w.grace_seconds + DRAIN_SECONDS
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {WORKLOAD: name}},
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": plan.namespace, "labels": labels | queue_labels(plan.settings.instance, w.kind)},
        "spec": {
            "replicas": w.replicas,
            "minReadySeconds": ROUTED_SECONDS,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {WORKLOAD: name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": labels | queue_labels(plan.settings.instance, w.kind),
                    "annotations": dict(plan.flavor.annotations),
                },
                "spec": spec,
            },
        },
    }


def make_autoscaler(deployment: Object, replicas: int, most: int) -> Object:
    """Goes with its Deployment, which is one the API server has answered with."""
    metadata = deployment["metadata"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]}
    busy = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY_PERCENT}}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
            "ownerReferences": [{**target, "uid": metadata["uid"]}],
        },
        "spec": {"scaleTargetRef": target, "minReplicas": replicas, "maxReplicas": most, "metrics": [busy]},
    }


def probe_of(prefix: str | None) -> Object:
    """A served model says itself when it is ready; of any other program it is known whether it listens."""
    if prefix is None:
        return {"tcpSocket": {"port": PORT}}
    return {"httpGet": {"path": f"{prefix}/v2/health/ready", "port": PORT}}


def make_service(plan: Blueprint, name: str) -> Object:
    spec: Object = {"selector": {WORKLOAD: name}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]}
    if plan.settings.node_ports:
        spec["type"] = "NodePort"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": plan.namespace, "labels": plan.labels | {WORKLOAD: name}},
        "spec": spec,
    }


def address_of(service: Object | None, settings: KubernetesSettings, node: str) -> str:
    """Where the proxy reaches all replicas; ``node``: an address of any node, for node ports."""
    if service is None:
        return ""
    metadata, ports = service["metadata"], service["spec"]["ports"]
    if settings.node_ports:
        return f"{node}:{ports[0]['nodePort']}"
    return f"{metadata['name']}.{metadata['namespace']}.svc.{settings.cluster_domain}:{PORT}"
