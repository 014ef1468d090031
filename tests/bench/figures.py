"""A figure, how it is printed and kept."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """``ratio`` is value / peer_value; ``runs`` how many single measurements the value is the median of."""

    figure: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    runs: int = 1
    floor: str = ""

    @property
    def ratio(self) -> float | None:
        return round(self.value / self.peer_value, 4) if self.peer_value else None


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 4)


def keep(figures: Sequence[Figure], path: Path) -> None:
    """One JSON line a figure, appended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for figure in figures:
            row = asdict(figure) | {"ratio": figure.ratio}
            row.pop("floor")
            file.write(json.dumps(row) + "\n")


def table(figures: Sequence[Figure]) -> str:
    rows = [("figure", "value", "peer", "peer's value", "ratio", "runs", "floor")]
    for f in figures:
        theirs = "" if f.peer_value is None else f"{f.peer_value:g} {f.unit}"
        rows.append((f.figure, f"{f.value:g} {f.unit}", f.peer, theirs, "" if f.ratio is None else f"{f.ratio:g}", str(f.runs), f.floor))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
