"""Images of local mode: Python environments made by uv from a row's requirements, shared read-only.

$DATA/images/
  NAME → .envs/NAME-FINGERPRINT     the environment in use; the link is flipped when a changed row has been built
  .envs/NAME-FINGERPRINT/           complete from the moment it has this name; programs keep the one they began with
  .state/NAME.{json,log,lock,txt}   progress or failure of the last build, its log, its lock, its requirements
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ltai_hub.domain.catalog import Catalog, Image
from ltai_hub.errors import Unavailable
from ltai_hub.paths import DataFolder


class ImagePhase(StrEnum):
    ABSENT = "absent"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class ImageState:
    """progress 0 to 1; message one sentence for people; python the interpreter, once ready."""

    state: ImagePhase
    progress: float = 0.0
    message: str = ""
    python: Path | None = None


Progress = Callable[[ImageState], None]


@dataclass(frozen=True)
class ImageFiles:
    """Names of everything kept of one image; creates nothing."""

    root: Path
    name: str

    @property
    def link(self) -> Path:
        return self.root / self.name

    @property
    def envs(self) -> Path:
        return self.root / ".envs"

    def env(self, fingerprint: str) -> Path:
        return self.envs / f"{self.name}-{fingerprint}"

    def kept(self, kind: str) -> Path:
        return self.root / ".state" / f"{self.name}.{kind}"


def image_python(folder: DataFolder, name: str) -> Path:
    """The interpreter of the environment in use now; stays valid when the image is built anew. Raises Unavailable when there is none."""
    python = image_files(folder, name).link.resolve() / "bin" / "python"
    if not python.exists():
        raise Unavailable(f"image {name} has not been built yet; it is built when it is first used")
    return python


def image_state(folder: DataFolder, image: Image) -> ImageState:
    """What stands on disk: a few file reads, no processes."""
    files = image_files(folder, image.name)
    env = files.env(make_fingerprint(image))
    if _is_in_use(files, env):
        return ImageState(ImagePhase.READY, 1.0, "", env / "bin" / "python")
    last = load_state(files)
    if last.state is ImagePhase.BUILDING and is_locked(files):
        return last
    if last.state is ImagePhase.FAILED and _kept_fingerprint(files) == env.name:
        return last
    if not image.requirements:
        return ImageState(ImagePhase.ABSENT, 0.0, "has no requirements: it can only be used in Kubernetes mode")
    changed = files.link.exists()
    return ImageState(
        ImagePhase.ABSENT, 0.0, "has changed and is built anew when it is next used" if changed else "is built when it is first used"
    )


def image_log(folder: DataFolder, name: str) -> Path:
    """Log of the last build; may not exist."""
    return image_files(folder, name).kept("log")


def image_packages(folder: DataFolder, name: str) -> dict[str, str]:
    """Package → version in the environment in use; empty when there is none."""
    try:
        record = json.loads((image_files(folder, name).link / "image.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(record["packages"])


def first_images(catalog: Catalog) -> list[Image]:
    """Images that profiles start with: worth building before anybody asks."""
    names = dict.fromkeys(profile.image for profile in catalog.profiles.values())
    return [catalog.images[name] for name in names]


def image_files(folder: DataFolder, name: str) -> ImageFiles:
    return ImageFiles(folder.images.absolute(), name)


def make_fingerprint(image: Image) -> str:
    """Changes when the environment has to be built anew: other requirements, other Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    python = image.python or f"{base_python()} {version}"
    return hashlib.sha256(json.dumps([list(image.requirements), python]).encode()).hexdigest()[:12]


def base_python() -> str:
    """The interpreter the platform's own environment was made with."""
    return str(getattr(sys, "_base_executable", sys.executable))


def load_state(files: ImageFiles) -> ImageState:
    try:
        kept = json.loads(files.kept("json").read_text("utf-8"))
        return ImageState(ImagePhase(kept["state"]), float(kept["progress"]), str(kept["message"]))
    except (OSError, ValueError, KeyError):
        return ImageState(ImagePhase.ABSENT)


def save_state(files: ImageFiles, state: ImageState, env: Path) -> None:
    """For readers in other processes; replaced whole, never half-written."""
    path = files.kept("json")
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    kept = {"state": state.state, "progress": round(state.progress, 3), "message": state.message, "env": env.name}
    unfinished.write_text(json.dumps(kept, ensure_ascii=False), "utf-8")
    unfinished.replace(path)


def is_locked(files: ImageFiles) -> bool:
    """Whether somebody builds right now; a builder that was killed holds nothing."""
    try:
        fd = os.open(files.kept("lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _is_in_use(files: ImageFiles, env: Path) -> bool:
    """The link is a short relative one, and the interpreter that the environment links to is still there."""
    try:
        return os.readlink(files.link) == f".envs/{env.name}" and (env / "bin" / "python").exists()
    except OSError:
        return False


def _kept_fingerprint(files: ImageFiles) -> str:
    try:
        return str(json.loads(files.kept("json").read_text("utf-8")).get("env", ""))
    except (OSError, ValueError):
        return ""
