"""Many small calls as a few larger ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ltai_hub.errors import Unavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Together(Generic[Asked, Answer]):
    """What is asked while a call is under way goes out with the next one; nothing waits for others to come.

    ``send`` answers each of what it is given, in order; what it raises is told to all of them.
    """

    def __init__(self, send: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]) -> None:
        self._send = send
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, one: Asked) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="asked together")
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._tell(group)
        finally:
            self._task = None

    async def _tell(self, group: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        # who asked may have gone meanwhile
        try:
            answers = await self._send([one for one, _ in group])
            if len(answers) != len(group):
                raise Unavailable(f"{len(group)} things were asked for and {len(answers)} came back; try again in a moment")
        except Exception as problem:
            for _, waiting in group:
                if not waiting.done():
                    waiting.set_exception(problem)
            return
        for (_, waiting), answer in zip(group, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
