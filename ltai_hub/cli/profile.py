"""``ltai profile``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import connect
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import OutputOption, QuietOption, TenantFilter
from ltai_hub.cli.output import Column, Format, View, column, money_column, note, print_object, print_page, title_of

app = make_app("Lab profiles: image, flavor and data, ready for a class.")
Name = Annotated[str, typer.Argument(metavar="PROFILE", show_default=False)]
ToTenant = Annotated[str, typer.Option("--tenant", help="The class (its slug).", show_default=False)]

COLUMNS = [
    column("name"),
    Column("title", title_of),
    column("image"),
    column("flavor"),
    column("ready", "image ready"),
    money_column("price_micro_per_hour", "an hour"),
    column("tenant"),
]
FIELDS = [
    *COLUMNS[:2],
    Column("description", lambda row: title_of(row, "description")),
    *COLUMNS[2:],
    column("images", "images to choose"),
    column("flavors", "flavors to choose"),
]


@app.command("list")
def list_profiles(
    tenant: TenantFilter = None,
    all: Annotated[bool, typer.Option("--all", help="Everything in the catalogue, to assign it.")] = False,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Profiles you may start."""
    with connect() as client:
        print_page(client.profiles.list(tenant=tenant, all=all), COLUMNS, "name", View(output, quiet))


@app.command()
def show(name: Name, tenant: TenantFilter = None, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One profile."""
    with connect() as client:
        print_object(client.profiles.get(name, tenant=tenant), FIELDS, "name", View(output, quiet))


@app.command()
def assign(name: Name, tenant: ToTenant, quiet: QuietOption = False) -> None:
    """Let a class use a profile (teachers)."""
    with connect() as client:
        client.profiles.assign(tenant, name)
    note(f"Members of {tenant} may start {name}.", View(quiet=quiet))


@app.command()
def unassign(name: Name, tenant: ToTenant, quiet: QuietOption = False) -> None:
    """Take a profile back from a class (teachers); what runs goes on."""
    with connect() as client:
        client.profiles.unassign(tenant, name)
    note(f"Members of {tenant} may not start {name} any more.", View(quiet=quiet))
