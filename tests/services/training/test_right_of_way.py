"""Those who submit go first; what is started gives way, but not for ever."""

from __future__ import annotations

import asyncio
import time

import pytest
from ltai_services.training import right_of_way
from ltai_services.training.right_of_way import RightOfWay


async def took(way: RightOfWay, seconds: float = 10) -> float:
    begun = time.monotonic()
    await way.give(seconds)
    return time.monotonic() - begun


async def test_it_is_given_until_nobody_waits_any_more() -> None:
    way, order = RightOfWay(), list[str]()

    async def start() -> None:
        await way.give(10)
        order.append("started")

    with way.taken():
        starting = asyncio.create_task(start())
        await asyncio.sleep(0.05)
        order.append("answered")
    await starting
    assert order == ["answered", "started"]


async def test_one_alone_is_no_rush_and_two_close_together_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "CLOSE_SECONDS", 30.0)
    way = RightOfWay()
    way._asked = time.monotonic() - 60
    with way.taken():
        pass
    assert await took(way) < 5
    with way.taken():
        pass
    assert await took(way, 0.1) >= 0.1
    monkeypatch.setattr(right_of_way, "CLOSE_SECONDS", 0.0)
    assert await took(way) < 5


async def test_it_is_given_for_so_long_at_most() -> None:
    way = RightOfWay()
    with way.taken():
        assert 0.05 <= await took(way, 0.05) < 5
