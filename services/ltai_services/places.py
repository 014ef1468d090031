"""The place in a cluster's own queue, which only the cluster knows: asked for what is shown, never once for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, PrivateAttr

from ltai_hub.backends.base import Backend, HasQueue, observe_some
from ltai_hub.errors import TryLater


class Placed(BaseModel):
    """What may wait. ``_state`` of the backend only while it does so in a cluster's queue."""

    _state: dict[str, Any] | None = PrivateAttr(default=None)

    reason: str
    queue_position: int | None


async def tell_places(backend: Backend, shown: Sequence[Placed]) -> None:
    """Writes place and reason into those that wait there."""
    waiting = [(one, one._state) for one in shown if one._state is not None]
    if not waiting or not isinstance(backend, HasQueue):
        return
    try:
        seen = await observe_some(backend, [state for _, state in waiting])
    except TryLater:  # what is known of them is shown without
        return
    for (one, _), observed in zip(waiting, seen, strict=True):
        if observed is not None:
            one.queue_position, one.reason = observed.position, observed.reason or one.reason
