"""Images are built by the real uv from a wheel made here, so nothing is fetched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ltai_hub.catalog import build, lab
from ltai_hub.catalog.image_state import first_images, image_files, is_locked
from ltai_hub.catalog.images import ImagePhase, ImageState, build_image, image_log, image_packages, image_python, image_state
from ltai_hub.catalog.load import load_catalog
from ltai_hub.catalog.uv import _environment, last_words
from ltai_hub.domain.catalog import Image, Text
from ltai_hub.errors import Unavailable
from ltai_hub.paths import DataFolder, shipped


def make_wheel(folder: Path, version: str) -> Path:
    """A package ``tiny`` with a command of the same name."""
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f'def main() -> None:\n    print("tiny {version}")\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    }
    digests = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() for name, text in files.items()}
    record = "".join(f"{name},sha256={digests[name]},{len(text)}\n" for name, text in files.items()) + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)
    return path


def an_image(folder: Path, version: str = "1.0") -> Image:
    return Image("tiny", Text("Tiny", "小"), "tiny", version, requirements=(f"tiny @ {make_wheel(folder / 'wheels', version).as_uri()}",))


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def leftovers(data: DataFolder) -> list[str]:
    return [p.name for p in (data.images / ".envs").glob(".*")]


async def test_an_image_is_built_once_and_then_ready_at_once(data: DataFolder, tmp_path: Path) -> None:
    image, seen = an_image(tmp_path), list[ImageState]()
    assert image_state(data, image).state is ImagePhase.ABSENT
    python = await build_image(data, image, seen.append)
    state = image_state(data, image)
    assert (state.state, state.progress, state.python) == (ImagePhase.READY, 1.0, python)
    assert image_python(data, "tiny") == python
    assert image_packages(data, "tiny")["tiny"] == "1.0"
    progress = [s.progress for s in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert {s.state for s in seen[:-1]} == {ImagePhase.BUILDING}
    assert "Installed" in image_log(data, "tiny").read_text()
    began = time.perf_counter()
    assert await build_image(data, image) == python
    assert time.perf_counter() - began < 0.1
    assert leftovers(data) == []


async def test_commands_and_kernel_of_an_image_name_its_final_place(data: DataFolder, tmp_path: Path) -> None:
    image = replace(an_image(tmp_path), environment={"A": "b"})
    python = await build_image(data, image)
    assert subprocess.check_output([python.parent / "tiny"], text=True) == "tiny 1.0\n"
    assert subprocess.check_output([data.images / "tiny" / "bin" / "tiny"], text=True) == "tiny 1.0\n"
    path = data.images / "tiny" / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel = json.loads(path.read_text())
    assert kernel["argv"][0] == str(python)
    assert (kernel["display_name"], kernel["env"]) == ("Tiny", {"A": "b"})
    assert path.stat().st_nlink == 1


async def test_bytecode_is_there_even_when_the_machine_switches_it_off(
    data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    python = await build_image(data, an_image(tmp_path))
    assert list(python.parent.parent.glob("lib/python3*/site-packages/__pycache__/tiny.*.pyc"))


async def test_two_builders_at_once_build_once(data: DataFolder, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    pythons = await asyncio.gather(*(build_image(data, image) for _ in range(3)))
    assert len(set(pythons)) == 1
    assert image_log(data, "tiny").read_text().count("Installed") == 1


async def test_a_changed_row_is_built_beside_what_runs(data: DataFolder, tmp_path: Path) -> None:
    old = await build_image(data, an_image(tmp_path))
    changed = an_image(tmp_path, "2.0")
    assert image_state(data, changed) == ImageState(ImagePhase.ABSENT, 0.0, "has changed and is built anew when it is next used")
    new = await build_image(data, changed)
    assert image_python(data, "tiny") == new != old
    assert subprocess.check_output([old.parent / "tiny"], text=True) == "tiny 1.0\n"
    third = await build_image(data, an_image(tmp_path, "3.0"))
    assert (old.exists(), new.exists(), third.exists()) == (False, True, True)


async def test_going_back_to_an_earlier_row_works(data: DataFolder, tmp_path: Path) -> None:
    await build_image(data, an_image(tmp_path))
    await build_image(data, an_image(tmp_path, "2.0"))
    python = await build_image(data, an_image(tmp_path))
    assert subprocess.check_output([python.parent / "tiny"], text=True) == "tiny 1.0\n"
    assert image_state(data, an_image(tmp_path)).python == python


async def test_a_failed_build_says_what_uv_said_and_can_be_mended(data: DataFolder, tmp_path: Path) -> None:
    broken = replace(an_image(tmp_path), requirements=("tiny @ file:///nowhere/tiny-1.0-py3-none-any.whl",))
    with pytest.raises(Unavailable, match=r"image tiny could not be built: .*nowhere"):
        await build_image(data, broken)
    state = image_state(data, broken)
    assert state.state is ImagePhase.FAILED
    assert "nowhere" in state.message
    assert leftovers(data) == []
    assert image_state(data, an_image(tmp_path)).state is ImagePhase.ABSENT
    await build_image(data, an_image(tmp_path))


async def test_a_failed_rebuild_leaves_the_old_one_in_use(data: DataFolder, tmp_path: Path) -> None:
    python = await build_image(data, an_image(tmp_path))
    with pytest.raises(Unavailable):
        await build_image(data, replace(an_image(tmp_path), requirements=("tiny @ file:///nowhere/tiny-1.0-py3-none-any.whl",)))
    assert image_python(data, "tiny") == python
    assert python.exists()


async def test_an_unwritable_folder_is_said_so(data: DataFolder, tmp_path: Path) -> None:
    data.root.mkdir()
    data.images.write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="image tiny could not be built"):
        await build_image(data, an_image(tmp_path))


async def test_an_image_without_requirements_is_for_kubernetes(data: DataFolder) -> None:
    with pytest.raises(Unavailable, match="image k8s has no requirements: it can only be used in Kubernetes mode"):
        await build_image(data, Image("k8s", Text("x", "x"), "x", "1", container="x"))
    with pytest.raises(Unavailable, match="image k8s has not been built yet"):
        image_python(data, "k8s")


async def test_a_cancelled_build_leaves_nothing(data: DataFolder, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    started = asyncio.Event()
    task = asyncio.create_task(build_image(data, image, lambda state: started.set() if state.message == "choosing versions" else None))
    await started.wait()
    assert image_state(data, image).state is ImagePhase.BUILDING
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert image_state(data, image).state is ImagePhase.ABSENT
    assert leftovers(data) == []
    await build_image(data, image)


KILLED_BUILD = """
import asyncio, os, signal, sys
from pathlib import Path
from ltai_hub.catalog import build
from ltai_hub.domain.catalog import Image, Text
from ltai_hub.paths import DataFolder

def die(*_arguments, **_named): os.kill(os.getpid(), signal.SIGKILL)

data, requirement, when = sys.argv[1:]
if hasattr(build, when):
    setattr(build, when, die)
image = Image("tiny", Text("Tiny", "小"), "tiny", "1.0", requirements=(requirement,))
asyncio.run(build.build_image(DataFolder(Path(data)), image, lambda state: die() if state.message.startswith(when) else None))
"""


@pytest.mark.parametrize("when", ["preparing", "choosing", "compiling", "_write_kernel", "_flip", "_prune"])
async def test_kill_9_at_any_point_leaves_nothing_half_done(data: DataFolder, tmp_path: Path, when: str) -> None:
    image = an_image(tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(KILLED_BUILD), str(data.root), image.requirements[0], when]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    await until_unlocked(data)
    complete = when == "_prune"
    assert image_state(data, image).state is (ImagePhase.READY if complete else ImagePhase.ABSENT)
    assert (data.images / "tiny").exists() is complete
    python = await build_image(data, image)
    assert subprocess.check_output([python.parent / "tiny"], text=True) == "tiny 1.0\n"
    assert leftovers(data) == []


async def until_unlocked(data: DataFolder) -> None:
    """uv is ended by the kernel when its parent dies; that takes a moment."""
    for _ in range(100):
        if not is_locked(image_files(data, "tiny")):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("uv still runs five seconds after its parent was killed")


async def test_an_environment_whose_python_is_gone_is_built_anew(data: DataFolder, tmp_path: Path) -> None:
    image = an_image(tmp_path)
    python = await build_image(data, image)
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert image_state(data, image).state is ImagePhase.ABSENT
    assert (await build_image(data, image)).exists()


async def test_the_lab_package_is_put_in_and_kept_fresh(data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ltai_lab"
    (package / "labextension").mkdir(parents=True)
    (package / "__init__.py").write_text("VERSION = 1\n")
    (package / "labextension" / "big.py").write_text("")
    monkeypatch.setattr(build, "find_lab", lambda: package)
    image = an_image(tmp_path)
    python = await build_image(data, image)
    ask = [str(python), "-I", "-c", "import ltai_lab; print(ltai_lab.VERSION)"]
    assert subprocess.check_output(ask, text=True) == "1\n"
    assert not (lab.site_packages(python.parent.parent) / "ltai_lab" / "labextension").exists()
    (package / "__init__.py").write_text("VERSION = 22\n")
    assert await build_image(data, image) == python
    assert subprocess.check_output(ask, text=True) == "22\n"
    assert not [p.name for p in lab.site_packages(python.parent.parent).glob(".ltai_lab-*")]


def test_nothing_of_the_platforms_environment_reaches_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LTAI_SIGNING_KEY", "JUPYTERHUB_API_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("UV_OFFLINE", "1")
    environment = _environment(tmp_path)
    assert {"UV_OFFLINE", "PATH"} <= set(environment)
    assert not [name for name in environment if name.startswith(("LTAI_", "JUPYTERHUB_", "CONFIGPROXY_", "PYTHON", "VIRTUAL_ENV"))]
    assert environment["PATH"] == os.environ["PATH"]


def test_uvs_explanation_becomes_one_line() -> None:
    lines = [
        "Using Python 3.11.7 environment at: x",
        "  × No solution found when resolving dependencies:",
        "  ╰─▶ Because nosuch was not found in the package registry and you require",
        "      nosuch, we can conclude that your requirements are unsatisfiable.",
    ]
    assert last_words(lines) == (
        "No solution found when resolving dependencies: Because nosuch was not found in the package registry and you require "
        "nosuch, we can conclude that your requirements are unsatisfiable."
    )
    assert last_words(["error: Failed to fetch"]) == "Failed to fetch"


def test_the_images_profiles_start_with_are_built_before_anybody_asks() -> None:
    assert [image.name for image in first_images(load_catalog(shipped("spawner_profiles")))] == ["scikit-learn"]
