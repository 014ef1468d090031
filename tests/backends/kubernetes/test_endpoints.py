"""The Deployment and Service of an endpoint."""

from __future__ import annotations

from typing import Any

from ltai_hub.backends.kubernetes.endpoints import address_of, endpoint_name, make_autoscaler, make_deployment, make_service
from ltai_hub.domain.workloads import Kind
from ltai_hub.settings import KubernetesSettings
from tests.backends.kubernetes.arrange import a_blueprint

ENDPOINT: dict[str, Any] = {
    "name": "endpoint-3-1-0-1",
    "kind": Kind.ENDPOINT,
    "port": True,
    "replicas": 2,
    "env": {"LTAI_PREFIX": "/endpoints/physics/digits"},
}
QUEUED = {"kueue.x-k8s.io/queue-name": "main", "kueue.x-k8s.io/priority-class": "uni-serving"}


def test_the_deployment_is_replaced_without_a_gap_and_spread_over_nodes() -> None:
    made = make_deployment(a_blueprint(**ENDPOINT), "endpoint-3-1-0-1")
    assert made["metadata"]["labels"].items() >= QUEUED.items()
    spec = made["spec"]
    template = spec.pop("template")
    assert spec == {
        "replicas": 2,
        "minReadySeconds": 2,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": {"ltai.dev/workload": "endpoint-3-1-0-1"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }
    assert (
        template["metadata"]["labels"].items() >= (QUEUED | {"ltai.dev/workload": "endpoint-3-1-0-1", "ltai.dev/kind": "endpoint"}).items()
    )
    pod = template["spec"]
    (main,) = pod["containers"]
    assert main["readinessProbe"]["httpGet"] == {"path": "/endpoints/physics/digits/v2/health/ready", "port": 8080}
    assert main["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod["terminationGracePeriodSeconds"] == 15
    assert {"name": "LTAI_PORT", "value": "8080"} in main["env"]
    assert {"name": "LTAI_HOST", "value": "0.0.0.0"} in main["env"]
    (spread,) = pod["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)


def test_a_new_version_keeps_the_name_its_pods_are_found_by() -> None:
    newer = make_deployment(a_blueprint(**ENDPOINT | {"name": "endpoint-3-2-0-1"}), "endpoint-3-1-0-1")
    assert newer["metadata"]["name"] == "endpoint-3-1-0-1"
    assert newer["spec"]["template"]["metadata"]["labels"]["ltai.dev/workload"] == "endpoint-3-1-0-1"


def test_any_other_program_is_ready_when_it_listens() -> None:
    made = make_deployment(a_blueprint(**ENDPOINT | {"env": {}}), "e")
    assert made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["tcpSocket"] == {"port": 8080}


def test_one_address_stands_for_all_replicas() -> None:
    plan = a_blueprint(**ENDPOINT)
    service = make_service(plan, "e")
    assert service["spec"] == {"selector": {"ltai.dev/workload": "e"}, "ports": [{"name": "http", "port": 8080, "targetPort": 8080}]}
    assert address_of(service, plan.settings, "10.0.0.1") == "e.uni-physics.svc.cluster.local:8080"
    assert address_of(None, plan.settings, "10.0.0.1") == ""
    settings = KubernetesSettings(instance="uni", node_ports=True)
    outside = make_service(a_blueprint(settings, **ENDPOINT), "e")
    assert outside["spec"]["type"] == "NodePort"
    outside["spec"]["ports"][0]["nodePort"] = 31000
    assert address_of(outside, settings, "10.0.0.1") == "10.0.0.1:31000"


def test_names_of_pods_stay_within_what_a_cluster_takes() -> None:
    assert len(f"{endpoint_name('endpoint-' + 'x' * 90)}-xxxxxxxxxx-xxxxx") <= 63


def test_the_autoscaler_keeps_to_the_bounds_and_goes_with_its_deployment() -> None:
    deployment = make_deployment(a_blueprint(**ENDPOINT), "endpoint-3-1-0-1")
    deployment["metadata"]["uid"] = "u-1"
    made = make_autoscaler(deployment, 2, 5)
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "endpoint-3-1-0-1", "uid": "u-1"}
    ]
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (2, 5)
    assert made["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
