"""Names people type and the safe names made from them."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from ltai_hub.errors import BadInput

USER_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}[a-z0-9]|[a-z]")
LONGEST_NAME = 200


def check_user_name(name: str) -> str:
    """A login name: 1–64 of a–z, 0–9, ``.``, ``_``, ``-``, starting with a letter. Raises BadInput."""
    if not USER_NAME.fullmatch(name) or ".." in name:
        raise BadInput(
            f"{shown(name)} cannot be a user name: use 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter; "
            "any text can be the display name"
        )
    return name


def check_title(text: str, what: str, longest: int = LONGEST_NAME) -> str:
    """A name shown to people, kept as typed (emoji, quotes and < > included).

    Raises BadInput for empty, too long or invisible ones, and for control characters.
    """
    name = text.strip()
    if not name:
        raise BadInput(f"the name of the {what} is empty; type at least one character")
    if len(name) > longest:
        raise BadInput(f"the name of the {what} has {len(name)} characters; at most {longest} are allowed")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise BadInput(f"the name of the {what} has a control character or half a surrogate pair; remove it")
    if all(unicodedata.category(c)[0] in "CZM" for c in name):
        raise BadInput(f"the name of the {what} has no visible character; type at least one")
    return name


def check_number(number: int, what: str) -> None:
    """Raises BadInput for what cannot be the id of a row."""
    if not 0 < number < 2**63:
        raise BadInput(f"{number} is no number of {'an' if what[0] in 'aeiou' else 'a'} {what}")


def make_slug(name: str, longest: int = 40) -> str:
    """A name safe in paths, URLs and pod names: [a-z]([a-z0-9-]*[a-z0-9])?. Names that lose anything get a hash, so two never clash."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain == name and len(plain) <= longest and plain[:1].isalpha():
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    stem = (plain if plain[:1].isalpha() else f"x-{plain}")[: longest - 9].strip("-")
    return f"{stem}-{digest}"


def shown(text: str, longest: int = 60) -> str:
    """Input quoted in an error, cut short."""
    return repr(text if len(text) <= longest else text[: longest - 1] + "…")
