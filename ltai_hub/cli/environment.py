"""``ltai environment``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ltai_hub.cli.connect import confirm, connect
from ltai_hub.cli.group import REFUSED, make_app
from ltai_hub.cli.monitor import MONITOR_FIELDS
from ltai_hub.cli.options import (
    ROWS,
    LimitOption,
    OffsetOption,
    OutputOption,
    QuietOption,
    SearchOption,
    SortOption,
    TenantFilter,
    TenantOption,
    TimeoutOption,
    UserFilter,
    WaitOption,
    YesOption,
)
from ltai_hub.cli.output import Format, View, address_column, age_column, column, money_column, note, print_object, print_page
from ltai_hub.errors import NotFound

if TYPE_CHECKING:
    from ltai_hub.client import Client
    from ltai_hub.client.types import Environment

app = make_app("JupyterLab environments.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The environment's name or number.")]

COLUMNS = [
    column("id", right=True),
    column("display_name", "name"),
    column("phase"),
    column("user"),
    column("tenant"),
    column("profile"),
    column("flavor"),
    age_column(),
]
FIELDS = [
    column("id"),
    column("display_name", "name"),
    column("phase"),
    column("reason"),
    column("queue_position"),
    address_column("url", "address"),
    column("user"),
    column("tenant"),
    column("profile"),
    column("image"),
    column("flavor"),
    column("created_at", "created"),
    column("started_at", "started"),
    column("ended_at", "ended"),
    money_column("price_micro_per_hour", "price an hour"),
]


@app.command()
def start(
    name: Name = "default",
    profile: Annotated[str | None, typer.Option("--profile", help="See: ltai profile list.", show_default=False)] = None,
    image: Annotated[str | None, typer.Option("--image", help="Another image the profile allows.", show_default=False)] = None,
    flavor: Annotated[str | None, typer.Option("--flavor", help="Another flavor the profile allows.", show_default=False)] = None,
    tenant: TenantOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Start an environment, with other choices than before if you like; made when it is not there."""
    with connect() as client:
        found = None if profile or image or flavor or tenant else find_own(client, name)
        if found and not is_over(found):
            note(f"The environment {found['display_name']} is {found['phase']} already.", View(output, quiet))
            seen = found
        elif found:
            seen = client.environments.start(found["id"]) or client.environments.get(found["id"])
        else:
            seen = client.environments.create(name, profile=profile, image=image, flavor=flavor, tenant=tenant)
        if wait:
            seen = client.environments.wait(seen["id"], timeout)
        print_object(seen, FIELDS, "id", View(output, quiet), client.url)
    if wait and seen["phase"] != "running":
        raise typer.Exit(REFUSED)


@app.command("list")
def list_environments(
    tenant: TenantFilter = None,
    user: UserFilter = None,
    active: Annotated[bool, typer.Option("--active", help="Only what waits or runs.")] = False,
    search: SearchOption = None,
    sort: SortOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Your environments; with --user all those of others you may see."""
    with connect() as client:
        page = client.environments.list(tenant=tenant, user=user, active=active, q=search, sort=sort, limit=limit or None, offset=offset)
    print_page(page, COLUMNS, "id", View(output, quiet))


@app.command()
def show(name: Name = "default", output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One environment."""
    with connect() as client:
        print_object(find_environment(client, name), FIELDS, "id", View(output, quiet), client.url)


@app.command()
def stop(name: Name = "default", output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Stop it; files stay, what is only in memory goes."""
    with connect() as client:
        id = find_environment(client, name)["id"]
        seen = client.environments.stop(id) or client.environments.get(id)
        print_object(seen, FIELDS, "id", View(output, quiet), client.url)


@app.command()
def delete(name: Name, yes: YesOption = False, quiet: QuietOption = False) -> None:
    """Delete a stopped environment; your home folder stays."""
    with connect() as client:
        found = find_environment(client, name)
        confirm(f"Delete the environment {found['display_name']} of {found['user']}?", yes)
        client.environments.delete(found["id"])
    note(f"The environment {found['display_name']} is deleted; the home folder is as it was.", View(quiet=quiet))


@app.command()
def monitor(name: Name = "default", output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """CPU, memory, disk and accelerators now."""
    with connect() as client:
        seen = client.metrics("environment", find_environment(client, name)["id"])
    print_object(seen, MONITOR_FIELDS, "at", View(output, quiet))


def find_environment(client: Client, name: str) -> Environment:
    """One's own by name or number, else anybody's by number."""
    found = find_own(client, name)
    if found:
        return found
    if name.isdecimal():
        return client.environments.get(name)
    raise NotFound(f"you have no environment {name!r}; see: ltai environment list")


def is_over(environment: Environment) -> bool:
    from ltai_hub.client.transport import is_final

    return is_final(environment["phase"])


def find_own(client: Client, name: str) -> Environment | None:
    for environment in client.environments.list(user="me"):
        if name in (environment["display_name"], environment["name"], str(environment["id"])):
            return environment
    return None
