"""Quantities: bytes as "2 GiB", money in integer micro-units, UTC time."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from decimal import Decimal

from ltai_hub.errors import BadInput
from ltai_hub.slugs import shown

SUFFIXES = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
MICRO = 1_000_000


def parse_bytes(text: str | int) -> int:
    """ "1.5Gi", "512Mi", "2G" or plain bytes → bytes. Raises BadInput."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", text)
    if not match:
        raise BadInput(f"{shown(text)} is no amount of memory; write for example 2Gi or 512Mi")
    return int(float(match[1]) * SUFFIXES[match[2] or ""])


def format_bytes(amount: int | float) -> str:
    """Bytes as people read them: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"


def to_micro(amount: str | int | float | Decimal) -> int:
    """Money as written ("4.80") → integer micro-units."""
    return int((Decimal(str(amount)) * MICRO).to_integral_value())


def format_money(micro: int, currency: str) -> str:
    """4800000, "CNY" → "4.80 CNY"; more digits only when needed."""
    digits = f"{Decimal(micro) / MICRO:.6f}".rstrip("0")
    whole, _, part = digits.partition(".")
    return f"{whole}.{part.ljust(2, '0')} {currency}"


def utc_now() -> datetime:
    """Now, aware, in UTC. Pass it as the ``clock`` argument; tests pass their own."""
    return datetime.now(UTC)


def machine_size() -> tuple[int, int]:
    """Cores and bytes of memory of this machine."""
    return os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
