"""Who may talk to whom in a tenant's namespace."""

from __future__ import annotations

from typing import Any

from ltai_hub.backends.kubernetes.network import make_gang_policy, make_policy, outside
from ltai_hub.settings import KubernetesSettings

SETTINGS = KubernetesSettings(instance="it", namespace="platform", outside=["0.0.0.0/0"], private_ranges=["10.0.0.0/8", "fc00::/7"])


def of_platform(**labels: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "platform"}},
        "podSelector": {
            "matchLabels": {"app.kubernetes.io/instance": "it"} | {k.replace("__", "/").replace("_", "."): v for k, v in labels.items()}
        },
    }


HUB, PROXY = (
    {**of_platform(), "podSelector": {"matchLabels": {"app.kubernetes.io/instance": "it", "app.kubernetes.io/component": who}}}
    for who in ("hub", "proxy")
)
SERVICES = of_platform(ltai_dev__group="services")


def test_a_tenants_pods_are_called_by_the_platform_and_call_names_the_platform_and_the_world() -> None:
    assert make_policy(SETTINGS, "it-ml", {"l": "x"}) == {
        "metadata": {"name": "tenant", "namespace": "it-ml", "labels": {"l": "x"}},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [HUB, PROXY], "ports": [{"protocol": "TCP", "port": 8888}]},
                {"from": [PROXY, SERVICES], "ports": [{"protocol": "TCP", "port": 8080}]},
            ],
            "egress": [
                {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {"to": [PROXY], "ports": [{"protocol": "TCP", "port": 8000}]},
                {"to": [HUB], "ports": [{"protocol": "TCP", "port": 8081}]},
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]},
            ],
        },
    }


def test_the_way_out_can_be_closed_and_private_networks_stay_out_of_reach() -> None:
    assert outside(KubernetesSettings(outside=[])) == []
    both = KubernetesSettings(outside=["0.0.0.0/0", "::/0", "10.9.0.0/16"], private_ranges=["10.0.0.0/8", "fc00::/7"])
    assert outside(both) == [
        {
            "to": [
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}},
                {"ipBlock": {"cidr": "::/0", "except": ["fc00::/7"]}},
                # an administrator's own network, opened on purpose
                {"ipBlock": {"cidr": "10.9.0.0/16"}},
            ]
        }
    ]


def test_the_nodes_of_a_job_find_one_another_and_nobody_else() -> None:
    labels = {"ltai.dev/instance": "it", "ltai.dev/workload": "job-7", "kueue.x-k8s.io/queue-name": "main"}
    policy = make_gang_policy({"metadata": {"name": "job-7", "namespace": "it-ml", "labels": labels, "uid": "u"}})
    spec = policy["spec"]
    assert policy["metadata"] == {
        "name": "job-7",
        "namespace": "it-ml",
        "labels": {"ltai.dev/instance": "it", "ltai.dev/workload": "job-7"},
        "ownerReferences": [{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "job-7", "uid": "u"}],
    }
    same = {"podSelector": {"matchLabels": {"ltai.dev/workload": "job-7"}}}
    assert spec["podSelector"] == same["podSelector"]
    assert (spec["ingress"], spec["egress"]) == ([{"from": [same]}], [{"to": [same]}])
