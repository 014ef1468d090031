"""``ltai tenant``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import confirm, connect
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import ROWS, LimitOption, OffsetOption, OutputOption, QuietOption, SearchOption, SortOption, YesOption
from ltai_hub.cli.output import Column, Format, Row, View, column, note, print_object, print_page
from ltai_hub.domain.permissions import Role
from ltai_hub.domain.tenants import TenantKind

app = make_app("Organisations, departments, courses and projects, and their members.")
Slug = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's slug.", show_default=False)]
User = Annotated[str, typer.Argument(metavar="USER", help="User name.", show_default=False)]


def in_cluster(row: Row) -> str:
    """ "ready", what is in the way, or nothing where there is no cluster."""
    cluster = row.get("cluster") or {}
    return "ready" if cluster.get("ready") else str(cluster.get("message", ""))


COLUMNS = [
    column("slug"),
    Column("path", lambda row: " / ".join(row.get("path") or [])),
    column("kind"),
    column("members", right=True),
    column("role", "your role"),
]
FIELDS = [*COLUMNS[:1], column("name"), *COLUMNS[1:3], column("parent"), *COLUMNS[3:], column("weight"), Column("cluster", in_cluster)]
MEMBER_COLUMNS = [column("user"), column("display_name", "name"), column("role"), column("inherited_from", "from")]


@app.command("list")
def list_tenants(
    search: SearchOption = None,
    sort: SortOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """The tenants you may see."""
    with connect() as client:
        page = client.tenants.list(q=search, sort=sort, limit=limit or None, offset=offset)
    print_page(page, COLUMNS, "slug", View(output, quiet))


@app.command()
def show(slug: Slug, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One tenant."""
    with connect() as client:
        print_object(client.tenants.get(slug), FIELDS, "slug", View(output, quiet))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Any text.", show_default=False)],
    kind: Annotated[TenantKind, typer.Option("--kind", help="What it is.")] = TenantKind.PROJECT,
    parent: Annotated[str | None, typer.Option("--parent", help="Tenant above it; none for an organisation.", show_default=False)] = None,
    slug: Annotated[
        str | None, typer.Option("--slug", help="Name in addresses; made from the name unless told.", show_default=False)
    ] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Make a tenant: ltai tenant create "ML 101" --kind course --parent physics"""
    with connect() as client:
        print_object(client.tenants.create(name, kind=kind.value, parent=parent, slug=slug), FIELDS, "slug", View(output, quiet))


@app.command()
def rename(
    slug: Slug,
    name: Annotated[str, typer.Argument(help="Any text.", show_default=False)],
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Give it another name; the slug stays."""
    with connect() as client:
        print_object(client.tenants.rename(slug, name), FIELDS, "slug", View(output, quiet))


@app.command()
def update(
    slug: Slug,
    name: Annotated[str | None, typer.Option("--name", help="Any text; the slug stays.", show_default=False)] = None,
    weight: Annotated[
        int | None,
        typer.Option("--weight", min=1, max=1000, help="Its part of what several tenants of a cluster borrow at once.", show_default=False),
    ] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Change its name or weight: ltai tenant update physics --weight 3"""
    with connect() as client:
        print_object(client.tenants.update(slug, name=name, weight=weight), FIELDS, "slug", View(output, quiet))


@app.command()
def delete(slug: Slug, yes: YesOption = False, quiet: QuietOption = False) -> None:
    """Delete an empty tenant."""
    confirm(f"Delete the tenant {slug}?", yes)
    with connect() as client:
        client.tenants.delete(slug)
    note(f"The tenant {slug} is deleted.", View(quiet=quiet))


@app.command()
def members(
    slug: Slug,
    search: SearchOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Who is in it, with which role; "from": the tenant above that gives the role."""
    with connect() as client:
        page = client.members.list(slug, q=search, limit=limit or None, offset=offset)
    print_page(page, MEMBER_COLUMNS, "user", View(output, quiet))


@app.command("add-member")
def add_member(
    slug: Slug,
    user: User,
    role: Annotated[Role, typer.Option("--role", help="What the person may do; see the permissions page.")] = Role.MEMBER,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Make somebody a member, or change the role."""
    with connect() as client:
        print_object(client.members.set(slug, user, role.value), MEMBER_COLUMNS, "user", View(output, quiet))


@app.command("remove-member")
def remove_member(slug: Slug, user: User, quiet: QuietOption = False) -> None:
    """Take the role away; the person's files and jobs stay."""
    with connect() as client:
        client.members.remove(slug, user)
    note(f"{user} has no role in {slug} any more.", View(quiet=quiet))
