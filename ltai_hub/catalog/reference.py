"""The reference page of the catalogue's files, from their JSON Schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ltai_hub.catalog.load import NOUNS
from ltai_hub.catalog.schema import Schema, flow, load_schema
from ltai_hub.paths import shipped

WORDS = {"object": "mapping", "array": "list", "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
INTRODUCTION = """# Catalogue files

The catalogue is three YAML files in one folder (`spawner_profiles/`, or the folder in `LTAI_CATALOG`). They are read when the
platform starts. `ltai check-config` reports every mistake with file, line, key and what to write instead; nothing starts while
there is one. Editors that know JSON Schema complete and check keys by the `$schema` comment in the first line.
"""


def make_reference() -> str:
    """MyST Markdown: a section a file, a table of keys for every mapping in it."""
    return "\n".join([INTRODUCTION, *(_file(noun) for noun in NOUNS)])


def _file(noun: str) -> str:
    schema = load_schema(shipped("spawner_profiles") / "schema" / f"{noun}.json")
    top = [f"## {noun}.yaml", "", schema["description"], "", *_table(schema, schema, "")]
    rows = _resolve(schema["properties"][noun]["additionalProperties"], schema)
    name = schema["$defs"]["name"]["description"]
    return "\n".join([*top, "", f"### A row of {noun}", "", f"Names of {noun}: {name}", "", *_table(rows, schema, ""), ""])


def _table(mapping: Schema, schema: Schema, prefix: str) -> list[str]:
    lines = ["| key | value | default | meaning | example |", "|---|---|---|---|---|"]
    return [*lines, *_lines(mapping, schema, prefix)]


def _lines(mapping: Schema, schema: Schema, prefix: str) -> Iterator[str]:
    """One line a key; keys of mappings inside follow with a dotted name."""
    required = mapping.get("required", [])
    for key, written in mapping.get("properties", {}).items():
        value = _resolve(written, schema)
        default = "required" if key in required else _code(value["default"]) if "default" in value else ""
        example = _code(value["examples"][0]) if value.get("examples") else ""
        yield f"| `{prefix}{key}` | {_kind(value)} | {default} | {_cell(value.get('description', ''))} | {example} |"
        inside = _resolve(value["items"], schema) if value.get("type") == "array" else value
        if value.get("type") != ["string", "object"] and inside.get("properties"):
            yield from _lines(inside, schema, f"{prefix}{key}{'[]' if inside is not value else ''}.")


def _resolve(written: Schema, schema: Schema) -> Schema:
    """A ``$ref`` into ``$defs`` with what stands beside it winning."""
    reference = written.get("$ref", "")
    target = schema["$defs"][reference.rpartition("/")[2]] if reference else {}
    return {**target, **{k: v for k, v in written.items() if k != "$ref"}}


def _kind(value: Schema) -> str:
    if "enum" in value:
        return " or ".join(f"`{v}`" for v in value["enum"])
    kinds = value.get("type", "object")
    if kinds == ["string", "object"]:
        return "text in one or two languages"
    if kinds == ["string", "integer"]:
        return "amount with unit"
    return " or ".join(WORDS[k] for k in ([kinds] if isinstance(kinds, str) else kinds))


def _code(value: Any) -> str:
    return f"`{_cell(flow(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
