"""``ltai usage``"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ltai_hub.cli.connect import connect, name_of
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import OutputOption, QuietOption, TenantFilter, UserFilter
from ltai_hub.cli.output import Column, Format, View, column, money_column, print_page

app = make_app("What was used; without a verb: list.", invoke_without_command=True, no_args_is_help=False)


class Group(StrEnum):
    USER = "user"
    TENANT = "tenant"
    NONE = "none"


GroupOption = Annotated[Group | None, typer.Option("--group", help="Add up by this.", show_default=False)]
SinceOption = Annotated[str | None, typer.Option("--from", help="2026-11-01 or 2026-11-01T08:00:00Z.", show_default=False)]
UntilOption = Annotated[str | None, typer.Option("--to", help="Up to, not with.", show_default=False)]

COLUMNS = [
    column("user"),
    column("tenant"),
    column("kind"),
    column("flavor"),
    Column("hours", lambda row: f"{row.get('seconds', 0) / 3600:.2f}", right=True),
    money_column("cost_micro", "cost"),
]


@app.callback()
def usage(
    ctx: typer.Context,
    tenant: TenantFilter = None,
    user: UserFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
    group: GroupOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """What was used; without a verb: list."""
    if ctx.invoked_subcommand is None:
        list_usage(tenant, user, since, until, group, output, quiet)


@app.command("list")
def list_usage(
    tenant: TenantFilter = None,
    user: UserFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
    group: GroupOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Seconds and cost by kind and flavor; this month unless told."""
    with connect() as client:
        page = client.usage.list(tenant=tenant, user=name_of(client, user), since=since, until=until, group=group.value if group else None)
    print_page(page, COLUMNS, "cost_micro", View(output, quiet))
