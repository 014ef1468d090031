"""reference/settings.md from the fields of ``ltai_hub.settings.Settings``."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from generators.markdown import code, table
from ltai_hub.settings import Settings

HEAD = """# Settings

All settings of the hub side are environment variables. `ltai start` sets most of them for the processes it starts;
those that are worth setting by hand in local mode are also its options ([Commands](cli.md)).

"""
TAIL = """
The command line and the Python SDK read two more, and inside an environment find them set:

| variable | what it is |
| --- | --- |
| `LTAI_URL` | the hub's public address |
| `LTAI_TOKEN` | a hub token; made by `ltai login` or on the page `/hub/token` |
"""


def make_page() -> str:
    prefix = Settings.model_config["env_prefix"]
    rows = [
        [code(f"{prefix}{name.upper()}"), type_of(field), default_of(field), field.description or ""]
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + table(["variable", "type", "default", "what it is"], rows) + TAIL


def type_of(field: FieldInfo) -> str:
    names = {"str": "text", "int": "whole number", "bool": "true or false", "Path": "path", "float": "number"}
    name = getattr(field.annotation, "__name__", str(field.annotation))
    return names.get(name, name)


def default_of(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "shipped with LtAI"
    if isinstance(field.default, bool):
        return code(str(field.default).lower())
    return code(field.default)
