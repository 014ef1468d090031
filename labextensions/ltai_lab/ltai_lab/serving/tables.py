"""A CSV file → the rows a model takes."""

from __future__ import annotations

import csv
import io

import numpy as np

from ltai_lab.serving.errors import Refused
from ltai_lab.serving.images import row_shape
from ltai_lab.serving.inputs import Array, Data, InputSpec, conform, conform_named

# A class's data file usually carries the answer as well; it is left out when the rest fits.
ANSWER_COLUMNS = {"label", "target", "class", "y", "digit", "species", "answer"}


def csv_to_rows(spec: InputSpec, content: bytes) -> tuple[Data, list[str]]:
    """Rows, and the columns that were left out. The first line may name the columns. Raises Refused."""
    lines = _read(content)
    header = None if _are_numbers(lines[0]) else [cell.strip() for cell in lines[0]]
    rows = lines[1:] if header else lines
    if not rows:
        raise Refused("the CSV file has a header but no rows")
    widths = {len(row) for row in rows} | ({len(header)} if header else set())
    if len(widths) > 1:
        raise Refused(f"the lines of the CSV file have different numbers of columns: {', '.join(map(str, sorted(widths)))}")
    if header and spec.columns:
        return _named_columns(spec, header, rows)
    return _positional(spec, header, rows)


def _read(content: bytes) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        raise Refused("the file is no CSV text in UTF-8") from None
    if not lines:
        raise Refused("the CSV file is empty")
    return lines


def _are_numbers(cells: list[str]) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return True


def _named_columns(spec: InputSpec, header: list[str], rows: list[list[str]]) -> tuple[Data, list[str]]:
    wanted = set(spec.column_names)
    if len(set(header)) != len(header):
        raise Refused("two columns of the CSV file have the same name")
    left_out = [name for name in header if name not in wanted]
    dtypes = {column.name: column.dtype for column in spec.columns}
    named = {
        name: _column(name, [row[at] for row in rows], text=dtypes[name].kind in "OUS") for at, name in enumerate(header) if name in wanted
    }
    return conform_named(spec, named), left_out


def _column(name: str, cells: list[str], text: bool) -> Array:
    if text:
        return np.asarray(cells, dtype=object)
    try:
        return np.asarray([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError:
        raise Refused(f"column {name!r} of the CSV file has a value that is no number") from None


def _positional(spec: InputSpec, header: list[str] | None, rows: list[list[str]]) -> tuple[Data, list[str]]:
    width = int(np.prod(row_shape(spec)))
    answers = [at for at, name in enumerate(header or []) if name.lower() in ANSWER_COLUMNS]
    left_out = answers if width > 0 and len(rows[0]) - len(answers) == width else []
    keep = [at for at in range(len(rows[0])) if at not in left_out]
    try:
        array = np.asarray([[float(row[at]) for at in keep] for row in rows])
    except ValueError:
        raise Refused("the CSV file has a value that is no number") from None
    names = [header[at] for at in left_out] if header else []
    shape = row_shape(spec)
    if len(shape) > 1 and array.shape[1] == width:
        array = array.reshape((len(array), *shape))
    return conform(spec, array), names
