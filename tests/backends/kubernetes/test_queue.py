"""Kueue is asked for places as seldom as those who ask allow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ltai_hub.backends.kubernetes.api import Cluster, Object
from ltai_hub.backends.kubernetes.queue import Queue


class CountsQuestions(Cluster):
    def __init__(self) -> None:
        self.asked = 0

    async def raw(
        self, method: str, path: str, body: Object | None = None, query: Mapping[str, str] | None = None, content: str = "application/json"
    ) -> Object:
        self.asked += 1
        await asyncio.sleep(0.01)
        return {"items": [{"metadata": {"ownerReferences": [{"uid": "u1"}]}, "positionInClusterQueue": 6}]}


async def test_many_who_ask_at_once_wait_for_one_answer() -> None:
    cluster = CountsQuestions()
    queue = Queue(cluster)
    told = await asyncio.gather(*(queue.standings("uni-physics", ["u1"], []) for _ in range(8)))
    assert {one["u1"].position for one in told} == {7}
    assert cluster.asked == 1
    await queue.standings("uni-chemistry", ["u1"], [])
    assert cluster.asked == 2
