"""The data folder: may it be used, and are we the only one who uses it?"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

from ltai_hub.errors import ConfigProblem
from ltai_hub.paths import DataFolder
from ltai_hub.units import format_bytes

LEAST_FREE = 64 << 20
# bytes of a unix socket's path, without the zero at its end
LONGEST_SOCKET = 107 if sys.platform == "linux" else 103
FOLDERS = ("hub", "homes", "courses", "images", "logs", "mlflow/artifacts", "run/workloads")


def open_folder(folder: DataFolder) -> int:
    """Make it where it is missing and lock it for this process; returns the lock's descriptor. Raises ConfigProblem."""
    root = folder.root
    check_length(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigProblem(f"the data folder {root} cannot be written ({why(error)}); choose another with --data, or make room") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        who = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise ConfigProblem(
            f"the data folder {root} is in use by another ltai start (process {who or 'unknown'}); "
            "stop it, or choose another folder with --data"
        ) from None
    check_room(root)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def check_length(folder: DataFolder) -> None:
    """Raises ConfigProblem where the kernel has no room for the path of a socket."""
    longest = max(len(os.fsencode(socket)) for socket in (folder.fork_socket, folder.mlflow_socket))
    if longest > LONGEST_SOCKET:
        most = LONGEST_SOCKET - (longest - len(os.fsencode(folder.root)))
        raise ConfigProblem(
            f"the path of the data folder is {len(os.fsencode(folder.root))} bytes long and sockets below it allow {most}; "
            f"choose a shorter one with --data ({folder.root})"
        )


def check_room(root: Path) -> None:
    """Raises ConfigProblem when the disk is full or refuses to keep a file."""
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_FREE:
        raise ConfigProblem(
            f"the disk of {root} has only {format_bytes(free)} left; make room (at least {format_bytes(LEAST_FREE)}) or choose --data"
        )
    probe = root / ".probe"
    try:
        probe.write_bytes(b"x" * 65536)
        probe.unlink()
    except OSError as error:
        raise ConfigProblem(f"the data folder {root} cannot be written ({why(error)}); choose another with --data, or make room") from error


def make_folders(folder: DataFolder) -> None:
    """Under root people have accounts of their own, who must be able to pass through to their homes."""
    open_mode = 0o711 if os.geteuid() == 0 else 0o700
    folder.root.chmod(open_mode)
    for name in FOLDERS:
        (folder.root / name).mkdir(parents=True, exist_ok=True)
    for name in ("hub", "logs", "mlflow"):
        (folder.root / name).chmod(0o700)
    for name in ("homes", "run", "run/workloads"):
        (folder.root / name).chmod(open_mode)
    keep_database_private(folder.root / "ltai.sqlite")


def keep_database_private(path: Path) -> None:
    """It holds password hashes, and sqlite makes files that all may read; its side files take the mode of this one."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def write_private(path: Path, text: str) -> None:
    """A file only this account can read; replaced in one step."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def why(error: OSError) -> str:
    return "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
