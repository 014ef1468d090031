"""``ltai user``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import confirm, connect
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import ROWS, LimitOption, OffsetOption, OutputOption, QuietOption, SearchOption, SortOption, YesOption
from ltai_hub.cli.output import Column, Format, View, age_column, column, note, print_object, print_page
from ltai_hub.domain.permissions import Role
from ltai_hub.errors import BadInput

app = make_app("Accounts and invite links.")
Name = Annotated[str, typer.Argument(metavar="USER", help="User name.", show_default=False)]
HoursOption = Annotated[float | None, typer.Option("--hours", min=0.1, help="How long the link works; 72 unless told.", show_default=False)]

TENANTS = Column("tenants", lambda row: ", ".join(f"{t['slug']} ({t['role']})" for t in row.get("tenants") or []))
COLUMNS = [column("name"), column("display_name"), column("admin"), column("disabled"), TENANTS, age_column("last_login_at", "last login")]
FIELDS = [*COLUMNS[:5], column("created_at", "created"), column("last_login_at", "last login")]
INVITE_FIELDS = [column("link"), column("expires_at", "until")]


@app.command("list")
def list_users(
    search: SearchOption = None,
    sort: SortOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """All accounts (platform administrators)."""
    with connect() as client:
        page = client.users.list(q=search, sort=sort, limit=limit or None, offset=offset)
    print_page(page, COLUMNS, "name", View(output, quiet))


@app.command()
def show(name: Name, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One account."""
    with connect() as client:
        print_object(client.users.get(name), FIELDS, "name", View(output, quiet))


@app.command()
def create(
    name: Name,
    display_name: Annotated[str | None, typer.Option("--display-name", help="Any text.", show_default=False)] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Of the whole platform.")] = False,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Also make a member of it.", show_default=False)] = None,
    role: Annotated[Role, typer.Option("--role", help="The role in --tenant.")] = Role.MEMBER,
    invite: Annotated[bool, typer.Option("--invite", help="Also make an invite link and print it.")] = False,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Make an account; the person sets the password through an invite link."""
    view = View(output, quiet)
    with connect() as client:
        if tenant:
            client.tenants.get(tenant)  # no account is left behind when its name is wrong
        made = client.users.create(name, display_name=display_name, admin=admin or None)
        if tenant:
            client.members.set(tenant, name, role.value)
            made = client.users.get(name)
        print_object(made, FIELDS, "name", view)
        if invite:
            print_object(client.users.invite(name), INVITE_FIELDS, "link", view)
        else:
            note(f"No password yet; make an invite link with: ltai user invite {name}", view)


@app.command()
def invite(name: Name, hours: HoursOption = None, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Make a link with which the person sets a password; it works once."""
    with connect() as client:
        print_object(client.users.invite(name, hours=hours), INVITE_FIELDS, "link", View(output, quiet))


@app.command()
def update(
    name: Name,
    display_name: Annotated[str | None, typer.Option("--display-name", help="Any text.", show_default=False)] = None,
    admin: Annotated[bool | None, typer.Option("--admin/--no-admin", help="Of the whole platform.", show_default=False)] = None,
    disabled: Annotated[bool | None, typer.Option("--disable/--enable", help="Disabled people cannot sign in.", show_default=False)] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Change an account."""
    if display_name is None and admin is None and disabled is None:
        raise BadInput("nothing to change; give --display-name, --admin, --no-admin, --disable or --enable")
    with connect() as client:
        changed = client.users.update(name, display_name=display_name, admin=admin, disabled=disabled)
    print_object(changed, FIELDS, "name", View(output, quiet))


@app.command()
def delete(name: Name, yes: YesOption = False, quiet: QuietOption = False) -> None:
    """Delete an account."""
    confirm(f"Delete the account {name}?", yes)
    with connect() as client:
        client.users.delete(name)
    note(f"The account {name} is deleted.", View(quiet=quiet))
