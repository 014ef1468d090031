"""What ``ltai start`` prints."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ltai_hub.local.prepare import SchoolAccount


def say(text: str) -> None:
    print(text, flush=True)


def accounts_table(accounts: Sequence[SchoolAccount]) -> str:
    rows = [("name", "password", "role"), *((a.name, a.password, a.role) for a in accounts)]
    widths = [max(display_width(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  " + "  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def display_width(text: str) -> int:
    """Columns in a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))
