"""One account number a person, for a platform that runs as root. Numbers are never given twice."""

from __future__ import annotations

import json
from pathlib import Path

from ltai_hub.backends.local.records import write_atomically

FIRST = 200_000


class Uids:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.numbers: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}

    def number_of(self, user: str) -> int:
        """Stable for ever; written down before it is used."""
        if user not in self.numbers:
            self.numbers[user] = max(self.numbers.values(), default=FIRST - 1) + 1
            write_atomically(self.file, self.numbers)
        return self.numbers[user]
