"""More clusters: who sees their kubeconfigs, and with which rights."""

from __future__ import annotations

import json

from tests.helm.conftest import Object, Render

TWO = ("clusters.names={east,west}", "clusters.secret=kubeconfigs", "clusters.ports={6543}", "clusters.lostJobs=fail")


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def test_only_the_services_that_speak_to_them_see_the_kubeconfigs(render: Render) -> None:
    deployments = [one for one in render(*TWO) if one["kind"] == "Deployment"]
    volumes = {one["metadata"]["name"]: one["spec"]["template"]["spec"].get("volumes", []) for one in deployments}
    seeing = {name for name, those in volumes.items() if {"name": "clusters", "secret": {"secretName": "kubeconfigs"}} in those}
    assert seeing == {"ltai-tenancy", "ltai-training"}


def test_the_settings_name_their_files_and_the_rule_for_lost_ones(render: Render) -> None:
    settings = named(render(*TWO), "ConfigMap", "ltai-settings")["data"]
    assert json.loads(settings["LTAI_KUBERNETES_CLUSTERS"]) == {"east": "/etc/ltai/clusters/east", "west": "/etc/ltai/clusters/west"}
    assert (settings["LTAI_KUBERNETES_LOST_SECONDS"], settings["LTAI_KUBERNETES_LOST_JOBS"]) == ("300", "fail")


def test_of_kueues_secrets_only_these_can_be_changed_and_none_be_read(render: Render) -> None:
    role = named(render(*TWO), "Role", "ltai-clusters")
    assert role["metadata"]["namespace"] == "kueue-system"
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["ltai--east", "ltai--west"], "verbs": ["patch", "delete"]},
    ]


def test_the_services_reach_their_api_servers(render: Render) -> None:
    policy = named(render(*TWO), "NetworkPolicy", "ltai-services")
    assert {"protocol": "TCP", "port": 6543} in [port for way in policy["spec"]["egress"] for port in way.get("ports", [])]


def test_without_more_clusters_there_is_nothing_of_it(render: Render) -> None:
    objects = render()
    assert "LTAI_KUBERNETES_CLUSTERS" not in named(objects, "ConfigMap", "ltai-settings")["data"]
    assert not [one for one in objects if one["metadata"]["name"] == "ltai-clusters"]
