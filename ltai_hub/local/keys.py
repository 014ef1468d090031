"""Secrets of one installation: made at its first start, kept in ``secrets.json`` (0600)."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ltai_hub.errors import ConfigProblem
from ltai_hub.local.folder import write_private


@dataclass(frozen=True)
class Keys:
    """Hex strings. ``mlflow`` encrypts what MLflow keeps secret and signs its sessions."""

    cookie_secret: str = field(repr=False)
    proxy_token: str = field(repr=False)
    platform_token: str = field(repr=False)
    console_token: str = field(repr=False)
    signing_key: str = field(repr=False)
    mlflow: str = field(repr=False)


def load_keys(root: Path) -> Keys:
    """The kept ones; what is missing is made and kept. Raises ConfigProblem."""
    path = root / "secrets.json"
    kept = _read(path)
    keys = Keys(**{f.name: kept.get(f.name) or secrets.token_hex(32) for f in fields(Keys)})
    if asdict(keys) != kept:
        write_private(path, json.dumps(asdict(keys), indent=1) + "\n")
    return keys


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigProblem(
            f"{path} is damaged ({error}); restore it from a copy, or delete it: then everybody has to sign in again"
        ) from error
    return {key: value for key, value in kept.items() if isinstance(value, str)}
