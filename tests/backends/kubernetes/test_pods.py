"""What a pod asks for and what it is shown."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ltai_hub.backends.kubernetes.pods import Blueprint, container_resources, make_env, make_pod_spec, on_processors_of, placement
from ltai_hub.backends.kubernetes.volumes import COPY_PROGRAM, inside_courses, make_home_claim
from ltai_hub.domain.catalog import Image, Text
from ltai_hub.domain.workloads import Copy, Mount, Resources
from ltai_hub.errors import BadWorkload
from ltai_hub.settings import KubernetesSettings
from tests.backends.kubernetes.arrange import CARDS, COURSES, SMALL, VGPU, a_blueprint


def test_a_flavors_row_becomes_amounts_of_the_vendors_resources() -> None:
    amounts = {"cpu": "4000m", "memory": "17179869184", "nvidia.com/gpu": "2", "nvidia.com/gpumem": "8000"}
    assert container_resources(CARDS, VGPU) == {"requests": amounts, "limits": amounts}


def test_a_flavors_row_says_on_which_nodes_it_runs() -> None:
    settings = KubernetesSettings(extra_tolerations=[{"key": "kwok.x-k8s.io/node", "operator": "Exists"}])
    placed = placement(CARDS, VGPU, settings)
    assert placed["nodeSelector"] == {"card": "a100", "kubernetes.io/arch": "amd64"}
    assert placed["runtimeClassName"] == "nvidia"
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in placed["tolerations"]
    assert {"key": "kwok.x-k8s.io/node", "operator": "Exists"} in placed["tolerations"]


def test_without_accelerator_nothing_is_said_of_the_node() -> None:
    assert placement(SMALL, VGPU.__class__(), KubernetesSettings()) == {}


def test_dollars_of_people_reach_their_program_as_they_were() -> None:
    assert make_env({"A": "$(HOME) $$ $x"}) == [{"name": "A", "value": "$$(HOME) $$$$ $$x"}]
    spec = make_pod_spec(a_blueprint(command=("bash", "-c", "echo $(HOME) $$")), ())
    assert spec["containers"][0]["command"] == ["bash", "-c", "echo $$(HOME) $$$$"]


def test_an_image_that_is_no_row_is_taken_as_it_is_and_a_row_gets_the_prefix() -> None:
    settings = KubernetesSettings(image_prefix="registry.lan/")
    assert a_blueprint(settings).image == "registry.lan/ltai/pytorch:2"
    assert a_blueprint(settings, image="other:1").image == "other:1"


def env_of(plan: Blueprint) -> dict[str, str]:
    return {one["name"]: one["value"] for one in make_pod_spec(plan, ())["containers"][0]["env"]}


def test_a_pod_without_accelerator_is_shown_no_card_whatever_its_image_or_its_owner_says() -> None:
    env = env_of(a_blueprint(env={"NVIDIA_VISIBLE_DEVICES": "all", "A": "1"}))
    assert (env["NVIDIA_VISIBLE_DEVICES"], env["ASCEND_VISIBLE_DEVICES"], env["A"]) == ("void", "void", "1")
    (init,) = make_pod_spec(a_blueprint(copies=(Copy("a", "a"),)), ())["initContainers"]
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in init["env"]


def test_with_one_only_the_device_plug_in_says_which_cards() -> None:
    env = env_of(a_blueprint(flavor="vgpu", resources=CARDS, env={"NVIDIA_VISIBLE_DEVICES": "all", "CUDA_VISIBLE_DEVICES": "0"}))
    assert not {"NVIDIA_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES"} & set(env)
    assert env["CUDA_VISIBLE_DEVICES"] == "0"


def test_the_memory_a_device_plug_in_brings_is_not_hidden() -> None:
    spec = make_pod_spec(replace(a_blueprint(), flavor=replace(VGPU, device_shm=True)), ())
    assert "/dev/shm" not in [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
    assert "shm" not in [volume["name"] for volume in spec["volumes"]]


def test_an_image_runs_on_the_processors_it_is_built_for() -> None:
    plain = Image("x", Text("", ""), "x", "1", container="x")
    assert on_processors_of(plain, SMALL) == SMALL
    assert on_processors_of(replace(plain, architectures=("arm64",)), SMALL).architecture == "arm64"
    assert on_processors_of(replace(plain, architectures=("amd64", "arm64")), CARDS) == CARDS
    with pytest.raises(BadWorkload, match="the image x is built for arm64 and this flavor is amd64"):
        on_processors_of(replace(plain, architectures=("arm64",)), CARDS)


def test_course_files_are_shown_and_copied() -> None:
    plan = a_blueprint(mounts=(Mount("/data/courses/ml/data", "/home/alice/data"),), copies=(Copy("ml/start", "start"),))
    spec = make_pod_spec(plan, ())
    shown = spec["containers"][0]["volumeMounts"][2]
    assert shown == {"name": "courses", "mountPath": "/home/alice/data", "subPath": "ml/data", "readOnly": True}
    (init,) = spec["initContainers"]
    assert init["command"] == ["python", "-c", COPY_PROGRAM, "/courses/ml/start", "/home/alice/start"]
    assert init["securityContext"] == spec["containers"][0]["securityContext"]
    assert {"name": "courses", "persistentVolumeClaim": {"claimName": "courses"}} in spec["volumes"]


def test_only_course_files_are_shown() -> None:
    assert inside_courses("ml/data", COURSES) == "ml/data"
    for source in ("/etc", "/data/other", "../secrets", "/data/courses/../secrets"):
        with pytest.raises(BadWorkload, match="outside"):
            inside_courses(source, COURSES)


def test_a_home_is_claimed_as_the_settings_say() -> None:
    settings = KubernetesSettings(instance="uni", home_class="fast", home_access="ReadWriteOnce", home_size="3Gi")
    made = make_home_claim(settings, "uni-physics", "alice")
    assert made["metadata"]["name"] == "home-alice"
    assert made["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "fast",
    }
    assert "storageClassName" not in make_home_claim(KubernetesSettings(), "n", "alice")["spec"]


def test_less_than_a_core_is_asked_for_in_thousandths() -> None:
    assert container_resources(Resources(0.05, 1), VGPU)["limits"]["cpu"] == "50m"


def copy(*pairs: Path) -> None:
    subprocess.run([sys.executable, "-c", COPY_PROGRAM, *map(str, pairs)], check=True)


def test_copies_never_touch_what_is_there(tmp_path: Path) -> None:
    source = tmp_path / "courses" / "start"
    source.mkdir(parents=True)
    (source / "a.py").write_text("new")
    home = tmp_path / "home"
    copy(source, home / "deep" / "start")
    assert (home / "deep" / "start" / "a.py").read_text() == "new"
    (home / "deep" / "start" / "a.py").write_text("mine")
    copy(source, home / "deep" / "start", tmp_path / "courses" / "nothing", home / "nothing")
    assert (home / "deep" / "start" / "a.py").read_text() == "mine"
    assert not (home / "nothing").exists()


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("whole")
    half = tmp_path / "home" / "file.copying"
    half.mkdir(parents=True)
    copy(source, tmp_path / "home" / "file")
    assert (tmp_path / "home" / "file").read_text() == "whole"
    half.unlink(missing_ok=True) if half.is_file() else None
