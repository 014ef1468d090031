"""The hub's look: templates, navigation and translations. No import of JupyterHub, so the console can use it as well."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
