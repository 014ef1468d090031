"""reference/helm-values.md from helm/ltai/values.schema.json (what a key is) and values.yaml (its default)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from generators.markdown import code, table

CHART = Path(__file__).resolve().parents[2] / "helm" / "ltai"
HEAD = """# Values of the Helm chart

What `helm install ltai helm/ltai --values FILE` takes; a key that is not here is refused. How to install:
[Install on Kubernetes](../how-to/install-on-kubernetes.md).

"""


def make_page() -> str:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    rows = [[code(path), default_of(default), text_of(node)] for path, node, default in walk(schema, values) if path != "global"]
    return HEAD + table(["key", "default", "what it is"], rows)


def walk(node: Mapping[str, Any], value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Every described key, a group before its members; the inside of ``resources`` is Kubernetes' own."""
    for name, below in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        inside = value.get(name) if isinstance(value, Mapping) else None
        if is_group(below):
            yield here, below, None
            yield from walk(below, inside, here)
        else:
            yield here, below, inside


def is_group(node: Mapping[str, Any]) -> bool:
    return "properties" in node and "requests" not in node["properties"]


def default_of(value: Any) -> str:
    return "" if value is None or value == "" else code(json.dumps(value, ensure_ascii=False).strip('"'))


def text_of(node: Mapping[str, Any]) -> str:
    choices = f" One of {', '.join(code(choice) for choice in node['enum'])}." if "enum" in node else ""
    return node["description"] + choices
