"""``ltai bill``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import connect, name_of
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import MonthOption, OutputOption, QuietOption, TenantFilter, UserFilter
from ltai_hub.cli.output import (
    Column,
    Format,
    View,
    column,
    duration,
    money,
    money_column,
    print_object,
    print_page,
    print_table,
)
from ltai_hub.errors import ConfigProblem
from ltai_hub.units import to_micro

app = make_app("What it cost, line by line; prices.")

HOURS = Column("hours", lambda row: f"{row.get('seconds', 0) / 3600:.2f}", right=True)


@app.command()
def show(
    month: MonthOption = None,
    tenant: TenantFilter = None,
    user: UserFilter = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, for a spreadsheet.")] = False,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """A month's bill. With --quiet the total, in millionths of the currency."""
    with connect() as client:
        user = name_of(client, user)
        if csv:
            print(client.bills.csv(tenant=tenant, user=user, month=month), end="")
            return
        bill = client.bills.get(tenant=tenant, user=user, month=month)
    view = View(output, quiet)
    if view != View():
        print_object(bill, [], "total_micro", view)
        return
    currency = bill["currency"]
    columns = [
        column("key"),
        column("kind"),
        column("name"),
        column("user"),
        column("tenant"),
        column("flavor"),
        HOURS,
        Column("cost", lambda row: money(row.get("cost_micro"), currency), right=True),
    ]
    print_table(bill["lines"], columns)
    print(f"Total for {bill['month']}: {money(bill['total_micro'], currency)}")


@app.command()
def intervals(
    key: Annotated[str, typer.Argument(help="Of a line; first column of: ltai bill show.", show_default=False)],
    month: MonthOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """The metered intervals and prices behind a line."""
    columns = [
        column("started_at", "from"),
        column("ended_at", "to"),
        Column("took", lambda row: duration(row.get("seconds")), right=True),
        money_column("price_micro_per_hour", "an hour"),
        column("price_valid_from", "price since"),
        money_column("cost_micro", "cost"),
    ]
    with connect() as client:
        found = client.bills.intervals(key, month=month)
    print_page(found, columns, "cost_micro", View(output, quiet))


@app.command()
def prices(output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Price versions of all flavors."""
    columns = [column("flavor"), money_column("price_micro_per_hour", "an hour"), column("valid_from", "since")]
    with connect() as client:
        print_page(client.prices.list(), columns, "flavor", View(output, quiet))


@app.command("set-price")
def set_price(
    flavor: Annotated[str, typer.Argument(show_default=False)],
    amount: Annotated[str, typer.Argument(help="An hour, for example 4.80.", show_default=False)],
    valid_from: Annotated[str | None, typer.Option("--from", help="As 2026-12-01T00:00:00Z; now unless told.", show_default=False)] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """A new price; what was used before keeps the old one (platform administrators)."""
    columns = [column("flavor"), money_column("price_micro_per_hour", "an hour"), column("valid_from", "since")]
    with connect() as client:
        made = client.prices.set(flavor, parse_money(amount), valid_from=valid_from)
    print_object(made, columns, "flavor", View(output, quiet))


def parse_money(text: str) -> int:
    """4.80 → 4800000. Raises ConfigProblem."""
    try:
        micro = to_micro(text)
    except (ArithmeticError, ValueError):
        micro = -1
    if micro < 0:
        raise ConfigProblem(f"{text!r} is no price; write for example 4.80")
    return micro
