"""What is wrong in a catalogue file, said so that it can be mended without reading docs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]

# Words people bring from elsewhere.
OTHER_WORDS = {
    "ram": "memory", "mem": "memory", "memory_limit": "memory", "mem_limit": "memory", "cpus": "cpu", "cores": "cpu", "cpu_limit": "cpu",
    "gpu": "accelerator", "gpus": "accelerator", "npu": "accelerator", "storage": "disk", "arch": "architecture", "cost": "price",
    "price_per_hour": "price", "display_name": "title", "name": "title", "label": "title", "packages": "requirements",
    "pip": "requirements", "dependencies": "requirements", "docker": "container", "container_image": "container", "env": "environment",
    "volumes": "mounts", "files": "copy", "slug": "title", "zh": "zh-CN", "zh_CN": "zh-CN", "zh-cn": "zh-CN", "cn": "zh-CN",
    "timeout": "max_seconds", "time_limit": "max_seconds", "max_time": "max_seconds", "readonly": "read_only", "icon": "picture",
    "runtimeClass": "runtime_class", "runtimeClassName": "runtime_class", "nodeSelector": "node_selector",
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake; ``line`` counts from 1 and is 0 where the whole file is meant. ``suggestion`` says what to write."""

    file: str
    line: int
    key: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        return f"{place}:{key} {self.message}{f'; {self.suggestion}' if self.suggestion else ''}"


def key_text(path: KeyPath) -> str:
    """("profiles", "a", "copy", 0) → "profiles.a.copy[0]"."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for a word that is not among the known ones: the nearest, else all of them."""
    names = list(known)
    near = find_near(word, names)
    if near:
        return f"did you mean {near}?"
    return f"it can be {', '.join(names[:-1]) + ' or ' if names[1:] else ''}{names[-1]}" if names else ""


def find_near(word: str, known: Iterable[str]) -> str | None:
    names = list(known)
    if OTHER_WORDS.get(word) in names:
        return OTHER_WORDS[word]
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower().replace(" ", "-"), lower, n=1, cutoff=0.6)
    return lower[near[0]] if near else None


def as_written(value: object, longest: int = 60) -> str:
    """A value as it would stand in the file, cut short."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return json.dumps(short, ensure_ascii=False) if isinstance(value, str) else short
