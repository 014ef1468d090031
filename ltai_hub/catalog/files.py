"""What a profile brings along: folders shown inside, files copied into the home."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ltai_hub.domain.catalog import Profile
from ltai_hub.domain.workloads import Copy, Mount
from ltai_hub.paths import DataFolder

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def source_path(data: DataFolder, source: str) -> Path:
    """Sources are relative to the data folder's ``courses/``; absolute ones stay as they are."""
    return data.courses.absolute() / source


def profile_mounts(data: DataFolder, profile: Profile, home: Path) -> tuple[Mount, ...]:
    """The profile's mounts with absolute sources and targets."""
    return tuple(Mount(str(source_path(data, m.source)), str(home / m.target), m.read_only) for m in profile.mounts)


def copy_into_home(data: DataFolder, copies: Iterable[Copy], home: Path, uid: int | None = None, gid: int | None = None) -> list[Path]:
    """Put a profile's files where nothing is yet; what is there is never touched. Returns what was put there.

    Files belong to the home's owner where nobody else is given; a home that is not there yet is made, private.
    The home is its user's ground, also while programs of theirs run: files are made ready beside it and moved in by
    descriptors that follow no symlink, so nothing outside can be written or given away.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = home.stat()
    ids = (owner.st_uid if uid is None else uid, owner.st_gid if gid is None else gid)
    return [home / copy.target for copy in copies if _copy(data, copy, home, ids)]


def _copy(data: DataFolder, copy: Copy, home: Path, ids: tuple[int, int]) -> bool:
    source, target = source_path(data, copy.source), PurePosixPath(copy.target)
    if not source.exists() or not _is_inside(data, copy.source) or os.path.lexists(home / target):
        return False
    ready = home.parent / f".{home.name}.{secrets.token_hex(6)}"
    try:
        _make_ready(source, ready, ids)
        with _open_below(home, target.parent, ids) as folder:
            _move(ready, target.name, folder)
    except (NotADirectoryError, FileExistsError):
        return False
    finally:
        _remove(ready)
    return True


def _is_inside(data: DataFolder, source: str) -> bool:
    """A course folder that people may write must not lead elsewhere by a symlink."""
    return Path(source).is_absolute() or source_path(data, source).resolve().is_relative_to(data.courses.resolve())


def _make_ready(source: Path, ready: Path, ids: tuple[int, int]) -> None:
    if source.is_dir():
        shutil.copytree(source, ready, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    else:
        shutil.copy2(source, ready)
    for path in (ready, *ready.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o700 if path.is_dir() else 0o600))
        os.chown(path, *ids, follow_symlinks=False)


@contextmanager
def _open_below(home: Path, inside: PurePosixPath, ids: tuple[int, int]) -> Iterator[int]:
    """A descriptor of a folder in the home; missing ones on the way are made."""
    folder = os.open(home, FOLDER)
    try:
        for part in inside.parts:
            below = _open_part(folder, part, ids)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def _open_part(folder: int, part: str, ids: tuple[int, int]) -> int:
    with suppress(FileExistsError):
        os.mkdir(part, 0o700, dir_fd=folder)
        os.chown(part, *ids, dir_fd=folder, follow_symlinks=False)
    try:
        return os.open(part, FOLDER, dir_fd=folder)
    except OSError as error:  # ELOOP or ENOTDIR, by the system
        raise NotADirectoryError(f"{part} is no plain folder") from error


def _move(ready: Path, name: str, folder: int) -> None:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(ready, name, dst_dir_fd=folder)
    else:
        raise FileExistsError(name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
