"""Finds the backend named in the settings through the entry-point group ``ltai.backends``."""

from __future__ import annotations

from importlib.metadata import entry_points

from ltai_hub.backends.base import Backend
from ltai_hub.errors import ConfigProblem
from ltai_hub.settings import Settings

GROUP = "ltai.backends"


def load_backend(settings: Settings) -> Backend:
    """The backend instance for ``settings.backend``; an entry point is a callable taking the settings."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if settings.backend not in found:
        raise ConfigProblem(f"backend {settings.backend!r} is not installed; choose one of {', '.join(sorted(found))}")
    backend: Backend = found[settings.backend].load()(settings)
    return backend
