"""An environment's pod: what is told of its changes and its end."""

from __future__ import annotations

import asyncio

from ltai_hub.hub.podwatch import PodWatch
from tests.backends.kubernetes.test_watch import SmallCluster, a_job


async def test_a_follower_is_told_of_changes_and_of_the_end_which_is_remembered() -> None:
    cluster = SmallCluster("one")
    pods = await PodWatch(cluster, "n", {"a": "b"}).listed()  # type: ignore[arg-type]
    told: list[bool] = []
    pods.follow("one", lambda: told.append(pods.find("one") is not None))
    change = asyncio.create_task(pods.change("one", 5))
    await asyncio.sleep(0)
    cluster.changes.put_nowait(("MODIFIED", a_job("one", phase="Running")))
    assert await change
    found = pods.find("one")
    assert found is not None
    assert (found["status"], "managedFields" in found["metadata"]) == ({"phase": "Running"}, True)
    cluster.changes.put_nowait(("DELETED", a_job("one", phase="Failed")))
    assert await pods.change("one", 5)
    assert told == [True, False]
    gone = pods.find_gone("one")
    assert gone is not None
    assert gone.pod["status"] == {"phase": "Failed"}
    pods.note(a_job("one"))
    assert pods.find("one") is None, "what has gone is not made again by one that comes late"
    await pods.close()
