"""P6: requests a second to one instance; peers: `mlflow models serve` and MLServer on the same model."""

from __future__ import annotations

from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.serving import measure


def requests(_folder: Path) -> list[Figure]:
    return [
        Figure(f"{row['figure']} {row['what']}", row["value"], row["unit"], row["peer"], row["peer_value"], len(row["runs"]), floor_of(row))
        for row in measure()
    ]


def floor_of(row: dict[str, str]) -> str:
    return "≥ 0.7 × direct" if row["what"].startswith("through") else "≥ 1.0 × the best"
