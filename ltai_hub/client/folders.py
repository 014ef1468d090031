"""Packs the small folder that a job takes along to another cluster."""

from __future__ import annotations

import base64
import io
import os
import zipfile
from pathlib import Path

from ltai_hub.errors import BadInput
from ltai_hub.units import format_bytes

LARGEST = 256 << 10
# made again where they are missed, or nothing of the program
LEFT_OUT = {"__pycache__", "node_modules", "mlruns"}


def pack_folder(folder: Path) -> str:
    """A zip archive in base64; hidden files and caches are left out. Raises BadInput when it is too large."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder")
    packed = io.BytesIO()
    sizes: dict[str, int] = {}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files_of(folder):
            name = path.relative_to(folder).as_posix()
            sizes[name] = path.stat().st_size
            if sum(sizes.values()) > 64 * LARGEST:
                break
            archive.write(path, name)
    if packed.tell() > LARGEST or sum(sizes.values()) > 64 * LARGEST:
        largest = max(sizes, key=lambda name: sizes[name])
        raise BadInput(
            f"{folder} is larger than the {format_bytes(LARGEST)} a job takes along, packed; its largest file is {largest} "
            f"({format_bytes(sizes[largest])}). Name a folder with the program only, and let the program fetch its data"
        )
    return base64.b64encode(packed.getvalue()).decode() if sizes else ""


def files_of(folder: Path) -> list[Path]:
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in LEFT_OUT)
        found += [Path(root) / name for name in sorted(files) if not name.startswith(".")]
    return [path for path in found if path.is_file()]
