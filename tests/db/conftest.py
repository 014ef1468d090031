"""``postgresql`` is the URL of a PostgreSQL of the tests' own, in a temporary folder, reached by a unix socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def find_binaries() -> Path | None:
    """Debian keeps them beside the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=None)


def as_somebody(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    names = {account.pw_name for account in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, name)
    return ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups", "--"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        assert not os.environ.get("CI"), "PostgreSQL is not installed"
        pytest.skip("no PostgreSQL on this machine (Debian and Ubuntu: apt-get install postgresql)")
    # not pytest's own folder: only root may enter that, and the path of a socket is short
    folder = Path(tempfile.mkdtemp(prefix="ltai-postgresql-"))
    run = as_somebody(folder)
    data = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=300"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    try:
        subprocess.run([*run, binaries / "initdb", "-D", data, "-U", "ltai", "-A", "trust", "-E", "UTF8", "--no-sync"], **quiet)  # type: ignore[call-overload]
        subprocess.run([*run, binaries / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"], **quiet)  # type: ignore[call-overload]
        try:
            yield f"postgresql+psycopg://ltai@/postgres?host={folder}"
        finally:
            subprocess.run([*run, binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **quiet)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(folder)
