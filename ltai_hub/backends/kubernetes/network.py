"""Who may talk to whom in a tenant's namespace. Pure.

==================  ==========================  =============================================================
pods                are called by               call
==================  ==========================  =============================================================
environments        the hub and the proxy       names (DNS), the proxy, the hub, what is outside of the cluster
endpoints           the proxy and the services  the same
jobs of many nodes  their own nodes             the same, and their own nodes (``make_gang_policy``)
==================  ==========================  =============================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from ltai_hub.backends.kubernetes.api import JOBSET, Object
from ltai_hub.backends.kubernetes.endpoints import PORT as ENDPOINT_PORT
from ltai_hub.backends.kubernetes.names import DOMAIN, WORKLOAD
from ltai_hub.settings import KubernetesSettings

DNS_PORT, HUB_PORT, PROXY_PORT, ENVIRONMENT_PORT = 53, 8081, 8000, 8888


def make_policy(settings: KubernetesSettings, namespace: str, labels: Mapping[str, str]) -> Object:
    """The one of a tenant: what it does not allow is closed. One for all pods, for thousands of tenants are as many policies; ports
    tell environments and endpoints apart, and what calls them is the platform's own."""
    hub, proxy, services = component(settings, "hub"), component(settings, "proxy"), services_of(settings)
    ingress = [
        {"from": [hub, proxy], "ports": [_port(ENVIRONMENT_PORT)]},
        {"from": [proxy, services], "ports": [_port(ENDPOINT_PORT)]},
    ]
    egress = [
        {"ports": [_port(DNS_PORT, "UDP"), _port(DNS_PORT)]},
        {"to": [proxy], "ports": [_port(PROXY_PORT)]},
        {"to": [hub], "ports": [_port(HUB_PORT)]},
        *outside(settings),
    ]
    return _policy("tenant", namespace, labels, {}, ingress, egress)


def make_far_policy(settings: KubernetesSettings, namespace: str, labels: Mapping[str, str]) -> Object:
    """Of a tenant in another cluster: names, and what is outside of it; the platform is outside too."""
    dns = {"ports": [_port(DNS_PORT, "UDP"), _port(DNS_PORT)]}
    return _policy("tenant", namespace, labels, {}, [], [dns, *outside(settings)])


def make_gang_policy(jobset: Object) -> Object:
    """Lets the pods of one job find one another, and nobody else among them. It goes with its JobSet."""
    metadata = jobset["metadata"]
    peer = {"podSelector": {"matchLabels": {WORKLOAD: metadata["labels"][WORKLOAD]}}}
    labels = {name: value for name, value in metadata["labels"].items() if name.startswith(DOMAIN)}
    policy = _policy(metadata["name"], metadata["namespace"], labels, peer["podSelector"], [{"from": [peer]}], [{"to": [peer]}])
    owner = {"apiVersion": JOBSET.api_version, "kind": JOBSET.kind, "name": metadata["name"], "uid": metadata["uid"]}
    policy["metadata"]["ownerReferences"] = [owner]
    return policy


def outside(settings: KubernetesSettings) -> list[Object]:
    """The way out of the cluster, but not to its neighbours."""
    private = [ip_network(one) for one in settings.private_ranges]
    blocks = []
    for cidr in settings.outside:
        network = ip_network(cidr)
        but = [str(one) for one in private if one.version == network.version and one != network and one.subnet_of(network)]  # type: ignore[arg-type]
        blocks.append({"ipBlock": {"cidr": cidr, **({"except": but} if but else {})}})
    return [{"to": blocks}] if blocks else []


def component(settings: KubernetesSettings, name: str) -> Object:
    return _platform(settings, {"app.kubernetes.io/instance": settings.instance, "app.kubernetes.io/component": name})


def services_of(settings: KubernetesSettings) -> Object:
    return _platform(settings, {"app.kubernetes.io/instance": settings.instance, f"{DOMAIN}/group": "services"})


def _platform(settings: KubernetesSettings, labels: Mapping[str, str]) -> Object:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
        "podSelector": {"matchLabels": dict(labels)},
    }


def _port(port: int, protocol: str = "TCP") -> Object:
    return {"protocol": protocol, "port": port}


def _policy(
    name: str, namespace: str, labels: Mapping[str, str], pods: Object, ingress: Sequence[Object], egress: Sequence[Object]
) -> Object:
    """Both directions, so that what is not listed is closed."""
    spec = {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], "ingress": list(ingress), "egress": list(egress)}
    return {"metadata": {"name": name, "namespace": namespace, "labels": dict(labels)}, "spec": spec}
