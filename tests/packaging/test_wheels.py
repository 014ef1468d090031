"""Both distributions, built as for a release, hold everything that works without a checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "labextensions" / "ltai_lab"
SHIPPED = {"hub_config": ROOT / "hub_config", "spawner_profiles": ROOT / "spawner_profiles"}
PACKAGES = {"ltai_hub": ROOT / "ltai_hub", "ltai_services": ROOT / "services" / "ltai_services"}
BUILT = ROOT / "ltai_hub" / "_web"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    """Distribution → wheel."""
    out = tmp_path_factory.mktemp("wheels")
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    for source in (ROOT, LAB):
        command = [uv, "build", "-q", "--wheel", "--python", sys.executable, "--out-dir", out, source]
        subprocess.run(command, check=True, timeout=120)
    return {path.name.split("-")[0]: zipfile.ZipFile(path) for path in out.glob("*.whl")}


def files_below(folder: Path) -> set[str]:
    """Everything but what interpreters and build steps leave behind."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in found if not path.name.startswith(".") and path.suffix != ".map"}


def metadata(wheel: zipfile.ZipFile, name: str = "METADATA") -> str:
    return wheel.read(next(n for n in wheel.namelist() if n.endswith(f".dist-info/{name}"))).decode()


def test_the_platform_has_every_file_of_its_packages(wheels: dict[str, zipfile.ZipFile]) -> None:
    names = set(wheels["ltai"].namelist())
    for package, folder in PACKAGES.items():
        assert {f"{package}/{name}" for name in files_below(folder)} - names == set()


def test_the_platform_has_the_built_front_end(wheels: dict[str, zipfile.ZipFile]) -> None:
    assert (BUILT / "console" / "console.js").exists(), "build the front end first: make setup"
    assert {"ltai_hub/_web/console/console.js", "ltai_hub/_web/console/console.css", "ltai_hub/_web/proxy/lib/chp.mjs"} <= set(
        wheels["ltai"].namelist()
    )


def test_hub_configuration_and_catalogue_go_along(wheels: dict[str, zipfile.ZipFile]) -> None:
    names = set(wheels["ltai"].namelist())
    for place, folder in SHIPPED.items():
        assert {f"ltai_hub/_shipped/{place}/{name}" for name in files_below(folder)} - names == set()
    for file in ("flavors", "images", "profiles"):
        assert yaml.safe_load(wheels["ltai"].read(f"ltai_hub/_shipped/spawner_profiles/{file}.yaml"))


def test_nothing_else_goes_along(wheels: dict[str, zipfile.ZipFile]) -> None:
    """No tests, node modules, source maps or data of this machine."""
    names = {name for wheel in wheels.values() for name in wheel.namelist()}
    assert not [name for name in names if {"tests", "node_modules", ".ltai", "__pycache__"} & set(Path(name).parts)]
    assert not [name for name in names if name.endswith(".map")]
    assert {name.split("/")[0] for name in wheels["ltai"].namelist() if ".dist-info" not in name} == set(PACKAGES)


def test_commands_services_and_requirements_are_declared(wheels: dict[str, zipfile.ZipFile]) -> None:
    points = metadata(wheels["ltai"], "entry_points.txt")
    services = {path.parent.name for path in PACKAGES["ltai_services"].glob("*/__init__.py")} - {"console"}
    assert all(f"{name} = ltai_services.{name}:SPEC" in points for name in services)
    assert "ltai = ltai_hub.cli.main:app" in points
    required = message_from_string(metadata(wheels["ltai"])).get_all("Requires-Dist") or []
    assert "ltai-lab" in required


def test_the_lab_extension_lands_where_jupyter_looks(wheels: dict[str, zipfile.ZipFile]) -> None:
    wheel = wheels["ltai_lab"]
    names = set(wheel.namelist())
    assert {f"ltai_lab/{name}" for name in files_below(LAB / "ltai_lab") if name.endswith((".py", ".typed"))} - names == set()
    data = next(n.split("/")[0] for n in names if ".data/" in n) + "/data/"
    shared = {name.removeprefix(data) for name in names if name.startswith(data)}
    assert {
        "share/jupyter/labextensions/@ltai/lab/package.json",
        "share/jupyter/labextensions/@ltai/lab/install.json",
        "etc/jupyter/jupyter_server_config.d/ltai_lab.json",
        "etc/jupyter/labconfig/page_config.json",
    } <= shared
    assert any(name.startswith("share/jupyter/labextensions/@ltai/lab/static/remoteEntry.") for name in shared)
    assert not [name for name in names if name.startswith("ltai_lab/labextension/")], "it is there twice"


def test_both_carry_the_licence(wheels: dict[str, zipfile.ZipFile]) -> None:
    for wheel in wheels.values():
        assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()
