"""Which folders of the machine a Python environment needs to run; found by reading, never by importing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ltai_hub.backends.local.plan import Grant
from ltai_hub.backends.local.rootfs import SYSTEM, is_below


def environment_grants(prefix: Path, data: str, extra_paths: Iterable[str] = ()) -> list[Grant]:
    """Read-only grants for the environment at ``prefix``: itself, its base interpreter, editable packages, linked Lab extensions."""
    found = [str(prefix), *_interpreter_folders(prefix)]
    for folder in (*_path_entries(prefix), *extra_paths):
        found += _packages(folder, data)
    found += _editable_packages(prefix)
    found += _linked_extensions(prefix / "share" / "jupyter" / "labextensions")
    return without_nested(
        Grant(path, path, trusted=True) for path in dict.fromkeys(found) if os.path.exists(path) and not is_below(path, list(SYSTEM))
    )


def without_nested(grants: Iterable[Grant]) -> list[Grant]:
    """Leave out read-only grants that a read-only grant above them shows already."""
    kept: list[Grant] = []
    for grant in sorted(grants, key=lambda grant: grant.target):
        if not any(not other.writable and other.source == other.target and is_below(grant.target, [other.target]) for other in kept):
            kept.append(grant)
    return kept


def _interpreter_folders(prefix: Path) -> Iterator[str]:
    """Installation folders on the chain of links behind bin/python, each at its own name; elsewhere (``~/bin``) only the link."""
    link = str(prefix / "bin" / "python")
    for _ in range(8):
        if not os.path.islink(link):
            break
        link = os.path.join(os.path.dirname(link), os.readlink(link))
        folder = os.path.dirname(os.path.dirname(os.path.normpath(link)))
        if folder == "/":  # /bin/python where /bin is a link: the system's folders are shown anyway, the rest must not be
            continue
        if any(Path(folder).glob("lib*/python3*/os.py")):
            yield folder
            yield os.path.realpath(folder)
        elif not is_below(link, [str(prefix)]):
            yield os.path.normpath(link)


def _site_packages(prefix: Path) -> list[Path]:
    return list(prefix.glob("lib/python3*/site-packages"))


def _path_entries(prefix: Path) -> Iterator[str]:
    for folder in _site_packages(prefix):
        for file in folder.glob("*.pth"):
            yield from (line.strip() for line in file.read_text(errors="replace").splitlines() if line.startswith("/"))


def _packages(folder: str, data: str) -> Iterator[str]:
    """The packages in a development folder, not the folder: it may hold the data folder, keys or a repository's history."""
    if not os.path.isdir(folder):
        return
    for entry in os.scandir(folder):
        if entry.is_dir() and os.path.exists(os.path.join(entry.path, "__init__.py")) and not is_below(data, [entry.path]):
            yield entry.path


def _editable_packages(prefix: Path) -> Iterator[str]:
    """setuptools keeps the mapping of an editable package in ``__editable___NAME_finder.py``."""
    for folder in _site_packages(prefix):
        for file in folder.glob("__editable__*_finder.py"):
            yield from re.findall(r"""['"]\w+['"]: ['"](/[^'"]+)['"]""", file.read_text(errors="replace"))


def _linked_extensions(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    for path in (*folder.iterdir(), *folder.glob("@*/*")):
        if path.is_symlink():
            yield os.path.realpath(path)
