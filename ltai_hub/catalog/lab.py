"""The Python half of ``ltai_lab`` inside an image: serving runtime and helpers of notebooks, kept as new as the platform's."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
from pathlib import Path

from ltai_hub.paths import REPOSITORY

LEFT_OUT = {"labextension", "tests", "__pycache__", "node_modules"}
DIGEST = ".ltai_lab.digest"


def find_lab() -> Path | None:
    """The package's folder: installed, or in the checkout. Imports nothing."""
    spec = importlib.util.find_spec("ltai_lab")
    places = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    places.append(REPOSITORY / "labextensions" / "ltai_lab" / "ltai_lab")
    return next((p for p in places if any(p.glob("*.py"))), None)


def lab_files(lab: Path) -> list[Path]:
    """Relative paths of what goes along."""
    found = (p.relative_to(lab) for p in lab.rglob("*") if p.suffix in (".py", ".typed", ".json", ".html") and p.is_file())
    return sorted(p for p in found if not LEFT_OUT & set(p.parts))


def lab_digest(lab: Path) -> str:
    digest = hashlib.sha256()
    for path in lab_files(lab):
        digest.update(f"{path}\0".encode() + (lab / path).read_bytes() + b"\0")
    return digest.hexdigest()


def site_packages(env: Path) -> Path:
    return next(env.glob("lib/python3*/site-packages"))


def is_lab_fresh(env: Path, lab: Path | None) -> bool:
    if lab is None:
        return True
    try:
        return (site_packages(env) / DIGEST).read_text() == lab_digest(lab)
    except OSError:
        return False


def put_lab(env: Path, lab: Path) -> None:
    """Put the package into the environment, or a newer one in its place."""
    site = site_packages(env)
    new, old, place = site / ".ltai_lab-new", site / ".ltai_lab-old", site / "ltai_lab"
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    for path in lab_files(lab):
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lab / path, new / path)
    subprocess.run([env / "bin" / "python", "-I", "-m", "compileall", "-q", new], check=False, stdout=subprocess.DEVNULL)
    if place.exists():
        place.rename(old)
    new.rename(place)
    (site / DIGEST).write_text(lab_digest(lab))
    shutil.rmtree(old, ignore_errors=True)
