"""Course folders of the demo school: what lies beside this file, and data made when they are first needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ltai_hub.demo.digits import find_scans, load_scans, write_digits
from ltai_hub.paths import DataFolder

SHIPPED = Path(__file__).parent / "courses"


def make_courses(data: DataFolder) -> None:
    """Put the folders into ``$DATA/courses``; those that are there stay as teachers left them. Raises Unavailable without digit scans."""
    _make(data.courses / "digits", _add_digits)
    _make(data.courses / "gpu-intro", lambda _folder: None)


def _make(folder: Path, add_data: Callable[[Path], None]) -> None:
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(SHIPPED / folder.name, unfinished, ignore=shutil.ignore_patterns("__pycache__", "model", "data"))
    add_data(unfinished)
    unfinished.rename(folder)


def _add_digits(folder: Path) -> None:
    write_digits(folder / "data", load_scans(find_scans()))
