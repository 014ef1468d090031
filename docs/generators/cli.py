"""reference/cli.md from the commands themselves."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from generators.markdown import code, sentence, table
from ltai_hub.cli.group import NOUNS
from ltai_hub.cli.main import app

HEAD = """# Commands

`ltai NOUN VERB`: the nouns are the same in REST, tables, panels and these pages.
Sign in once with `ltai login URL`; or set `LTAI_URL` and `LTAI_TOKEN`, which come first. Inside an environment nothing is needed.

Results go to stdout, notes and errors to stderr. `-o json` prints exactly the [REST](rest.md) object, lists as
`{"items": […], "total": N}`. Into a pipe, tables are tab-separated. Exit codes are at the end of [Errors](errors.md).

"""


def make_page() -> str:
    parts = [HEAD]
    parts += ["## Sign in, and run the platform\n\n", *(describe(path, command) for path, command in top_commands())]
    for noun, help in NOUNS.items():
        parts += [f"## {noun}\n\n{help}\n\n", *(describe(path, command) for path, command in verbs(noun))]
    return "".join(parts).rstrip() + "\n"


def commands() -> dict[str, Any]:
    """Every command by its full name, "ltai job submit"."""
    found = dict(top_commands())
    for noun in NOUNS:
        found |= dict(verbs(noun))
    return found


def top_commands() -> Iterator[tuple[str, Any]]:
    group: Any = get_command(app)
    for name, command in group.commands.items():
        yield f"ltai {name}", command


def verbs(noun: str) -> Iterator[tuple[str, Any]]:
    group: Any = get_command(importlib.import_module(f"ltai_hub.cli.{noun}").app)
    if group.invoke_without_command:
        yield f"ltai {noun}", group
    for name, command in group.commands.items():
        yield f"ltai {noun} {name}", command


def describe(path: str, command: Any) -> str:
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    rows = [[names(p), explain(p)] for p in shown if explain(p)]
    usage = " ".join([path, "[OPTIONS]" if len(shown) > len(arguments) else "", *map(placeholder, arguments)]).replace("  ", " ").strip()
    text = f"### {path}\n\n{sentence(command.help or '')}\n\n```\n{usage}\n```\n\n"
    return text + (table(["option", "what it is"], rows) + "\n" if rows else "")


def placeholder(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    if argument.nargs == -1:
        name += "..."
    return name if argument.required else f"[{name}]"


def names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return code(placeholder(parameter))
    value = "" if parameter.is_flag else f" {value_name(parameter)}"
    return ", ".join(code(f"{name}{value}") for name in [*parameter.opts, *parameter.secondary_opts])


def value_name(option: Any) -> str:
    choices = option.type_descriptor.choices
    if choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return str(option.name).upper().rsplit("_", maxsplit=1)[-1]


def explain(parameter: Any) -> str:
    help = sentence(parameter.help or "")
    default = parameter.default
    if parameter.required or default in (None, False, "", ()) or callable(default) or parameter.param_type_name == "argument":
        return help
    return f"{help} Default: {code(getattr(default, 'value', default))}."
