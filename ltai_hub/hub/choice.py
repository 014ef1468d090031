"""What a person asked for on the spawn page, by REST or CLI; ``tenancy.choices`` decides what they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ltai_hub.environments.store import Environment
from ltai_hub.errors import BadInput
from ltai_hub.slugs import shown

FIELDS = ("tenant", "profile", "image", "flavor", "display_name")


@dataclass(frozen=True)
class Offer:
    """What a person may start: tenants in the order they are tried, each with its profiles."""

    profiles: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Wish:
    """Empty: the usual."""

    tenant: str = ""
    profile: str = ""
    image: str = ""
    flavor: str = ""
    display_name: str = ""

    def suits(self, row: Environment) -> bool:
        """Whether what is under way is what is wished."""
        return all(getattr(self, field) in ("", getattr(row, field)) for field in ("tenant", "profile", "image", "flavor"))


def read_options(options: Mapping[str, Any]) -> dict[str, str]:
    """``user_options`` or form fields (lists of strings) → the fields we know, blanks dropped. Raises BadInput."""
    found = {}
    for field in FIELDS:
        value = options.get(field)
        if isinstance(value, list | tuple):
            value = value[0] if value else None
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise BadInput(f"{field} is {shown(str(value))}; it must be a text")
        found[field] = value
    return found
