"""A YAML file as plain values, with the line of every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ltai_hub.catalog.mistakes import KeyPath, Mistake, find_near, key_text

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"


@dataclass
class Document:
    """``value`` is None when the file could not be read; ``written`` holds scalars as typed ("1.10", not 1.1)."""

    file: str
    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def add(self, path: KeyPath, message: str, suggestion: str = "") -> None:
        self.mistakes.append(Mistake(self.file, self.line(path), key_text(path), message, suggestion))


def read_document(path: Path) -> Document:
    """Never raises for what is wrong with the file: that is in ``mistakes``."""
    document = Document(path.name)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        document.mistakes.append(Mistake(path.name, 0, "", f"there is no such file in {path.parent}", _other_file(path)))
        return document
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        document.mistakes.append(Mistake(path.name, line, "", "is not UTF-8 text", "save it as UTF-8"))
        return document
    except OSError as error:
        document.mistakes.append(Mistake(path.name, 0, "", f"cannot be read: {error.strerror}"))
        return document
    _parse(text, document)
    return document


def _other_file(path: Path) -> str:
    others = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = find_near(path.name, others)
    return f"rename {near} to {path.name}" if near else ""


def _parse(text: str, document: Document) -> None:
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        document.mistakes.append(Mistake(document.file, line, "", f"is no YAML: {error.problem}", _yaml_hint(text, error)))
        return
    except yaml.YAMLError as error:
        document.mistakes.append(Mistake(document.file, 0, "", f"is no YAML: {' '.join(str(error).split())}"))
        return
    document.lines[()] = 1
    document.value = _Builder(document).build(node, (), ()) if node is not None else None


def _yaml_hint(text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark and mark.line < text.count("\n") + 1 and text else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "\\t" in str(error.problem):
        return "indent with spaces, not tabs"
    if "mapping values" in str(error.problem):
        return "put text that has ': ' in it in quotes"
    if "alias" in str(error.problem) or "'%'" in str(error.problem) or "'@'" in str(error.problem):
        return "put text that begins with *, &, % or @ in quotes"
    return "look at the line before it too: indentation, a missing quote or bracket"


class _Builder:
    """Nodes → values, noting lines, doubled keys and keys that are no text."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.constructor = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: KeyPath, above: tuple[yaml.Node, ...]) -> Any:
        if any(node is other for other in above):
            self.document.add(path, "is an alias of something it lies in", "write it out")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path, (*above, node))
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == MERGE:
                merged |= self._merged(value_node, path, above)
                continue
            key = self._key(key_node, path)
            if key in first:
                self.document.mistakes.append(
                    Mistake(
                        self.document.file,
                        line,
                        key_text((*path, key)),
                        f"is there twice, first in line {first[key]}",
                        "remove one of them",
                    )
                )
                continue
            first[key] = line
            self.document.lines[(*path, key)] = line
            own[key] = self.build(value_node, (*path, key), above)
        return merged | own

    def _key(self, node: yaml.Node, path: KeyPath) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._add(node.start_mark.line + 1, path, "a key here is a list or mapping", "use a word; text with { or [ needs quotes")
            return f"line {node.start_mark.line + 1}"
        return str(node.value)

    def _merged(self, node: yaml.Node, path: KeyPath, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        """The value of ``<<``: a mapping or a list of them, the first winning."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in nodes:
            value = self.build(part, path, above)
            if not isinstance(value, dict):
                self._add(part.start_mark.line + 1, path, "<< wants a mapping")
                continue
            merged = value | merged
        return merged

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath, above: tuple[yaml.Node, ...]) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            self.document.lines[(*path, index)] = item.start_mark.line + 1
            values.append(self.build(item, (*path, index), above))
        return values

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.written[path] = str(node.value)
        try:
            return self.constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.document.lines.setdefault(path, node.start_mark.line + 1)
            self.document.add(path, f"cannot be read as {node.tag.rsplit(':', 1)[-1]}", "put it in quotes")
            return None

    def _add(self, line: int, path: KeyPath, message: str, suggestion: str = "") -> None:
        self.document.mistakes.append(Mistake(self.document.file, line, key_text(path), message, suggestion))
