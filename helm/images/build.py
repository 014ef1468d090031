"""Builds the images of Kubernetes mode: the platform's own and one for each row of ``spawner_profiles/images.yaml``.

    python helm/images/build.py                              all of them, with `docker build`
    python helm/images/build.py hub postgresql pytorch       these (a row brings along what it builds on)
    python helm/images/build.py --tag 0.2.0 --prefix registry.lan/ --builder 'docker buildx build --platform linux/amd64,linux/arm64 --push'

``--builder`` is any command that takes -t, -f, --build-arg and a context as `docker build` does. What goes into the images is
put together in ``build/images``: wheels of this checkout and the requirements of ``pyproject.toml`` and the catalogue.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CONTEXT = REPOSITORY / "build" / "images"
FILES = ("lab-start", "jupyter_server_config.py", "postgresql-start")
OWN = ("hub", "postgresql")
BASE = "base"
# what a lab needs of the platform's own requirements
LAB_PACKAGES = ("jupyterhub", "jupyterlab")
HUB_EXTRAS = ("kubernetes", "postgres")


@dataclass(frozen=True)
class Build:
    """One call of the builder. ``tag`` without the prefix."""

    tag: str
    dockerfile: str
    arguments: Mapping[str, str] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="hub, postgresql, or rows of images.yaml; default: all")
    parser.add_argument("--builder", default="docker build", help="the command that builds (default: docker build)")
    parser.add_argument("--prefix", default="", help="put before every name, e.g. registry.lan/mirror/")
    parser.add_argument("--tag", default=version(), help="of the platform's own images; rows carry their own")
    options = parser.parse_args()

    rows = load_rows()
    unknown = set(options.names) - {*OWN, *rows["images"]}
    if unknown:
        parser.error(f"no image is called {', '.join(sorted(unknown))}; there are {', '.join((*OWN, *rows['images']))}")
    make_context(rows)
    for build in plan(options.names or (*OWN, *rows["images"]), rows, options.tag, options.prefix):
        subprocess.run(command(options.builder, build, options.prefix), check=True, cwd=REPOSITORY)


def plan(names: Iterable[str], rows: Mapping[str, Any], tag: str, prefix: str = "") -> list[Build]:
    """Every build once and after what it builds on."""
    builds: list[Build] = []
    for name in names:
        wanted = [Build(f"ltai/{name}:{tag}", f"Dockerfile.{name}")] if name in OWN else lab_builds(name, rows["images"], tag, prefix)
        builds += [build for build in wanted if build not in builds]
    return builds


def lab_builds(name: str, images: Mapping[str, Any], tag: str, prefix: str) -> list[Build]:
    """base → the row it builds on → the row → its lab image, which alone changes with this checkout's code."""
    row = images[name]
    title = row["title"]["en"] if isinstance(row["title"], dict) else row["title"]
    lab = {"PARENT": prefix + framework_tag(name, tag), "NAME": name, "TITLE": title}
    return [*framework_builds(name, images, tag, prefix), Build(row["container"], "Dockerfile.lab", lab)]


def framework_builds(name: str, images: Mapping[str, Any], tag: str, prefix: str) -> list[Build]:
    if name == BASE:
        return [Build(framework_tag(BASE, tag), "Dockerfile.framework", {"NAME": BASE})]
    parent = parent_of(name, images)
    arguments = {"PARENT": prefix + framework_tag(parent, tag), "NAME": name}
    return [*framework_builds(parent, images, tag, prefix), Build(framework_tag(name, tag), "Dockerfile.framework", arguments)]


def parent_of(name: str, images: Mapping[str, Any]) -> str:
    """The row whose framework this one installs too, so that they share its layers."""
    wanted = {Requirement(line).name for line in images[name]["requirements"]}
    return next((other for other, row in images.items() if other != name and row["framework"] in wanted), BASE)


def framework_tag(name: str, tag: str) -> str:
    return f"ltai/framework-{name}:{tag}"


def command(builder: str, build: Build, prefix: str) -> list[str]:
    arguments = [f"--build-arg={key}={value}" for key, value in build.arguments.items()]
    return [*shlex.split(builder), "-t", prefix + build.tag, "-f", str(HERE / build.dockerfile), *arguments, str(CONTEXT)]


def make_context(rows: Mapping[str, Any]) -> None:
    shutil.rmtree(CONTEXT / "requirements", ignore_errors=True)
    (CONTEXT / "requirements").mkdir(parents=True)
    for name, lines in requirements(rows).items():
        (CONTEXT / "requirements" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for name in FILES:
        shutil.copy2(HERE / name, CONTEXT / name)
    make_wheels(CONTEXT / "wheels")


def requirements(rows: Mapping[str, Any]) -> dict[str, list[str]]:
    """By image: the hub's from pyproject.toml, the lab's base and each row's from the catalogue."""
    own = load_project(REPOSITORY)
    lab = load_project(REPOSITORY / "labextensions" / "ltai_lab")["dependencies"]
    extras = [line for name in HUB_EXTRAS for line in own["optional-dependencies"][name]]
    hub = [line for line in (*own["dependencies"], *extras, *lab) if Requirement(line).name != "ltai-lab"]
    base = [line for line in own["dependencies"] if Requirement(line).name in LAB_PACKAGES]
    found = {"hub": hub, BASE: [*base, *lab, *rows.get("common", ())]}
    return found | {name: list(row["requirements"]) for name, row in rows["images"].items()}


def make_wheels(folder: Path) -> None:
    subprocess.run([sys.executable, REPOSITORY / "labextensions" / "install.py"], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    for project in (REPOSITORY, REPOSITORY / "labextensions" / "ltai_lab"):
        subprocess.run([sys.executable, "-m", "uv", "build", "-q", "--wheel", "--out-dir", folder, project], check=True)


def load_rows() -> dict[str, Any]:
    rows: dict[str, Any] = yaml.safe_load((REPOSITORY / "spawner_profiles" / "images.yaml").read_text("utf-8"))
    return rows


def load_project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def version() -> str:
    return str(load_project(REPOSITORY)["version"])


if __name__ == "__main__":
    main()
