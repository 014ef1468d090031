"""``ltai quota``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import connect
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import OutputOption, QuietOption, TenantFilter
from ltai_hub.cli.output import Column, Format, Row, View, column, plain, print_page, size
from ltai_hub.errors import BadInput, ConfigProblem
from ltai_hub.units import parse_bytes

app = make_app("Limits of tenants and users.")
Slug = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's slug.", show_default=False)]
IN_BYTES = ("memory", "storage")


def amount(row: Row, key: str) -> str:
    value = row.get(key)
    if key == "guaranteed" and not value:
        return ""
    if value is None:
        return "no limit" if key == "limit" else ""
    return size(value) if row.get("resource") in IN_BYTES else plain(value)


def whose(row: Row) -> str:
    user = row.get("user")
    return {"*": "each user", None: "the tenant", "": "the tenant"}.get(user, str(user))


COLUMNS = [
    column("tenant"),
    Column("of", whose),
    column("resource"),
    Column("used", lambda row: amount(row, "used"), right=True),
    Column("limit", lambda row: amount(row, "limit"), right=True),
    Column("guaranteed", lambda row: amount(row, "guaranteed"), right=True),
]


@app.command("list")
def list_quotas(tenant: TenantFilter = None, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """What binds you: the limits of your tenants and of those above, and what is used of them."""
    with connect() as client:
        print_page(client.quotas.list(tenant=tenant), COLUMNS, "resource", View(output, quiet))


@app.command()
def show(tenant: Slug, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """The limits set on one tenant."""
    with connect() as client:
        print_page(client.quotas.of(tenant), COLUMNS, "resource", View(output, quiet))


@app.command("set")
def set_quota(
    tenant: Slug,
    resource: Annotated[str, typer.Argument(help="cpu, memory, storage, accelerators or accelerator:KIND.", show_default=False)],
    limit: Annotated[str, typer.Argument(help="A number, for memory and storage also 64Gi; none lifts the limit.", show_default=False)],
    user: Annotated[str | None, typer.Option("--user", help="Of one user in it, or '*': of each.", show_default=False)] = None,
    guaranteed: Annotated[
        str | None,
        typer.Option("--guaranteed", help="Of the limit, what a cluster gives the tenant whenever it asks.", show_default=False),
    ] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Set or lift a limit: ltai quota set physics memory 64Gi --guaranteed 16Gi"""
    most = parse_limit(resource, limit)
    least = None if guaranteed is None else parse_limit(resource, guaranteed) or 0
    with connect() as client:
        page = client.quotas.set(tenant, resource, most, user=user, guaranteed=least)
    print_page(page, COLUMNS, "resource", View(output, quiet))


def parse_limit(resource: str, text: str) -> float | None:
    """none → None; 64Gi → bytes for memory and storage. Raises ConfigProblem."""
    if text == "none":
        return None
    try:
        return parse_bytes(text) if resource in IN_BYTES else float(text)
    except (ValueError, BadInput) as error:
        example = "64Gi" if resource in IN_BYTES else "4"
        raise ConfigProblem(f"{text!r} is no limit for {resource}; write for example {example}, or none") from error
