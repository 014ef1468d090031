from __future__ import annotations

import asyncio

from ltai_hub.controllers.controller import Controller


class Counts(Controller):
    interval = 60.0

    def __init__(self, failing: int = 0) -> None:
        super().__init__()
        self.passes = 0
        self.failing = failing
        self.passed = asyncio.Event()

    async def pass_once(self) -> None:
        self.passes += 1
        self.passed.set()
        if self.passes <= self.failing:
            raise RuntimeError("this pass failed")


async def next_pass(controller: Counts) -> None:
    await asyncio.wait_for(controller.passed.wait(), 5)
    controller.passed.clear()


async def test_a_poke_begins_a_pass_at_once() -> None:
    controller = Counts()
    task = asyncio.create_task(controller.run())
    await next_pass(controller)
    controller.poke()
    await next_pass(controller)
    task.cancel()
    assert controller.passes == 2


async def test_a_failing_pass_does_not_end_the_loop() -> None:
    controller = Counts(failing=2)
    task = asyncio.create_task(controller.run())
    for _ in range(3):
        await next_pass(controller)
        controller.poke()
    task.cancel()
    assert controller.passes >= 3


async def test_a_poke_during_a_pass_is_not_lost() -> None:
    controller = Counts()
    controller._loop = asyncio.get_running_loop()
    controller.poke()
    task = asyncio.create_task(controller.run())
    await next_pass(controller)
    await next_pass(controller)
    task.cancel()


class TakesItsTime(Counts):
    async def pass_once(self) -> None:
        await super().pass_once()
        self.poke()
        await asyncio.sleep(0.1)


async def test_a_long_pass_leaves_as_much_time_to_others_however_often_it_is_poked() -> None:
    controller = TakesItsTime()
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(1)
    task.cancel()
    assert 2 <= controller.passes <= 6
