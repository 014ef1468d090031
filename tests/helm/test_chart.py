"""The chart as it is rendered: small rights, restricted pods, denied networks, described values."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from ltai_hub.backends.kubernetes.names import INSTANCE
from ltai_hub.cluster.__main__ import PARTS
from ltai_hub.cluster.settings import ClusterSettings
from ltai_hub.demo.school import PEOPLE
from ltai_hub.hub.configure import SERVICES
from ltai_hub.settings import KubernetesSettings, Settings
from tests.helm.conftest import CHART, Object, Render

# everything switched on
ALL = ("demo=true", "imagePuller.enabled=true", "ingress.enabled=true", "ingress.host=lab.example", "image.pullSecrets={registry}")
OUR_OWN = {"hub", "postgresql"}


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod with the name of what makes it."""
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], found
        elif found["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield found["metadata"]["name"], found["spec"]["template"]


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for name, pod in pods(objects):
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            yield f"{name}/{container['name']}", container


def component(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


# ---- pods


def test_every_pod_keeps_to_the_restricted_standard(render: Render) -> None:
    for name, pod in pods(render(*ALL)):
        spec = pod["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"], name
        assert security["runAsUser"] == 1000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert all("hostPath" not in volume for volume in spec.get("volumes", ())), name
    for name, container in containers(render(*ALL)):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert security["readOnlyRootFilesystem"] is True, name
        assert "privileged" not in security, name


def test_every_container_has_requests_and_a_memory_limit(render: Render) -> None:
    for name, container in containers(render(*ALL)):
        assert container["resources"]["requests"], name
        assert container["resources"]["limits"]["memory"], name


def test_everything_that_serves_is_probed(render: Render) -> None:
    for found in (*of_kind(render(), "Deployment").values(), *of_kind(render(), "StatefulSet").values()):
        for container in found["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), found["metadata"]["name"]


def test_each_service_is_a_deployment_with_two_pods_and_a_disruption_budget(render: Render) -> None:
    deployments, budgets = of_kind(render(), "Deployment"), of_kind(render(), "PodDisruptionBudget")
    for name in (*SERVICES, "console"):
        assert deployments[f"ltai-{name}"]["spec"]["replicas"] == 2
        assert f"ltai-{name}" in budgets
    fewer = of_kind(render("services.replicas=1", "services.replicasOf.training=3"), "Deployment")
    assert (fewer["ltai-billing"]["spec"]["replicas"], fewer["ltai-training"]["spec"]["replicas"]) == (1, 3)


def test_the_processes_are_parts_the_platform_has(render: Render) -> None:
    for name, container in containers(render(*ALL)):
        words = container.get("args", [])
        if words[:3] == ["python", "-m", "ltai_hub.cluster"]:
            assert words[3] in PARTS, name


def test_every_variable_is_a_setting(render: Render) -> None:
    known = {
        f"{kind.model_config['env_prefix']}{field}".upper()
        for kind in (Settings, KubernetesSettings, ClusterSettings)
        for field in kind.model_fields
    }
    used = {name for found in of_kind(render(*ALL), "ConfigMap").values() for name in found["data"] if name.startswith("LTAI_")}
    used |= {v["name"] for _, container in containers(render(*ALL)) for v in container.get("env", ()) if v["name"].startswith("LTAI_")}
    assert used <= known


# ---- images


def test_one_value_stands_before_every_image_and_one_command_lists_them(render: Render) -> None:
    prefix = "registry.lan/mirror/"
    used = {container["image"] for _, container in containers(render(*ALL, f"image.prefix={prefix}"))}
    assert all(image.startswith(prefix) for image in used)
    listed = subprocess.run(
        [CHART.parent / "images" / "list", "--set", f"image.prefix={prefix}", "--set", "demo=true"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed.stdout.split()) == used
    rows = yaml.safe_load((CHART / "catalog" / "images.yaml").read_text("utf-8"))["images"].values()
    assert {f"{prefix}{row['container']}" for row in rows} <= used


def test_files_of_ones_own_take_the_place_of_the_catalogues(render: Render) -> None:
    assert "ltai-catalog" not in of_kind(render(), "ConfigMap")
    objects = render(r"catalog.pictures/mine\.svg=<svg/>")
    data = of_kind(objects, "ConfigMap")["ltai-catalog"]["data"]
    assert data["pictures--mine.svg"] == "<svg/>"
    assert data["flavors.yaml"] == (CHART / "catalog" / "flavors.yaml").read_text("utf-8")
    volume = next(v for v in of_kind(objects, "Deployment")["ltai-hub"]["spec"]["template"]["spec"]["volumes"] if v["name"] == "catalog")
    assert {"key": "pictures--mine.svg", "path": "pictures/mine.svg"} in volume["configMap"]["items"]


# ---- secrets


def test_no_secret_is_outside_of_secrets(render: Render) -> None:
    secrets = {
        value
        for found in of_kind(render(*ALL), "Secret").values()
        for value in {**found.get("data", {}), **found.get("stringData", {})}.values()
    }
    assert len(secrets) > 10
    rest = json.dumps([found for found in render(*ALL) if found["kind"] != "Secret"])
    assert not [secret for secret in secrets if secret in rest]


def test_each_part_has_only_the_secrets_it_needs(render: Render) -> None:
    given = {
        name: {v["valueFrom"]["secretKeyRef"]["key"] for v in container.get("env", ()) if "valueFrom" in v}
        for name, container in containers(render(*ALL))
    }
    assert given["ltai-proxy/proxy"] == {"proxy-token"}
    assert given["ltai-mlflow/mlflow"] == {"mlflow", "mlflow-key"}
    assert given["ltai-console/console"] == {"console-token", "signing-key"}
    assert given["ltai-migrate/migrate"] == {"platform"}
    assert given["ltai-check/check"] == set()
    assert "hub" not in given["ltai-training/training"]


def test_secrets_and_volumes_are_kept_when_the_release_goes(render: Render) -> None:
    objects = render(*ALL)
    kept = [*of_kind(objects, "PersistentVolumeClaim").values(), *of_kind(objects, "Secret").values()]
    for found in kept:
        # made anew from the kept passwords
        if found["metadata"]["name"] != "ltai-database":
            assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", found["metadata"]["name"]


def test_the_demo_has_a_password_for_everybody(render: Render) -> None:
    assert set(of_kind(render("demo=true"), "Secret")["ltai-demo"]["data"]) == {person.name for person in PEOPLE}
    assert "ltai-demo" not in of_kind(render(), "Secret")


def test_a_database_of_ones_own_needs_no_other(render: Render) -> None:
    objects = render("database.bundled=false", "database.existingSecret=mine")
    assert not of_kind(objects, "StatefulSet")
    keys = {
        v["valueFrom"]["secretKeyRef"]["name"] for _, c in containers(objects) for v in c.get("env", ()) if v["name"] == "LTAI_DATABASE_URL"
    }
    assert keys == {"mine"}
    with pytest.raises(AssertionError, match="existingSecret"):
        render("database.bundled=false")


# ---- rights


def rules(objects: list[Object]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Of each account: its name, the role's name, one rule. Those of workloads are bound in tenants' namespaces only."""
    roles = of_kind(objects, "ClusterRole") | of_kind(objects, "Role")
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in of_kind(objects, kind).values():
            for subject in binding["subjects"]:
                for rule in roles[binding["roleRef"]["name"]]["rules"]:
                    yield subject["name"], binding["roleRef"]["name"], rule


def test_no_role_has_a_star_or_reaches_into_pods(render: Render) -> None:
    for role in (*of_kind(render(*ALL), "ClusterRole").values(), *of_kind(render(*ALL), "Role").values()):
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not {"*", "pods/exec", "pods/attach", "pods/portforward", "escalate", "impersonate"} & words, role["metadata"]["name"]


def test_rights_in_tenants_namespaces_are_bound_nowhere_by_the_chart(render: Render) -> None:
    roles = of_kind(render(*ALL), "ClusterRole")
    assert {"ltai-hub-workloads", "ltai-services-workloads"} <= set(roles)
    assert not [role for _, role, _ in rules(render(*ALL)) if role.endswith("-workloads")]
    for name in ("ltai-hub-workloads", "ltai-services-workloads"):
        assert not [rule for rule in roles[name]["rules"] if "secrets" in rule["resources"] or "namespaces" in rule["resources"]]


def test_who_may_do_what_in_the_whole_cluster(render: Render) -> None:
    held: dict[str, set[str]] = {}
    for account, _, rule in rules(render()):
        held.setdefault(account, set()).update(f"{resource}:{verb}" for resource in rule["resources"] for verb in rule["verbs"])
    see_nodes = {"nodes:get", "nodes:list", "nodes:watch"}
    assert held["ltai-hub"] == held["ltai-services"] == held["ltai-nodes"] == see_nodes
    assert held["ltai-monitor"] == see_nodes | {"nodes/proxy:get", "pods:get", "pods:list"}
    assert not {
        permission for permission in held["ltai-tenancy"] if permission.split(":")[0] in ("pods", "secrets", "jobsets", "deployments")
    }
    # only these two roles may be handed on
    [bind] = [rule for _, _, rule in rules(render()) if "bind" in rule["verbs"]]
    assert bind["resourceNames"] == ["ltai-hub-workloads", "ltai-services-workloads"]


def test_only_who_speaks_to_the_cluster_has_a_token(render: Render) -> None:
    with_token = {component(pod) for _, pod in pods(render(*ALL)) if pod["spec"].get("automountServiceAccountToken", True)}
    assert with_token == {"hub", "tenancy", "monitor", "training", "serving", "catalog", "environments", "demo"}


# ---- network


def test_everything_is_denied_but_the_ways_that_are_written_down(render: Render) -> None:
    policies = of_kind(render(*ALL), "NetworkPolicy")
    assert policies["ltai-default-deny"]["spec"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/instance": "ltai"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert ways(policies) == {
        ("anybody", "proxy", 8000),
        *((who, "hub", 8081) for who in ("proxy", "services", "console", "tenants")),
        *((who, "proxy", 8001) for who in ("hub", "services")),
        *((who, "proxy", 8000) for who in ("services", "console", "tenants", "check")),
        *((who, "services", 8090) for who in ("proxy", "hub")),
        *((who, "console", 8002) for who in ("proxy", "hub")),
        ("services", "mlflow", 5000),
        *((who, "postgresql", 5432) for who in ("hub", "services", "mlflow", "migrate", "demo")),
    }


def ways(policies: Mapping[str, Object]) -> set[tuple[str, str, int]]:
    found = set()
    for policy in policies.values():
        for rule in policy["spec"].get("ingress") or ():
            peers = [who(peer) for peer in rule.get("from", ())] or ["anybody"]
            found |= {(peer, who(policy["spec"]), port["port"]) for peer in peers for port in rule["ports"]}
    return found


def who(peer: Mapping[str, Any]) -> str:
    if "namespaceSelector" in peer:
        assert peer["namespaceSelector"] == {"matchLabels": {INSTANCE: "ltai"}}
        return "tenants"
    labels = peer["podSelector"]["matchLabels"]
    return str(labels.get("app.kubernetes.io/component") or labels["ltai.dev/group"])


def test_what_may_be_called_may_be_called_by_its_caller(render: Render) -> None:
    policies = of_kind(render(*ALL), "NetworkPolicy")
    out = {
        (who(policy["spec"]), who(peer), port["port"])
        for policy in policies.values()
        for rule in policy["spec"].get("egress") or ()
        for peer in rule.get("to", ())
        for port in rule.get("ports", ())
    }
    inside = {way for way in ways(policies) if way[0] not in ("anybody", "tenants")}
    assert inside == out


def test_every_pod_is_under_a_policy(render: Render) -> None:
    policies = of_kind(render(*ALL), "NetworkPolicy").values()
    covered = {
        who(policy["spec"])
        for policy in policies
        if "app.kubernetes.io/component" in str(policy["spec"]) or "ltai.dev/group" in str(policy["spec"])
    }
    for name, pod in pods(render(*ALL)):
        labels = pod["metadata"]["labels"]
        # the puller calls nobody
        assert labels.get("ltai.dev/group", component(pod)) in covered | {"image-puller"}, name


# ---- the life of a release


def test_the_tables_are_made_before_an_upgrades_pods_and_by_the_hub_of_an_installation(render: Render) -> None:
    job = of_kind(render(), "Job")["ltai-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    [migrate] = of_kind(render(), "Deployment")["ltai-hub"]["spec"]["template"]["spec"]["initContainers"]
    assert migrate["args"][-1] == "migrate"


def test_a_release_whose_name_cannot_begin_a_namespace_is_refused(render: Render) -> None:
    with pytest.raises(AssertionError, match="at most 20"):
        render(release="a-name-that-is-much-too-long")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("hub.replicas=2", "replicas"),
        ("publicUrl=lab.example", "publicUrl"),
        ("publicUrl=https://lab.example/", "publicUrl"),
        ("image.prefix=registry.lan", "prefix"),
        ("homes.accessMode=Everybody", "accessMode"),
        ("services.replicasOf.hub=2", "replicasOf"),
        ("catalog.flavours\\.yaml=x", "catalog"),
        ("services.replicas=0", "replicas"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(render: Render, value: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        render(value)


# ---- values


def schema_keys(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, below in node.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        yield here, below
        yield from schema_keys(below, here)


def test_every_value_is_described_and_has_a_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    for path, node in schema_keys(schema):
        assert re.search(r"[.]$", node["description"]), path
        if path == "global" or ".resources." in path:
            continue
        inside: Any = values
        for name in path.split("."):
            assert name in inside, f"{path} has no default in values.yaml"
            inside = inside[name]
