"""What is built for which row of the catalogue, and of what; no builder is called."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "helm" / "images"
ROWS: dict[str, Any] = {
    "common": ["ipykernel>=7"],
    "images": {
        "scientific": {
            "title": {"en": "Scientific"},
            "framework": "scikit-learn",
            "requirements": ["scikit-learn==1.9.*"],
            "container": "ltai/sk:1",
        },
        "torch": {"title": "Torch", "framework": "pytorch", "requirements": ["torch", "scikit-learn==1.9.*"], "container": "ltai/torch:2"},
        "other": {"title": "Other", "framework": "other", "requirements": ["other"], "container": "ltai/other:3"},
    },
}


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ltai_images_build", IMAGES / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_row_is_built_on_the_row_whose_framework_it_installs_too(build: ModuleType) -> None:
    tags = [step.tag for step in build.plan(["torch"], ROWS, "9")]
    assert tags == ["ltai/framework-base:9", "ltai/framework-scientific:9", "ltai/framework-torch:9", "ltai/torch:2"]
    assert build.parent_of("other", ROWS["images"]) == "base"


def test_what_two_rows_share_is_built_once(build: ModuleType) -> None:
    tags = [step.tag for step in build.plan(["scientific", "torch", "other"], ROWS, "9")]
    assert len(tags) == len(set(tags))
    assert tags.index("ltai/framework-scientific:9") < tags.index("ltai/sk:1") < tags.index("ltai/framework-torch:9")


def test_the_command_is_the_builders_with_the_prefix_before_every_name(build: ModuleType) -> None:
    step = build.plan(["scientific"], ROWS, "9", "r.lan/")[-1]
    words = build.command("docker buildx build --push", step, "r.lan/")
    assert words[:5] == ["docker", "buildx", "build", "--push", "-t"]
    assert words[5] == "r.lan/ltai/sk:1"
    assert "--build-arg=PARENT=r.lan/ltai/framework-scientific:9" in words


def test_every_shipped_row_has_an_image_of_its_own_name(build: ModuleType) -> None:
    rows = build.load_rows()
    tags = {step.tag for step in build.plan(list(rows["images"]), rows, "9")}
    assert {row["container"] for row in rows["images"].values()} <= tags


def test_every_package_is_ready_made_for_arm64_too(build: ModuleType, tmp_path: Path) -> None:
    """No builder compiles anything, so a builder of another processor needs no compilers either."""
    for name, lines in build.requirements(build.load_rows()).items():
        wanted = tmp_path / f"{name}.txt"
        wanted.write_text("\n".join(lines))
        bookworm = ["--python-platform", "aarch64-manylinux_2_36", "--python-version", "3.11"]
        command = [sys.executable, "-m", "uv", "pip", "compile", "-q", *bookworm, "--only-binary", ":all:", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stderr)


def test_what_a_build_keeps_for_the_next_is_kept_by_processor() -> None:
    """Builders give one cache to the builds of all; uv of another processor does not even start."""
    lines = "\n".join(path.read_text("utf-8") for path in sorted(IMAGES.glob("Dockerfile.*"))).replace("\\\n", "").split("\n")
    steps = [line for line in lines if "--mount=type=cache" in line]
    assert len(steps) == 4
    for step in steps:
        assert re.match(r"RUN --mount=type=cache,target=/root/\.cache +export XDG_CACHE_HOME=/root/\.cache/\$\(uname -m\) ", step)
        assert step.count("/root/.cache") == 2


def test_requirements_come_from_the_project_and_the_catalogue(build: ModuleType) -> None:
    found = build.requirements(ROWS)
    assert found["torch"] == ["torch", "scikit-learn==1.9.*"]
    assert "ipykernel>=7" in found["base"]
    assert any(line.startswith("jupyterlab") for line in found["base"])
    assert not any(line.startswith("mlflow") for line in found["base"])
    assert any(line.startswith("psycopg") for line in found["hub"])


@pytest.mark.parametrize("path", sorted(IMAGES.glob("Dockerfile.*")), ids=lambda path: path.name)
def test_a_dockerfile_names_no_architecture_and_no_registry_and_ends_without_root(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"amd64|x86_64|arm64|aarch64|https?://", re.sub(r"(?m)^#.*", "", text))
    if path.name != "Dockerfile.framework":
        assert re.findall(r"(?m)^USER (\S+)", text)[-1] == "1000:100"
