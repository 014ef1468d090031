"""Building an image: everything happens in an unnamed sibling folder, which gets its name when it is complete.

``kill -9`` at any point leaves either the old environment or the new one in use, and a folder that the next build removes.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ltai_hub.catalog.image_state import (
    ImageFiles,
    ImagePhase,
    ImageState,
    Progress,
    base_python,
    image_files,
    image_state,
    load_state,
    make_fingerprint,
    save_state,
)
from ltai_hub.catalog.lab import find_lab, is_lab_fresh, put_lab, site_packages
from ltai_hub.catalog.uv import Runner, UvFailed
from ltai_hub.domain.catalog import Image
from ltai_hub.errors import Unavailable
from ltai_hub.paths import DataFolder


async def build_image(folder: DataFolder, image: Image, on_progress: Progress | None = None) -> Path:
    """The image's interpreter; builds the image when that is needed. Returns at once when it is ready.

    Several callers, in one process or many: one builds, the others wait and see its progress.
    Raises Unavailable with uv's own explanation. Cancelled: nothing of the build is left.
    """
    files, lab = image_files(folder, image.name), find_lab()
    state = image_state(folder, image)
    if state.python and is_lab_fresh(state.python.parent.parent, lab):
        return state.python
    if not image.requirements:
        raise Unavailable(f"image {image.name} {state.message}")
    report = on_progress or _ignore
    try:
        files.envs.mkdir(parents=True, exist_ok=True)
        files.kept("lock").parent.mkdir(exist_ok=True)
        async with _locked(files, lambda: report(load_state(files))) as lock:
            return await _build_locked(folder, image, lab, lock, report)
    except OSError as error:
        raise Unavailable(f"image {image.name} could not be built: {error.strerror or error}") from error


async def _build_locked(folder: DataFolder, image: Image, lab: Path | None, lock: int, report: Progress) -> Path:
    """Under the lock: look again, somebody else may have built it meanwhile."""
    state = image_state(folder, image)
    if state.python is None:
        await _Build(image, image_files(folder, image.name), lab, lock, report).run()
    elif lab and not is_lab_fresh(state.python.parent.parent, lab):
        await asyncio.to_thread(put_lab, state.python.parent.parent, lab)
    env = image_files(folder, image.name).env(make_fingerprint(image))
    return env / "bin" / "python"


@asynccontextmanager
async def _locked(files: ImageFiles, on_wait: Callable[[], None]) -> AsyncIterator[int]:
    fd = os.open(files.kept("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _try_lock(fd):
            on_wait()
            await asyncio.sleep(0.2)
        yield fd
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


STARTED = ImageState(ImagePhase.BUILDING, 0.0, "preparing")


@dataclass
class _Build:
    image: Image
    files: ImageFiles
    lab: Path | None
    lock: int
    report: Progress
    state: ImageState = STARTED
    ceiling: float = 0.05
    downloads: dict[str, bool] = field(default_factory=dict)
    to_compile: int = 1
    compiled: int = 0

    @property
    def env(self) -> Path:
        return self.files.env(make_fingerprint(self.image))

    async def run(self) -> None:
        unfinished = self.files.envs / f".{self.env.name}.{os.getpid()}"
        await asyncio.to_thread(self._clear)
        self._say(0.0, 0.05, "preparing")
        creeping = asyncio.create_task(self._creep_loop())
        try:
            await self._fill(unfinished)
            await asyncio.to_thread(self._finish, unfinished)
        except (UvFailed, OSError) as error:
            await asyncio.to_thread(shutil.rmtree, unfinished, True)
            why = error.message if isinstance(error, UvFailed) else error.strerror or str(error)
            self._set(ImageState(ImagePhase.FAILED, 0.0, why))
            raise Unavailable(f"image {self.image.name} could not be built: {why}") from error
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            self._set(ImageState(ImagePhase.ABSENT, 0.0, "the build was stopped"))
            raise
        finally:
            creeping.cancel()
        self._set(ImageState(ImagePhase.READY, 1.0, "", self.env / "bin" / "python"))

    def _clear(self) -> None:
        """Remove what killed builds left; nobody else builds this image while we hold the lock."""
        for left in self.files.envs.glob(f".{self.image.name}-????????????.*"):
            shutil.rmtree(left, ignore_errors=True)
        if self.env.exists():
            shutil.rmtree(self.env)
        self.files.kept("log").write_bytes(b"")
        self.files.kept("txt").write_text("".join(f"{line}\n" for line in self.image.requirements), "utf-8")

    async def _fill(self, env: Path) -> None:
        runner = Runner(self.files.kept("log"), self._on_line, self.lock, self.files.root / ".python")
        python = env / "bin" / "python"
        wanted = self.image.python or base_python()
        await runner.uv("venv", "--no-project", "--relocatable", "--prompt", self.image.name, "--python", wanted, str(env))
        self._say(0.05, 0.15, "choosing versions")
        await runner.uv("pip", "install", "--no-compile-bytecode", "--python", str(python), "-r", str(self.files.kept("txt")))
        self.to_compile = await asyncio.to_thread(_count_modules, env)
        await runner.compile(python, site_packages(env))

    def _on_line(self, line: str) -> None:
        """uv says "Resolved 89 packages in …", "Downloading scipy (35.0MiB)", " Downloaded scipy", "Prepared …", "Installed …"."""
        if match := re.match(r"Resolved (\d+) package", line):
            self._say(0.15, 0.6, f"downloading what is missing of {match[1]} packages")
        elif match := re.match(r"\s*(Downloading|Downloaded) (\S+)", line):
            self.downloads[match[2]] = match[1] == "Downloaded"
            done, known = sum(self.downloads.values()), len(self.downloads)
            self._say(0.15 + 0.35 * done / known, 0.6, f"downloaded {done} of {known} large packages")
        elif re.match(r"\s*Building ", line):
            self._say(self.state.progress, 0.6, f"building {line.split()[1]}")
        elif re.match(r"Prepared \d+", line):
            self._say(0.6, 0.65, "installing")
        elif match := re.match(r"Installed (\d+)", line):
            self._say(0.65, 0.7, f"compiling {match[1]} packages")
        elif line.startswith("Compiling "):
            self._on_compiled()

    def _on_compiled(self) -> None:
        self.compiled += 1
        if self.compiled % 100 == 0:
            progress = 0.65 + 0.34 * min(self.compiled / self.to_compile, 1)
            self._say(progress, progress, self.state.message)

    def _say(self, progress: float, ceiling: float, message: str) -> None:
        self.ceiling = ceiling
        self._set(replace(self.state, progress=max(progress, self.state.progress), message=message))

    def _set(self, state: ImageState) -> None:
        self.state = state
        with suppress(OSError):  # a full disk is reported by what really needs the room
            save_state(self.files, state, self.env)
        self.report(state)

    async def _creep_loop(self) -> None:
        """uv says nothing while it downloads and links: move towards the end of the step, slower and slower."""
        while True:
            await asyncio.sleep(0.5)
            self._set(replace(self.state, progress=self.state.progress + (self.ceiling - self.state.progress) * 0.06))

    def _finish(self, unfinished: Path) -> None:
        """Kernel, lab package, record; then the name, then the link.

        Files may be hard links into uv's cache: they are replaced, never written into.
        """
        if self.lab:
            put_lab(unfinished, self.lab)
        _write_kernel(unfinished, self.env, self.image)
        _replace(unfinished / "image.json", json.dumps(self._record(unfinished), indent=1))
        unfinished.rename(self.env)
        before = _flip(self.files.link, f".envs/{self.env.name}")
        _prune(self.files, keep={self.env.name, before})

    def _record(self, env: Path) -> dict[str, object]:
        names = (p.name.removesuffix(".dist-info").rsplit("-", 1) for p in site_packages(env).glob("*.dist-info"))
        return {
            "image": self.image.name,
            "requirements": self.image.requirements,
            "packages": {name.replace("_", "-").lower(): version for name, version in sorted(names)},
            "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def _count_modules(env: Path) -> int:
    tests = ("test", "tests")
    return max(sum(len([f for f in files if f.endswith(".py")]) for at, _, files in os.walk(env) if not at.endswith(tests)), 1)


def _write_kernel(unfinished: Path, env: Path, image: Image) -> None:
    """The notebook kernel, by absolute path and with the image's own name."""
    folder = unfinished / "share" / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": [str(env / "bin" / "python"), "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": image.title.en,
        "language": "python",
        "env": dict(image.environment),
        "metadata": {"debugger": True},
    }
    _replace(folder / "kernel.json", json.dumps(spec, indent=1))


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)


def _flip(link: Path, target: str) -> str:
    """Point the link at the new environment in one step; returns the name of the one before, or ""."""
    before = os.readlink(link) if link.is_symlink() else ""
    unfinished = link.with_name(f".{link.name}.link")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(target)
    unfinished.replace(link)
    return before.removeprefix(".envs/")


def _prune(files: ImageFiles, keep: set[str]) -> None:
    """Programs may still run in the environment before this one; older ones go."""
    for env in files.envs.glob(f"{files.name}-????????????"):
        if env.name not in keep:
            shutil.rmtree(env, ignore_errors=True)


def _ignore(state: ImageState) -> None:
    pass
