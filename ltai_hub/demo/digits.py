"""The digit scans that ship with scikit-learn, as files a course can use: one CSV and PNG pictures in a folder a digit.

Source: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY 4.0).
8 × 8 grey values from 0 to 16 there, from 0 (black) to 255 (white) here, as every picture viewer understands them.
"""

from __future__ import annotations

import gzip
import importlib.util
import struct
import zlib
from pathlib import Path

from ltai_hub.errors import Unavailable

SIDE = 8
PICTURES_A_DIGIT = 20
Scan = tuple[bytes, int]


def find_scans(site_packages: Path | None = None) -> Path:
    """scikit-learn's file, in this environment or another one's site-packages; scikit-learn itself is not imported. Raises Unavailable."""
    spec = importlib.util.find_spec("sklearn")
    places = [site_packages / "sklearn"] if site_packages else []
    places += [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        path = place / "datasets" / "data" / "digits.csv.gz"
        if path.exists():
            return path
    raise Unavailable("scikit-learn is not installed, and the demo's digit scans are part of it")


def load_scans(path: Path) -> list[Scan]:
    """64 grey values from 0 to 255, row by row, and the digit."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        rows = [[int(float(cell)) for cell in line.split(",")] for line in lines if line.strip()]
    return [(bytes(round(value * 255 / 16) for value in row[:-1]), row[-1]) for row in rows]


def write_digits(folder: Path, scans: list[Scan]) -> None:
    """``digits.csv`` (columns p0 … p63, digit) with all scans, ``png/DIGIT/NNNN.png`` with the first twenty of each digit."""
    folder.mkdir(parents=True, exist_ok=True)
    header = ",".join([*(f"p{n}" for n in range(SIDE * SIDE)), "digit"])
    lines = (",".join(map(str, [*pixels, digit])) for pixels, digit in scans)
    (folder / "digits.csv").write_text("\n".join([header, *lines, ""]), "ascii")
    seen = dict.fromkeys(range(10), 0)
    for number, (pixels, digit) in enumerate(scans):
        if seen[digit] < PICTURES_A_DIGIT:
            seen[digit] += 1
            path = folder / "png" / str(digit) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_png(pixels, SIDE))


def make_png(pixels: bytes, width: int) -> bytes:
    """Grey values row by row → a PNG file: 8 bits, grey, no filter (PNG specification, W3C 2003, chapters 5 and 11)."""
    height = len(pixels) // width
    rows = b"".join(b"\0" + pixels[n * width : (n + 1) * width] for n in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
