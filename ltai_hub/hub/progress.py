"""Steps of a start as the pending page shows them: kept from the beginning, so a page opened later sees all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """``key`` names the step for translation; ``message`` is the English sentence; ``percent`` 0–100."""

    key: str
    percent: int
    message: str
    position: int | None = None
    detail: str = ""

    def as_event(self) -> dict[str, Any]:
        """JupyterHub's progress event with our own fields beside its own."""
        return {
            "progress": self.percent,
            "message": self.message,
            "key": self.key,
            "position": self.position,
            "detail": self.detail,
        }


class Progress:
    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._changed = asyncio.Event()

    def tell(self, step: Step) -> None:
        if self._steps and self._steps[-1] == step:
            return
        self._steps.append(step)
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self) -> AsyncIterator[Step]:
        """All steps so far, then each new one; the caller ends it."""
        seen = 0
        while True:
            changed = self._changed
            while seen < len(self._steps):
                yield self._steps[seen]
                seen += 1
            await changed.wait()
