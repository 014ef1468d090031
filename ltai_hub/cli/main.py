"""``ltai``: signing in, running the platform, and one group of commands a noun."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ltai_hub import __version__
from ltai_hub.cli.connect import connect
from ltai_hub.cli.group import WRONG, NounGroup, make_app
from ltai_hub.cli.options import OutputOption, QuietOption
from ltai_hub.cli.output import Format, View, column, note, print_object
from ltai_hub.errors import ConfigProblem

app = make_app(
    "LtAI from the command line. Sign in first: ltai login URL. Results go to stdout, notes to stderr.",
    cls=NounGroup,
    add_completion=True,
    pretty_exceptions_enable=False,
)


class Network(StrEnum):
    PRIVATE = "private"
    SHARED = "shared"


NetworkOption = Annotated[Network, typer.Option("--network", help="private: each process has its own loopback.")]
PublicUrlOption = Annotated[str, typer.Option("--public-url", help="What people type, behind a web server.", show_default=False)]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="The hub's address, as in the browser.", show_default=False)],
    user: Annotated[str | None, typer.Option("--user", help="Who; asked for unless told.", show_default=False)] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read a token (made at URL/hub/token) from stdin instead.")] = False,
    days: Annotated[int, typer.Option("--days", min=1, help="How long the sign-in lasts.")] = 30,
    quiet: QuietOption = False,
) -> None:
    """Sign in to a hub and remember it in ~/.config/ltai/login.json."""
    from ltai_hub.cli.login import login_with_password, login_with_token
    from ltai_hub.client.settings import save_login

    if token_stdin and (password_stdin or user):
        raise ConfigProblem("--token-stdin takes neither --user nor --password-stdin; a token says who you are")
    found = login_with_token(url) if token_stdin else login_with_password(url, user, password_stdin, days)
    save_login(found)
    note(f"Signed in at {found.url} as {found.name}.", View(quiet=quiet))


@app.command()
def logout(quiet: QuietOption = False) -> None:
    """Forget the sign-in and make its token useless."""
    from ltai_hub.cli.login import forget

    note(forget(), View(quiet=quiet))


@app.command()
def me(output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Who you are, and your tenants and roles."""
    columns = [column("name"), column("display_name"), column("admin"), column("default_tenant")]
    with connect() as client:
        seen = client.me()
    view = View(output, quiet)
    print_object(seen, columns, "name", view)
    if view == View():
        for tenant in seen["tenants"]:
            print(f"  {tenant['slug']}  {' / '.join(tenant['path'])}  ({tenant['role']})")


@app.command()
def password() -> None:
    """Change your password."""
    if not sys.stdin.isatty():
        raise ConfigProblem("a password is only changed on a terminal; or use the hub's page")
    with connect() as client:
        old = typer.prompt("Old password", hide_input=True)
        new = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
        client.change_password(old, new)
    note("The password is changed.", View())


@app.command()
def start(
    data: Annotated[Path, typer.Option("--data", help="Data folder; made when it is not there.")] = Path(".ltai"),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port people use.")] = 8000,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    demo: Annotated[bool, typer.Option("--demo", help="Make a demo school with random passwords; loopback only.")] = False,
    network: NetworkOption = Network.PRIVATE,
    public_url: PublicUrlOption = "",
    simulated_gpus: Annotated[int, typer.Option("--simulated-gpus", min=0, help="GPUs to pretend to have, marked as simulated.")] = 0,
) -> None:
    """Run the platform on this machine until Ctrl-C."""
    from ltai_hub.cli.admin import start_platform

    chosen = {"data": data, "port": port, "host": host, "demo": demo, "network": network.value, "public_url": public_url}
    raise typer.Exit(start_platform({**chosen, "simulated_gpus": simulated_gpus}))


@app.command()
def migrate(
    data: Annotated[Path, typer.Option("--data", help="Data folder.")] = Path(".ltai"),
) -> None:
    """Bring the database to this version's tables; start does it too."""
    from ltai_hub.cli.admin import migrate_database

    print(migrate_database(data))


@app.command("invite-admin")
def invite_admin(
    data: Annotated[Path, typer.Option("--data", help="Data folder.")] = Path(".ltai"),
    public_url: PublicUrlOption = "",
) -> None:
    """Print a one-time link for an administrator; on the platform's own machine or in its hub's pod."""
    from ltai_hub.cli import admin

    print(admin.invite_admin(data, public_url))


@app.command("check-config")
def check_config(
    folder: Annotated[Path | None, typer.Argument(help="Holds flavors.yaml, images.yaml, profiles.yaml.", show_default=False)] = None,
) -> None:
    """Check the catalogue; every mistake with file, line, key and a suggestion."""
    from ltai_hub.cli.admin import check_catalogue

    mistakes = check_catalogue(folder)
    for mistake in mistakes:
        typer.echo(mistake, err=True)
    if mistakes:
        raise typer.Exit(WRONG)
    print("The catalogue is right.")
