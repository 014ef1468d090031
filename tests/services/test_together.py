from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from ltai_services.together import Together

from ltai_hub.errors import Unavailable


class Doubles:
    """Answers when it is let; ``groups`` are what it was given."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may = asyncio.Event()

    async def send(self, asked: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(asked))
        await self.may.wait()
        if 13 in asked:
            raise ValueError("no thirteen")
        if 14 in asked:
            return []
        return [2 * one for one in asked]


async def test_what_is_asked_meanwhile_goes_out_together_and_each_has_its_own_answer() -> None:
    doubles = Doubles()
    together = Together(doubles.send)
    asked = [asyncio.create_task(together.ask(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    late = [asyncio.create_task(together.ask(number)) for number in range(5, 8)]
    await asyncio.sleep(0.01)
    doubles.may.set()
    assert await asyncio.gather(*asked, *late) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert doubles.groups == [[0, 1, 2, 3, 4], [5, 6, 7]]


async def test_what_fails_is_told_to_all_it_was_for_and_to_nobody_else() -> None:
    doubles = Doubles()
    doubles.may.set()
    together = Together(doubles.send)
    first = await asyncio.gather(together.ask(13), together.ask(1), return_exceptions=True)
    assert [str(problem) for problem in first] == ["no thirteen", "no thirteen"]
    assert await together.ask(2) == 4


async def test_who_gave_up_holds_up_nobody() -> None:
    doubles = Doubles()
    together = Together(doubles.send)
    gone, stays = asyncio.create_task(together.ask(1)), asyncio.create_task(together.ask(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    doubles.may.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_too_few_answers_leave_nobody_waiting() -> None:
    doubles = Doubles()
    doubles.may.set()
    together = Together(doubles.send)
    told = await asyncio.gather(together.ask(14), together.ask(1), return_exceptions=True)
    assert [type(problem) for problem in told] == [Unavailable, Unavailable]
    assert await together.ask(2) == 4
