"""``ltai model``"""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.connect import confirm, connect, tenant_or_default
from ltai_hub.cli.group import make_app
from ltai_hub.cli.options import (
    ROWS,
    LimitOption,
    MakeInTenant,
    OffsetOption,
    OutputOption,
    QuietOption,
    SearchOption,
    SortOption,
    TenantFilter,
    YesOption,
)
from ltai_hub.cli.output import Column, Format, View, age_column, column, note, print_object, print_page, print_table

app = make_app("Registered models and their versions.")
Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.", show_default=False)]

COLUMNS = [
    column("name"),
    column("tenant"),
    column("latest_version", "latest", right=True),
    column("versions", right=True),
    column("framework"),
    age_column("updated_at", "changed"),
]
FIELDS = [
    column("name"),
    column("tenant"),
    column("description"),
    column("framework"),
    column("latest_version"),
    column("updated_at", "changed"),
]
VERSION_COLUMNS = [
    column("version", right=True),
    column("framework"),
    column("framework_version", "of"),
    column("metrics"),
    column("params"),
    column("job_id", "job", right=True),
    column("user"),
    age_column(),
]
VERSION_FIELDS = [
    column("version"),
    column("name"),
    column("tenant"),
    Column("framework", lambda row: f"{row.get('framework', '')} {row.get('framework_version', '')}".strip()),
    column("metrics"),
    column("params"),
    column("job_id", "job"),
    column("run_id", "run"),
    column("image"),
    column("flavor"),
    column("user"),
    column("created_at", "registered"),
    column("aliases"),
    column("endpoints"),
    column("description"),
]


@app.command()
def register(
    name: Annotated[str, typer.Option("--name", help="Model to add a version to; made when it is not there.", show_default=False)],
    job: Annotated[int, typer.Option("--job", help="Job that logged the model.", show_default=False)],
    model_id: Annotated[
        str | None, typer.Option("--model-id", help="Of several it logged; the last unless told.", show_default=False)
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="A sentence about it.", show_default=False)] = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Register what a job logged: ltai model register --job 12 --name digits"""
    with connect() as client:
        made = client.models.register(job, name, model_id=model_id, description=description)
    print_object(made, VERSION_FIELDS, "version", View(output, quiet))


@app.command("list")
def list_models(
    tenant: TenantFilter = None,
    search: SearchOption = None,
    sort: SortOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Models of your tenants."""
    with connect() as client:
        page = client.models.list(tenant=tenant, q=search, sort=sort, limit=limit or None, offset=offset)
    print_page(page, COLUMNS, "name", View(output, quiet))


@app.command()
def show(name: Name, tenant: MakeInTenant = None, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One model with its versions."""
    view = View(output, quiet)
    with connect() as client:
        model = client.models.get(tenant_or_default(client, tenant), name)
    print_object(model, FIELDS, "name", view)
    if view == View():
        print_table(model.get("version_list", []), VERSION_COLUMNS)


@app.command("set-alias")
def set_alias(
    name: Name,
    alias: Annotated[str, typer.Argument(help="For example champion.", show_default=False)],
    version: Annotated[str, typer.Argument(help="A version of the model.", show_default=False)],
    tenant: MakeInTenant = None,
    quiet: QuietOption = False,
) -> None:
    """Give a version a name, or move the name to another version."""
    with connect() as client:
        client.models.set_alias(tenant_or_default(client, tenant), name, alias, version)
    note(f"{alias} is version {version} of {name}.", View(quiet=quiet))


@app.command("remove-alias")
def remove_alias(
    name: Name,
    alias: Annotated[str, typer.Argument(show_default=False)],
    tenant: MakeInTenant = None,
    quiet: QuietOption = False,
) -> None:
    """Take a version's name away; the version stays."""
    with connect() as client:
        client.models.remove_alias(tenant_or_default(client, tenant), name, alias)
    note(f"{name} has no {alias} any more.", View(quiet=quiet))


@app.command()
def delete(
    name: Name,
    version: Annotated[str | None, typer.Option("--version", help="Only this version.", show_default=False)] = None,
    tenant: MakeInTenant = None,
    yes: YesOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete a model with all its versions, or one version."""
    what = f"version {version} of the model {name}" if version else f"the model {name} with all its versions"
    confirm(f"Delete {what}?", yes)
    with connect() as client:
        tenant = tenant_or_default(client, tenant)
        if version:
            client.models.delete_version(tenant, name, version)
        else:
            client.models.delete(tenant, name)
    note(f"Deleted {what}.", View(quiet=quiet))
