"""``ltai image``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import connect
from ltai_hub.cli.group import REFUSED, make_app
from ltai_hub.cli.options import OutputOption, QuietOption, TimeoutOption
from ltai_hub.cli.output import Column, Format, View, column, print_object, print_page, title_of

app = make_app("Frameworks: what is installed.")
Name = Annotated[str, typer.Argument(metavar="IMAGE", show_default=False)]

COLUMNS = [column("name"), Column("title", title_of), column("framework"), column("version"), column("state")]
FIELDS = [
    *COLUMNS,
    Column("progress", lambda row: f"{100 * row['progress']:.0f} %" if row.get("state") == "building" else ""),
    column("message"),
    column("requirements"),
]


@app.command("list")
def list_images(output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """All images and whether they are ready."""
    with connect() as client:
        print_page(client.images.list(), COLUMNS, "name", View(output, quiet))


@app.command()
def show(name: Name, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One image."""
    with connect() as client:
        print_object(client.images.get(name), FIELDS, "name", View(output, quiet))


@app.command()
def build(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Come back when it is ready.")] = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Build it now instead of on first use (platform administrators)."""
    with connect() as client:
        image = client.images.build(name)
        if wait:
            image = client.images.wait(name, timeout)
    print_object(image, FIELDS, "name", View(output, quiet))
    if wait and image["state"] != "ready":
        raise typer.Exit(REFUSED)


@app.command()
def log(name: Name) -> None:
    """What the last build printed."""
    with connect() as client:
        print(client.images.log(name), end="")
