"""reference/catalogue.md from the schemas the catalogue is checked with."""

from __future__ import annotations


def make_page() -> str:
    from ltai_hub.catalog.reference import make_reference

    return make_reference()
