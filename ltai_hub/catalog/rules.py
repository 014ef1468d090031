"""What a schema cannot say: names that must exist, amounts, paths, requirements uv would refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ltai_hub.catalog.document import Document
from ltai_hub.catalog.mistakes import KeyPath, as_written, did_you_mean, find_near
from ltai_hub.domain.catalog import ANY_NVIDIA, SIMULATED
from ltai_hub.errors import BadInput
from ltai_hub.units import parse_bytes

Row = dict[str, Any]
LEAST_MEMORY = 16 << 20
OURS = (
    "LTAI_",
    "JUPYTERHUB_",
    "MLFLOW_TRACKING_",
    "MLFLOW_RUN_ID",
    "MLFLOW_WORKSPACE",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "ASCEND_VISIBLE_DEVICES",
)


def check_rules(documents: dict[str, Document]) -> None:
    """Adds mistakes; looks only at values of the right type, the rest is the schema's business."""
    for path, row in _rows(documents["flavors"], "flavors"):
        _check_flavor(documents["flavors"], path, row)
    for index, requirement in enumerate(_list(documents["images"].value, "common")):
        _check_requirement(documents["images"], ("common", index), requirement)
    for path, row in _rows(documents["images"], "images"):
        _check_image(documents["images"], path, row)
    for path, row in _rows(documents["profiles"], "profiles"):
        _check_references(documents, path, row)
        _check_paths(documents["profiles"], path, row)
        _check_environment(documents["profiles"], path, row)


def check_pictures(document: Document, folder: Path) -> None:
    """Pictures named by profiles lie in ``folder``."""
    there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    for path, row in _rows(document, "profiles"):
        picture = row.get("picture")
        if isinstance(picture, str) and picture not in there:
            document.add((*path, "picture"), f"there is no file pictures/{picture}", did_you_mean(picture, sorted(there)))


def _check_flavor(document: Document, path: KeyPath, row: Row) -> None:
    memory = row.get("memory")
    if isinstance(memory, str) and (amount := _bytes(memory)) is not None and amount < LEAST_MEMORY:
        document.add((*path, "memory"), f"{memory} is too little to start anything", "it must be at least 16Mi")
    accelerator, kubernetes = row.get("accelerator"), row.get("kubernetes")
    kind = accelerator.get("kind") if isinstance(accelerator, dict) else None
    if not isinstance(kind, str) or kind == SIMULATED or kind.startswith("nvidia-"):
        return
    if not (isinstance(kubernetes, dict) and kubernetes.get("resource_name")):
        near = find_near(kind, [SIMULATED, ANY_NVIDIA])
        hint = f"did you mean {near}?" if near else "add kubernetes.resource_name"
        document.add((*path, "accelerator", "kind"), f"nothing says how a {as_written(kind)} is found", hint)


def _bytes(text: str) -> int | None:
    """None without a unit: the schema has said so already."""
    try:
        return parse_bytes(text) if text[-1:].isalpha() else None
    except BadInput:
        return None


def _check_image(document: Document, path: KeyPath, row: Row) -> None:
    if not row.get("requirements") and not row.get("container"):
        document.add(path, "can be used nowhere", "give it requirements (local mode), a container (Kubernetes) or both")
    for index, requirement in enumerate(_list(row, "requirements")):
        _check_requirement(document, (*path, "requirements", index), requirement)
    _check_environment(document, path, row)


def _check_requirement(document: Document, path: KeyPath, requirement: Any) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    if not isinstance(requirement, str) or not requirement[:1].isalnum():
        return
    try:
        Requirement(requirement)
    except InvalidRequirement:
        document.add(path, f"{as_written(requirement)} is no requirement", _requirement_hint(requirement))


def _requirement_hint(requirement: str) -> str:
    better = re.sub(r"\s*=>\s*", ">=", requirement)
    better = re.sub(r"\s*=<\s*", "<=", better)
    better = re.sub(r"(?<![=<>!~])=(?!=)\s*", "==", better)
    better = re.sub(r"^([A-Za-z0-9._-]+)\s+(\d\S*)$", r"\1==\2", better)
    return f'write "{better}"' if better != requirement else 'for example "numpy>=2.2"'


def _check_references(documents: dict[str, Document], path: KeyPath, row: Row) -> None:
    for noun in ("image", "flavor"):
        known = _names(documents[f"{noun}s"], f"{noun}s")
        if known is None:
            continue
        for at, name in _named(row, noun):
            if name not in known:
                documents["profiles"].add((*path, *at), f"there is no {noun} {as_written(name)} in {noun}s.yaml", did_you_mean(name, known))


def _named(row: Row, noun: str) -> Iterator[tuple[KeyPath, str]]:
    """Every place where a profile names an image (or flavor)."""
    if isinstance(row.get(noun), str):
        yield (noun,), row[noun]
    for index, name in enumerate(_list(row, f"{noun}s")):
        if isinstance(name, str):
            yield (f"{noun}s", index), name


def _check_paths(document: Document, path: KeyPath, row: Row) -> None:
    taken: dict[str, KeyPath] = {}
    for key in ("mounts", "copy"):
        for index, entry in enumerate(_list(row, key)):
            if not isinstance(entry, dict):
                continue
            for end in ("source", "target"):
                place = (*path, key, index, end)
                if isinstance(entry.get(end), str) and ".." in PurePosixPath(entry[end]).parts:
                    document.add(place, f"{as_written(entry[end])} leaves its folder", "write the path without ..")
            target = str(PurePosixPath(str(entry.get("target", ""))))
            if target in taken:
                other = document.line(taken[target])
                document.add(
                    (*path, key, index, "target"), f"{as_written(target)} is used twice", f"line {other} has it too; choose another"
                )
            taken[target] = (*path, key, index, "target")


def _check_environment(document: Document, path: KeyPath, row: Row) -> None:
    variables = row.get("environment")
    for name in variables if isinstance(variables, dict) else ():
        if name.startswith(OURS):
            document.add((*path, "environment", name), "is set by the platform itself", "choose another name")


def _rows(document: Document, noun: str) -> Iterator[tuple[KeyPath, Row]]:
    rows = document.value.get(noun) if isinstance(document.value, dict) else None
    for name, row in rows.items() if isinstance(rows, dict) else ():
        if isinstance(row, dict):
            yield (noun, name), row


def _names(document: Document, noun: str) -> list[str] | None:
    """Names in a file; None when it cannot be read, so that its readers are not blamed."""
    rows = document.value.get(noun) if isinstance(document.value, dict) else None
    return list(rows) if isinstance(rows, dict) else None


def _list(row: Any, key: str) -> list[Any]:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, list) else []
