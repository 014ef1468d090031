"""``ltai endpoint``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltai_hub.cli.connect import confirm, connect, print_stream, tenant_or_default
from ltai_hub.cli.events import EVENT_COLUMNS
from ltai_hub.cli.group import REFUSED, make_app
from ltai_hub.cli.monitor import MONITOR_FIELDS
from ltai_hub.cli.options import (
    ROWS,
    FollowOption,
    LimitOption,
    MakeInTenant,
    OffsetOption,
    OutputOption,
    QuietOption,
    SearchOption,
    SortOption,
    TenantFilter,
    TimeoutOption,
    UserFilter,
    WaitOption,
    YesOption,
)
from ltai_hub.cli.output import Column, Format, View, age_column, column, money_column, note, print_lines, print_object, print_page
from ltai_hub.errors import BadInput, NotFound

if TYPE_CHECKING:
    from ltai_hub.client import Client

app = make_app("Model versions published as online services.")
Name = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's number, name or slug.", show_default=False)]
VersionOption = Annotated[str | None, typer.Option("--version", help="Version of the model.", show_default=False)]
InstancesOption = Annotated[int | None, typer.Option("--instances", min=1, help="How many answer behind one address.", show_default=False)]
SecondsOption = Annotated[int | None, typer.Option("--max-seconds", min=1, help="Stop after so long.", show_default=False)]
NewSecondsOption = Annotated[int | None, typer.Option("--max-seconds", min=0, help="Stop after so long; 0: never.", show_default=False)]

COLUMNS = [
    column("id", right=True),
    column("name"),
    column("phase"),
    column("model"),
    column("version", right=True),
    Column("instances", lambda row: f"{row.get('ready_instances')}/{row.get('instances')}", right=True),
    column("user"),
    column("tenant"),
    age_column(),
]
FIELDS = [
    column("id"),
    column("name"),
    column("phase"),
    column("reason"),
    column("queue_position"),
    Column("model", lambda row: f"{row.get('model')} version {row.get('version')}"),
    Column("instances", lambda row: f"{row.get('ready_instances')} of {row.get('instances')} answer"),
    column("infer_url", "address"),
    column("token"),
    column("user"),
    column("tenant"),
    column("image"),
    column("flavor"),
    column("created_at", "created"),
    column("started_at", "started"),
    column("stops_at", "stops"),
    money_column("cost_micro", "cost"),
]


@app.command()
def create(
    model: Annotated[str, typer.Option("--model", help="Name of a registered model.", show_default=False)],
    version: Annotated[str | None, typer.Option("--version", help="The latest unless told.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name unless told.", show_default=False)] = None,
    tenant: MakeInTenant = None,
    instances: InstancesOption = None,
    most_instances: Annotated[
        int | None, typer.Option("--most-instances", min=1, help="A cluster adds instances under load, up to so many.", show_default=False)
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="The job's image unless told.", show_default=False)] = None,
    flavor: Annotated[str | None, typer.Option("--flavor", help="See: ltai flavor list.", show_default=False)] = None,
    max_seconds: SecondsOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Publish a model version; its token is shown this once."""
    with connect() as client:
        version = version or _latest(client, tenant, model)
        made = client.endpoints.create(
            name or model,
            model,
            version,
            tenant=tenant,
            instances=instances,
            most_instances=most_instances,
            image=image,
            flavor=flavor,
            max_seconds=max_seconds,
        )
        if wait:
            # the token comes only in the first answer
            made |= client.endpoints.wait(made["id"], timeout)
    print_object(made, FIELDS, "id", View(output, quiet))
    if wait and made["phase"] != "running":
        raise typer.Exit(REFUSED)


@app.command("list")
def list_endpoints(
    tenant: TenantFilter = None,
    user: UserFilter = None,
    search: SearchOption = None,
    sort: SortOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Endpoints of your tenants."""
    with connect() as client:
        page = client.endpoints.list(tenant=tenant, user=user, q=search, sort=sort, limit=limit or None, offset=offset)
    print_page(page, COLUMNS, "id", View(output, quiet))


@app.command()
def show(name: Name, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One endpoint."""
    with connect() as client:
        print_object(client.endpoints.get(find_endpoint(client, name)), FIELDS, "id", View(output, quiet))


@app.command()
def predict(
    name: Name,
    file: Annotated[Path, typer.Argument(help="A png, jpg, csv or json file.", show_default=False)],
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Send a file and print the prediction."""
    if not file.is_file():
        raise BadInput(f"{file} is not there, or no file")
    with connect() as client:
        answer = client.endpoints.predict(find_endpoint(client, name), file)
    view = View(output, quiet)
    if view.format is Format.JSON:
        print_object(answer, [], "", view)
        return
    print_lines([str(prediction) for prediction in answer["predictions"]])
    note(f"in {answer['milliseconds']:.1f} ms", view)


@app.command()
def start(
    name: Name,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Start it again."""
    with connect() as client:
        id = find_endpoint(client, name)
        seen = client.endpoints.start(id) or client.endpoints.get(id)
        if wait:
            seen = client.endpoints.wait(id, timeout)
    print_object(seen, FIELDS, "id", View(output, quiet))
    if wait and seen["phase"] != "running":
        raise typer.Exit(REFUSED)


@app.command()
def stop(name: Name, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Stop it; address and token stay for the next start."""
    with connect() as client:
        id = find_endpoint(client, name)
        print_object(client.endpoints.stop(id) or client.endpoints.get(id), FIELDS, "id", View(output, quiet))


@app.command()
def update(
    name: Name,
    version: VersionOption = None,
    instances: InstancesOption = None,
    most_instances: Annotated[
        int | None, typer.Option("--most-instances", min=0, help="Up to so many under load; 0: none are added.", show_default=False)
    ] = None,
    max_seconds: Annotated[
        int | None, typer.Option("--max-seconds", min=0, help="Stop after so long; 0: never.", show_default=False)
    ] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Change version, instances or run duration; the address stays."""
    if {version, instances, most_instances, max_seconds} == {None}:
        raise BadInput("nothing to change; give --version, --instances, --most-instances or --max-seconds")
    with connect() as client:
        changed = client.endpoints.update(
            find_endpoint(client, name), version=version, instances=instances, most_instances=most_instances, max_seconds=max_seconds
        )
    print_object(changed, FIELDS, "id", View(output, quiet))


@app.command()
def token(
    name: Name,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Make a new token and print it; the old one works until the last instance is replaced."""
    with connect() as client:
        id = find_endpoint(client, name)
        confirm(
            f"Make a new token for the endpoint {name}? Whoever uses the old one is refused once the instances have been replaced.", yes
        )
        made = client.endpoints.renew_token(id)
    if output is Format.JSON:
        print_object(made, [], "token", View(output, quiet))
    else:
        print_lines([made["token"]])


@app.command()
def delete(name: Name, yes: YesOption = False, quiet: QuietOption = False) -> None:
    """Delete an endpoint; its model stays."""
    with connect() as client:
        id = find_endpoint(client, name)
        confirm(f"Delete the endpoint {name}? Its address and token stop working.", yes)
        client.endpoints.delete(id)
    note(f"The endpoint {name} is deleted.", View(quiet=quiet))


@app.command()
def log(
    name: Name,
    instance: Annotated[int | None, typer.Option("--instance", min=0, help="Of this instance; the first is 0.", show_default=False)] = None,
    follow: FollowOption = False,
) -> None:
    """What an instance printed."""
    with connect() as client:
        print_stream(client.endpoints.log(find_endpoint(client, name), instance=instance, follow=follow))


@app.command()
def monitor(name: Name, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """CPU, memory and accelerators now."""
    with connect() as client:
        print_object(client.metrics("endpoint", find_endpoint(client, name)), MONITOR_FIELDS, "at", View(output, quiet))


@app.command()
def events(name: Name, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """What happened to it, newest first."""
    with connect() as client:
        print_page(client.endpoints.events(find_endpoint(client, name)), EVENT_COLUMNS, "to_phase", View(output, quiet))


def find_endpoint(client: Client, name: str) -> int:
    """The number of the endpoint with this number, slug or name. Raises NotFound, and BadInput when two have the name."""
    if name.isdecimal():
        return int(name)
    found = [e for e in client.endpoints.list() if name in (e["name"], e["slug"])]
    if len(found) > 1:
        raise BadInput(f"{len(found)} endpoints are called {name!r}; give the number: {', '.join(str(e['id']) for e in found)}")
    if not found:
        raise NotFound(f"there is no endpoint {name!r} in your tenants; see: ltai endpoint list")
    return found[0]["id"]


def _latest(client: Client, tenant: str | None, model: str) -> str:
    version = client.models.get(tenant_or_default(client, tenant), model)["latest_version"]
    if version is None:
        raise NotFound(f"the model {model!r} has no version; register one with: ltai model register --job JOB --name {model}")
    return version
