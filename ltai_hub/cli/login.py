"""What ``ltai login`` and ``logout`` do."""

from __future__ import annotations

import sys

import typer

from ltai_hub.client import Client
from ltai_hub.client.login import revoke, sign_in
from ltai_hub.client.settings import Login, load_login, login_file
from ltai_hub.errors import ConfigProblem, Problem


def login_with_password(url: str, name: str | None, from_stdin: bool, days: int) -> Login:
    """Raises ConfigProblem where nobody can be asked, Denied with the hub's reason."""
    if not from_stdin and not sys.stdin.isatty():
        raise ConfigProblem("there is no terminal to ask for the password; use --password-stdin with --user, or --token-stdin")
    if from_stdin and not name:
        raise ConfigProblem("--password-stdin needs --user")
    name = name or str(typer.prompt("Name"))
    password = _first_line() if from_stdin else str(typer.prompt("Password", hide_input=True))
    return sign_in(url, name.strip(), password, days=days)


def login_with_token(url: str) -> Login:
    """The token is tried before it is kept."""
    token = _first_line().strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigProblem("what came on stdin is no token; make one at URL/hub/token")
    with Client(url, token) as client:
        return Login(client.url, token, client.me()["name"])


def forget() -> str:
    """Deletes the login file and, as far as the hub answers, the token. The sentence to show."""
    file = login_file()
    saved = load_login(file)
    if saved is None:
        return "Nobody is signed in."
    file.unlink(missing_ok=True)
    try:
        revoke(saved)
    except Problem as problem:
        return f"Signed out here, but the token at {saved.url} may live on: {problem.message}"
    return f"Signed out from {saved.url}."


def _first_line() -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise ConfigProblem("nothing came on stdin")
    return line
