"""``ltai flavor``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import connect
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import OutputOption, QuietOption
from ltai_hub.cli.output import Column, Format, Row, View, column, money_column, plain, print_object, print_page, size, title_of

app = make_app("Compute specs: cores, memory, disk, accelerators, price.")


def accelerators(row: Row) -> str:
    """As 2 × A100; what is only simulated says so."""
    count = row.get("accelerator_count")
    if not count:
        return ""
    title = plain(row.get("accelerator_title") or row.get("accelerator"))
    told = "simulated" in title.lower() or not row.get("simulated")
    return f"{count} × {title}{'' if told else ' (simulated)'}"


COLUMNS = [
    column("name"),
    column("cpu", right=True),
    Column("memory", lambda row: size(row.get("memory")), right=True),
    Column("disk", lambda row: size(row.get("disk")), right=True),
    Column("accelerators", accelerators),
    money_column("price_micro_per_hour", "an hour"),
    column("available_now", "available"),
]
FIELDS = [COLUMNS[0], Column("title", title_of), *COLUMNS[1:5], column("architecture"), *COLUMNS[5:]]


@app.command("list")
def list_flavors(output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """All flavors."""
    with connect() as client:
        print_page(client.flavors.list(), COLUMNS, "name", View(output, quiet))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="FLAVOR", show_default=False)],
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """One flavor."""
    with connect() as client:
        print_object(client.flavors.get(name), FIELDS, "name", View(output, quiet))
