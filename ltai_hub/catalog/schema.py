"""JSON Schema errors → mistakes people understand."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ltai_hub.catalog.document import Document
from ltai_hub.catalog.mistakes import KeyPath, as_written, did_you_mean, find_near

Schema = dict[str, Any]
WORDS = {
    "string": "text",
    "object": "a mapping",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
ARCHITECTURES = {"x86_64": "amd64", "x86": "amd64", "intel": "amd64", "aarch64": "arm64", "arm": "arm64"}


@lru_cache
def load_schema(path: Path) -> Schema:
    schema: Schema = json.loads(path.read_text("utf-8"))
    return schema


def check_schema(document: Document, schema: Schema) -> None:
    """Add a mistake for everything in the document that the schema forbids."""
    seen: set[tuple[KeyPath, str]] = set()
    for error in _errors(document.value, schema):
        for path, message, suggestion in _explain(error, document):
            if (path, message) not in seen:
                seen.add((path, message))
                document.add(path, message, suggestion)


def _errors(value: Any, schema: Schema) -> Iterator[Any]:
    """Errors of jsonschema, imported late and without its IRI grammar: that alone takes 0.7 to 2.3 s to import and is not used."""
    blocked = "rfc3987_syntax" not in sys.modules and "jsonschema" not in sys.modules
    if blocked:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    try:
        from jsonschema import Draft202012Validator
    finally:
        if blocked:
            del sys.modules["rfc3987_syntax"]
    return Draft202012Validator(schema).iter_errors(value)


Explained = Iterator[tuple[KeyPath, str, str]]


def _explain(error: Any, document: Document) -> Explained:
    path: KeyPath = tuple(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        yield (*path, str(error.instance)), *_bad_name(error)
        return
    explain = EXPLAIN.get(error.validator, _other)
    yield from explain(error, path, document)


def _bad_name(error: Any) -> tuple[str, str]:
    name = str(error.instance)
    if error.validator == "maxLength":
        return f"a name has at most {error.validator_value} characters, this one {len(name)}", ""
    if error.schema.get("pattern", "").startswith("^[A-Za-z_]"):
        return "is no name of an environment variable", "use letters, digits and _, beginning with a letter"
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:40]
    hint = f"call it {better} and put {as_written(name)} into title" if better else ""
    return "names are made of a-z, 0-9 and '-', beginning with a letter", hint


def _unknown(error: Any, path: KeyPath, document: Document) -> Explained:
    known = error.schema.get("properties", {})
    for key in error.instance:
        if key not in known:
            free = [k for k in known if k not in error.instance]
            yield (*path, key), "is no key here", did_you_mean(key, free or known)


def _missing(error: Any, path: KeyPath, document: Document) -> Explained:
    known = error.schema.get("properties", {})
    misspelt = {find_near(key, [k for k in known if k not in error.instance]) for key in error.instance if key not in known}
    for key in error.validator_value:
        if key not in error.instance and key not in misspelt:
            yield path, f"{key} is missing", _example(known.get(key, {}), key)


def _wrong_type(error: Any, path: KeyPath, document: Document) -> Explained:
    wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    value, key = error.instance, _last(path)
    example = _example(error.schema, key)
    if value is None:
        yield path, "is empty", example or "fill it in or remove the key"
    elif wanted == ["string"] and isinstance(value, int | float):
        what = "truth value" if isinstance(value, bool) else "number"
        yield path, f"is read as the {what} {as_written(value)}", f'put it in quotes: {key}: "{document.written.get(path, value)}"'
    elif set(wanted) & {"number", "integer"} and isinstance(value, str):
        what = "whole number" if wanted == ["integer"] else "number"
        yield path, f"{as_written(value)} is no {what}", _number_hint(key, value) or example
    else:
        yield path, f"{as_written(value)} is not {' or '.join(WORDS[w] for w in wanted)}", example


def _number_hint(key: str, text: str) -> str:
    """ "500m" cores, "0.40 CNY", "4h" → what was meant."""
    if key == "cpu" and (match := re.fullmatch(r"(\d+)m", text)):
        return f"write cores: cpu: {int(match[1]) / 1000:g}"
    if key == "max_seconds" and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)\w*", text)):
        seconds = float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}[match[2]]
        return f"write seconds: max_seconds: {seconds:.0f}"
    if match := re.search(r"\d+(?:\.\d+)?", text):
        return f"write only the number: {key}: {match[0]}"
    return ""


def _bad_pattern(error: Any, path: KeyPath, document: Document) -> Explained:
    text = str(error.instance)
    amount = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?(?:ytes?)?", text.strip(), re.IGNORECASE)
    if "[KMGT]" in error.validator_value:
        unit = (amount[2].upper() + "i") if amount and amount[2] else "Gi"
        meant = f"write {_last(path)}: {amount[1]}{unit}" if amount else _example(error.schema, _last(path))
        yield path, f"{as_written(text)} is no amount with a unit", meant
    elif text.startswith("-"):
        yield path, f"{as_written(text)} is an option, not a requirement", "set options up for uv itself (uv.toml or UV_… variables)"
    else:
        yield path, f"{as_written(text)} does not fit", _example(error.schema, _last(path))


def _not_listed(error: Any, path: KeyPath, document: Document) -> Explained:
    word, known = str(error.instance), [str(v) for v in error.validator_value]
    same = ARCHITECTURES.get(word)
    yield path, f"{as_written(error.instance)} is not possible", f"did you mean {same}?" if same in known else did_you_mean(word, known)


def _too_small(error: Any, path: KeyPath, document: Document) -> Explained:
    if error.validator_value == 1 << 20:
        yield path, f"{error.instance} is {error.instance} bytes", f"with a unit: {_last(path)}: {error.instance}Gi"
    else:
        least = "more than" if error.validator == "exclusiveMinimum" else "at least"
        yield path, f"{as_written(error.instance)} is too small", f"it must be {least} {error.validator_value}"


def _too_large(error: Any, path: KeyPath, document: Document) -> Explained:
    yield path, f"{as_written(error.instance)} is too large", f"it can be at most {error.validator_value}"


def _empty(error: Any, path: KeyPath, document: Document) -> Explained:
    yield path, "is empty", _example(error.schema, _last(path)) or "give at least one entry"


def _other(error: Any, path: KeyPath, document: Document) -> Explained:
    yield path, error.message, ""


EXPLAIN: dict[str, Callable[[Any, KeyPath, Document], Explained]] = {
    "additionalProperties": _unknown,
    "required": _missing,
    "type": _wrong_type,
    "pattern": _bad_pattern,
    "enum": _not_listed,
    "minimum": _too_small,
    "exclusiveMinimum": _too_small,
    "maximum": _too_large,
    "maxLength": _too_large,
    "minLength": _empty,
    "minProperties": _empty,
}


def _last(path: KeyPath) -> str:
    """The last word of a path, list positions left out."""
    return next((str(part) for part in reversed(path) if isinstance(part, str)), "")


def _example(schema: Schema, key: str) -> str:
    """ "for example memory: 2Gi", from the schema itself."""
    examples = schema.get("examples")
    return f"for example {key}: {flow(examples[0])}" if examples else ""


def flow(value: Any) -> str:
    """A value in YAML's one-line form."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    plain = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) and not re.fullmatch(r"[\d.]+", value)
    return value if plain else json.dumps(value, ensure_ascii=False)
