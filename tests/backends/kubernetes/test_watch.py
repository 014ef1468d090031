"""What is kept in memory of the cluster follows its changes, and survives its breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from ltai_hub.backends.kubernetes import watch
from ltai_hub.backends.kubernetes.api import JOBSET, POD, Object, Resource
from ltai_hub.backends.kubernetes.watch import Watches
from ltai_hub.errors import TryLater


class SmallCluster:
    """Lists what it has and tells changes as they are put in; ``broken`` answers nothing."""

    def __init__(self, *names: str) -> None:
        self.there = {name: a_job(name) for name in names}
        self.changes: asyncio.Queue[tuple[str, Object] | None] = asyncio.Queue()
        self.broken = False
        self.lists = 0

    async def raw(self, method: str, path: str, body: Object | None = None, query: Mapping[str, str] | None = None) -> Object:
        if self.broken:
            raise TryLater("the cluster does not answer")
        self.lists += 1
        return {"metadata": {"resourceVersion": "2"}, "items": [a_job(name) for name in self.there]}

    async def watch(self, resource: Resource, namespace: str, labels: Mapping[str, str], since: str) -> AsyncIterator[tuple[str, Object]]:
        while (change := await self.changes.get()) is not None:
            yield change
        if self.broken:
            raise TryLater("watching broke off")


def a_job(name: str, version: int = 2, **status: Any) -> Object:
    metadata = {"name": name, "namespace": "n", "resourceVersion": str(version), "managedFields": [1, 2, 3]}
    return {"metadata": metadata, "spec": {"suspend": True, "replicatedJobs": ["large"]}, "status": status}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(watch, "FIRST_SECONDS", 0.1)


async def look(watches: Watches) -> Mapping[str, Object]:
    await asyncio.sleep(0.05)
    return await watches.objects(JOBSET, "n", {"a": "b"})


async def test_changes_are_seen_without_listing_again() -> None:
    cluster = SmallCluster("one", "two")
    watches = Watches(cluster)  # type: ignore[arg-type]
    assert set(await look(watches)) == {"one", "two"}
    for change in (("ADDED", a_job("three")), ("MODIFIED", a_job("one", terminalState="Completed")), ("DELETED", a_job("two"))):
        cluster.changes.put_nowait(change)
    seen = await look(watches)
    assert set(seen) == {"one", "three"}
    assert seen["one"]["status"] == {"terminalState": "Completed"}
    assert cluster.lists == 1
    await watches.close()


async def test_what_nobody_asks_for_is_not_kept() -> None:
    watches = Watches(SmallCluster("one"))  # type: ignore[arg-type]
    one = (await look(watches))["one"]
    assert one["spec"] == {"suspend": True}
    assert "managedFields" not in one["metadata"]
    await watches.close()


async def test_a_watch_that_ends_goes_on_and_one_that_breaks_lists_again() -> None:
    cluster = SmallCluster("one")
    watches = Watches(cluster)  # type: ignore[arg-type]
    await look(watches)
    cluster.changes.put_nowait(None)
    await look(watches)
    assert cluster.lists == 1
    cluster.broken = True
    cluster.changes.put_nowait(None)
    assert set(await look(watches)) == {"one"}  # as it was seen last
    del cluster.there["one"]
    cluster.broken = False
    assert set(await look(watches)) == set()
    await watches.close()


async def test_a_cluster_that_never_answered_is_said() -> None:
    cluster = SmallCluster()
    cluster.broken = True
    watches = Watches(cluster)  # type: ignore[arg-type]
    with pytest.raises(TryLater, match="pods there are in n"):
        await watches.objects(POD, "n", {})
    await watches.close()


async def test_what_nobody_looks_at_any_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = SmallCluster()
    watches = Watches(cluster)  # type: ignore[arg-type]
    await look(watches)
    monkeypatch.setattr(watch, "IDLE_SECONDS", -1.0)
    await look(watches)
    assert cluster.lists == 2
    await watches.close()


async def test_what_was_just_made_is_known_before_the_watch_tells() -> None:
    watches = Watches(SmallCluster("one"))  # type: ignore[arg-type]
    await look(watches)
    made = a_job("two", version=3)
    watches.note(JOBSET, made)
    seen = await look(watches)
    assert set(seen) == {"one", "two"}
    # slim there, whole where it was made
    assert seen["two"]["spec"] == {"suspend": True}
    assert made["spec"]["replicatedJobs"] == ["large"]
    await watches.close()


async def test_a_list_that_was_on_its_way_does_not_take_away_what_was_made_meanwhile() -> None:
    cluster = SmallCluster("one", "gone")
    watches = Watches(cluster)  # type: ignore[arg-type]
    await look(watches)
    watches.note(JOBSET, a_job("two", version=3))
    del cluster.there["gone"]
    cluster.broken = True
    cluster.changes.put_nowait(None)
    await look(watches)
    cluster.broken = False
    await asyncio.sleep(0.05)
    assert set(await look(watches)) == {"one", "two"}
    await watches.close()


async def test_what_the_watch_has_seen_the_end_of_does_not_come_back() -> None:
    cluster = SmallCluster("one")
    watches = Watches(cluster)  # type: ignore[arg-type]
    await look(watches)
    made = a_job("two")
    for change in ("ADDED", "DELETED"):
        cluster.changes.put_nowait((change, a_job("two")))
    await look(watches)
    watches.note(JOBSET, made)
    assert set(await look(watches)) == {"one"}
    await watches.close()
