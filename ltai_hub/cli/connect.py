"""The SDK client of a command, imported and made when it is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from ltai_hub.errors import BadInput, ConfigProblem

if TYPE_CHECKING:
    from ltai_hub.client import Client


def connect() -> Client:
    """Raises ConfigProblem when nobody is signed in."""
    from ltai_hub.client import Client

    return Client.from_environment()


def tenant_or_default(client: Client, tenant: str | None) -> str:
    """For addresses that have the tenant in them. Raises BadInput for somebody who is in none."""
    found = tenant or client.me()["default_tenant"]
    if not found:
        raise BadInput("you are a member of no tenant; name one with --tenant")
    return found


def name_of(client: Client, user: str | None) -> str | None:
    """For services that know names only: "me" is the caller."""
    return client.me()["name"] if user == "me" else user


def print_stream(pieces: Iterator[str]) -> None:
    """A log as it comes. Control characters pass: progress bars are made of them."""
    for text in pieces:
        print(text, end="", flush=True)


def confirm(question: str, yes: bool) -> None:
    """Raises Abort for no, and where there is nobody to ask ConfigProblem."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigProblem(f"{question} Nobody is there to answer; give --yes")
    if not typer.confirm(question):
        raise typer.Abort
