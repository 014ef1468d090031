"""How answers are printed: a table on a terminal, tab-separated into a pipe, or the REST object as JSON."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ltai_hub.units import format_bytes, format_money

if TYPE_CHECKING:
    from ltai_hub.client.types import Page

COLOURS = {
    "queued": "bright_black",
    "starting": "blue",
    "stopping": "blue",
    "building": "blue",
    "running": "green",
    "succeeded": "green",
    "ready": "green",
    "failed": "red",
    "cancelled": "yellow",
}
Row = Mapping[str, Any]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class View:
    """What the caller asked for with -o and --quiet."""

    format: Format = Format.TABLE
    quiet: bool = False


@dataclass(frozen=True)
class Column:
    """``show`` gives the text of a cell; numbers stand ``right``."""

    title: str
    show: Callable[[Row], str]
    right: bool = False


def column(key: str, title: str = "", right: bool = False) -> Column:
    """A value as it is."""
    return Column(title or key.replace("_", " "), lambda row: plain(row.get(key)), right)


def age_column(key: str = "created_at", title: str = "age") -> Column:
    return Column(title, lambda row: age(row.get(key), datetime.now(UTC)), right=True)


def address_column(key: str, title: str) -> Column:
    """A path on the hub, as people open it: ``print_object`` puts the hub's address into ``hub``."""
    return Column(title, lambda row: f"{row.get('hub', '')}{row[key]}" if row.get(key) else "")


def money_column(key: str, title: str) -> Column:
    return Column(title, lambda row: money(row.get(key), row.get("currency", "")), right=True)


def print_page(page: Page[Any], columns: Sequence[Column], key: str, view: View) -> None:
    """A list. ``key`` names what --quiet prints; a note on stderr says when rows were left out."""
    if view.format is Format.JSON:
        print_json({"items": page.items, "total": page.total})
    elif view.quiet:
        print_lines([plain(item.get(key)) for item in page])
    else:
        print_table(page.items, columns)
        if len(page) < page.total:
            note(f"{len(page)} of {page.total}; see all with --limit 0", view)


def print_object(item: Row, columns: Sequence[Column], key: str, view: View, hub: str = "") -> None:
    """One thing, a line a field; empty fields are left out. ``hub``: its address, for ``address_column``."""
    if view.format is Format.JSON:
        print_json(item)
    elif view.quiet:
        print_lines([plain(item.get(key))])
    else:
        lines = [(c.title, c.show({**item, "hub": hub})) for c in columns]
        width = max(len(title) for title, _ in lines) + 1
        print_lines([f"{title + ':':<{width}}  {value}" for title, value in lines if value])


def print_json(value: object) -> None:
    print_lines([json.dumps(value, ensure_ascii=False, indent=2)])


def print_table(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    cells = [[clean(c.show(row)) for c in columns] for row in rows]
    if sys.stdout.isatty():
        _print_rich(cells, columns)
    else:
        print_lines(["\t".join(line) for line in ([c.title for c in columns], *cells)])


def _print_rich(cells: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for c in columns:
        table.add_column(c.title, justify="right" if c.right else "left", overflow="fold")
    for line in cells:
        table.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in line))
    Console().print(table)


def print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def note(text: str, view: View) -> None:
    """For people only: stderr, and not with --quiet."""
    if not view.quiet:
        print(text, file=sys.stderr)


def clean(text: str) -> str:
    """Without control characters, which could move the cursor or break a table."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) == "Cc" else c for c in text)


def plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={plain(v)}" for k, v in value.items())
    return str(value)


def title_of(row: Row, key: str = "title") -> str:
    """English of {"en": …, "zh-CN": …}."""
    value = row.get(key)
    return plain(value.get("en") or next(iter(value.values()), "")) if isinstance(value, dict) else plain(value)


def size(value: object) -> str:
    return format_bytes(value) if isinstance(value, int | float) else ""


def money(micro: object, currency: str) -> str:
    return format_money(micro, currency).strip() if isinstance(micro, int) else ""


def age(moment: object, now: datetime) -> str:
    """2026-11-24T10:00:00Z → "5 min"; what cannot be read as it is."""
    if not moment:
        return ""
    try:
        then = datetime.fromisoformat(str(moment))
    except ValueError:
        return plain(moment)
    return duration((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())


def duration(seconds: object) -> str:
    """Two minutes and more are told in minutes, and so on: "95 s", "12 min", "3 h", "4 d"."""
    if not isinstance(seconds, int | float):
        return ""
    for size_, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size_:
            return f"{int(seconds // size_)} {unit}"
    return f"{max(0.0, seconds):.0f} s"
