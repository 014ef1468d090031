"""How commands are found and how they fail: nouns are imported when used, errors become one line and an exit code.

Exit codes: 0 done · 1 refused or failed · 2 the command or the set-up is wrong · 130 interrupted; ``job submit --wait``
and ``job wait`` leave with the job's own code.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ltai_hub.errors import ConfigProblem, NotLoggedIn, Problem

REFUSED, WRONG, INTERRUPTED = 1, 2, 130
# Names users' scripts depend on; each is ltai_hub/cli/NAME.py with an ``app``.
NOUNS = {
    "tenant": "Organisations, departments, courses and projects, and their members.",
    "user": "Accounts and invite links.",
    "flavor": "Compute specs: cores, memory, disk, accelerators, price.",
    "image": "Frameworks: what is installed.",
    "profile": "Lab profiles: image, flavor and data, ready for a class.",
    "environment": "JupyterLab environments.",
    "job": "Training jobs.",
    "model": "Registered models and their versions.",
    "endpoint": "Model versions published as online services.",
    "usage": "What was used.",
    "bill": "What it cost, line by line; prices.",
    "quota": "Limits of tenants and users.",
}


def make_app(help: str, **options: Any) -> typer.Typer:
    """A command group in the house style: plain help, no boxes."""
    settings: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "add_completion": False, "cls": PlainGroup}
    return typer.Typer(help=help, **(settings | options))


class PlainGroup(TyperGroup):
    """Leaves with our exit codes and one line on stderr; never shows a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            code = super().main(args, "ltai", complete_var, False, windows_expand_args, **extra)
            sys.stdout.flush()
        except Exception as error:
            leave(error)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _leave_quietly()


class NounGroup(PlainGroup):
    """The top level: knows the nouns' names and help without importing them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [*NOUNS, *self.commands]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name in NOUNS:
            return get_command(importlib.import_module(f"ltai_hub.cli.{cmd_name}").app)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise ConfigProblem(f"there is no command {args[0]!r}{_meant(args[0], self.list_commands(ctx))}; see: ltai --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        with formatter.section("Nouns"):
            formatter.write_dl(list(NOUNS.items()))
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(100)) for name, command in self.commands.items()])


def leave(error: Exception) -> NoReturn:
    """Says what went wrong and exits."""
    if isinstance(error, BrokenPipeError):
        _leave_quietly()
    code, text = explain(error)
    typer.echo(text, err=True)
    sys.exit(code)


def explain(error: Exception) -> tuple[int, str]:
    """Exit code and what to print."""
    if isinstance(error, ConfigProblem):
        return WRONG, f"ltai: {error.message}"
    if isinstance(error, NotLoggedIn):
        return REFUSED, f"ltai: {error.message} (to sign in again: ltai login URL)"
    if isinstance(error, Problem):
        return REFUSED, f"ltai: {error.message}{_request_id(error)}"
    if isinstance(error, typer.TyperException):
        return error.exit_code, _usage(error)
    if isinstance(error, typer.Abort):
        return INTERRUPTED, "ltai: stopped; nothing was changed"
    if isinstance(error, OSError):
        return REFUSED, f"ltai: {error.filename or 'the operating system'}: {error.strerror or error}"
    return REFUSED, f"ltai: unexpected {type(error).__name__}: {error}; please report it with the command you gave"


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is None:
        return f"ltai: {message}"
    if type(error).__name__ == "NoArgsIsHelpError":
        return message
    return f"ltai: {' '.join(message.split()).rstrip('.')}; see: {context.command_path} --help"


def _request_id(problem: Problem) -> str:
    number = problem.details.get("request_id")
    return f" (request {number})" if problem.status >= 500 and number else ""


def _meant(typed: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(typed, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _leave_quietly() -> NoReturn:
    """The reader has gone (``ltai job list | head``): nothing to say, and nothing to say it to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
