"""People's homes: private folders, and the platform's only way of writing into them.

Whoever owns a home may have planted symbolic links there, so everything is opened part by part without following any.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CHUNK = 1 << 20


def make_home(home: str, uid: int | None) -> None:
    """Private to its owner. As root the platform gives it to the person's account on the first start."""
    if not home:
        return
    if not os.path.isdir(home):
        os.makedirs(home, 0o700, exist_ok=True)
        os.chmod(home, 0o700)
    if uid is not None and os.stat(home, follow_symlinks=False).st_uid != uid:
        give_folder(home, uid)


def give_folder(folder: str, uid: int) -> None:
    """Make ``uid`` the owner of everything below."""
    for _, folders, names, handle in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *names):
            os.chown(name, uid, uid, dir_fd=handle, follow_symlinks=False)
        os.chown(handle, uid, uid)


def copy_into_home(source: Path, home: str, target: str, uid: int | None) -> int:
    """Copy a file or a folder to ``target`` (relative) below ``home``; the number of files copied. Existing files are kept.

    Raises OSError, NotADirectoryError or ELOOP among them when a part of the way is a link.
    """
    make_home(home, uid)
    parts = [part for part in Path(target).parts if part not in ("/", ".")]
    if ".." in parts:
        raise NotADirectoryError(f"{target} leads out of the home")
    folder = os.open(home, FOLDER)
    try:
        for part in parts if source.is_dir() else parts[:-1]:
            inner = _enter(folder, part, uid)
            os.close(folder)
            folder = inner
        if source.is_dir():
            return _copy_folder(source, folder, uid)
        return _copy_file(source, folder, parts[-1] if parts else source.name, uid)
    finally:
        os.close(folder)


def _enter(folder: int, name: str, uid: int | None) -> int:
    """Handle of the folder ``name``, made when it is not there."""
    _make_folder(folder, name, uid)
    return os.open(name, FOLDER, dir_fd=folder)


def _make_folder(folder: int, name: str, uid: int | None) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return
    if uid is not None:
        os.chown(name, uid, uid, dir_fd=folder, follow_symlinks=False)


def _copy_folder(source: Path, folder: int, uid: int | None) -> int:
    count = 0
    for entry in os.scandir(source):
        if entry.is_dir(follow_symlinks=False):
            inner = _enter(folder, entry.name, uid)
            try:
                count += _copy_folder(Path(entry.path), inner, uid)
            finally:
                os.close(inner)
        elif entry.is_file():
            count += _copy_file(Path(entry.path), folder, entry.name, uid)
    return count


def _copy_file(source: Path, folder: int, name: str, uid: int | None) -> int:
    mode = 0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    except FileExistsError:
        return 0
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while chunk := reader.read(CHUNK):
            writer.write(chunk)
        if uid is not None:
            os.fchown(target, uid, uid)
    return 1
