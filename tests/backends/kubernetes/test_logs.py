"""Logs of jobs are kept whole, once, and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ltai_hub.backends.kubernetes import logs
from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.logs import LogKeeper
from ltai_hub.errors import TryLater
from tests.backends.kubernetes.arrange import a_pod, ended, running

FIRST, SECOND, THIRD = (b"2026-01-01T00:00:0%d.000000000Z " % second for second in (1, 2, 3))
INDEX = "batch.kubernetes.io/job-completion-index"


class SmallCluster:
    """Each request for a log hands out the next of ``answers``: chunks, perhaps with a break at their end."""

    def __init__(self, *answers: list[bytes | Exception]) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.since: list[str] = []

    async def log(self, namespace: str, pod: str, container: str, follow: bool, since: str) -> AsyncIterator[bytes]:
        self.asked += 1
        self.since.append(since)
        if not self.answers:
            await asyncio.sleep(60)
        for chunk in self.answers.pop(0):
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(logs, "SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(logs, "CATCH_UP_SECONDS", 0.2)


def a_replica(name: str, over: bool, index: int = 0, created: str = "2026-01-01T00:00:00Z") -> Object:
    pod = a_pod(name, state=ended(0) if over else running())
    pod["metadata"] |= {"annotations": {INDEX: str(index)}, "creationTimestamp": created}
    return pod


def read(keeper: LogKeeper, replica: int = 0, offset: int = 0) -> bytes:
    return b"".join(keeper.read("job-7", replica, offset))


async def test_a_broken_stream_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    broken: list[bytes | Exception] = [FIRST + b"one\n" + SECOND + b"tw", TryLater("broke off")]
    cluster = SmallCluster(broken, [FIRST + b"one\n", SECOND + b"two\n" + THIRD + b"three\n"])
    keeper = LogKeeper(cluster, tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=True)])
    await keeper.settle("job-7", ended=True)
    assert read(keeper) == b"one\ntwo\nthree\n"
    keeper.follow("job-7", [a_replica("a", over=True)])
    await asyncio.sleep(0.05)
    assert cluster.since == ["", FIRST.decode().strip()]


async def test_a_log_that_ends_before_its_container_is_read_once(tmp_path: Path) -> None:
    cluster = SmallCluster([FIRST + b"all\n"])
    keeper = LogKeeper(cluster, tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=False)])
    await asyncio.sleep(0.02)
    keeper.follow("job-7", [a_replica("a", over=True)])
    await keeper.settle("job-7", ended=True)
    assert (read(keeper), cluster.asked) == (b"all\n", 1)


async def test_a_pod_that_vanished_is_not_asked_for_ever(tmp_path: Path) -> None:
    cluster = SmallCluster([FIRST + b"begun\n", TryLater("broke off")], [TryLater("no such pod")])
    keeper = LogKeeper(cluster, tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=False)])
    await asyncio.sleep(0)
    keeper.follow("job-7", [])
    await keeper.settle("job-7", ended=True)
    assert read(keeper) == b"begun\n"
    assert not list(tmp_path.rglob("*.part"))


async def test_what_a_gang_wrote_before_it_began_again_stays_in_front(tmp_path: Path) -> None:
    cluster = SmallCluster([FIRST + b"first\n"], [SECOND + b"second\n"])
    keeper = LogKeeper(cluster, tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=True)])
    await keeper.settle("job-7", ended=True)
    keeper.follow("job-7", [a_replica("b", over=True, created="2026-01-01T00:05:00Z")])
    await keeper.settle("job-7", ended=True)
    assert read(keeper) == b"first\nsecond\n"
    assert read(keeper, offset=8) == b"cond\n"
    assert read(keeper, replica=1) == b""


async def test_two_processes_keep_one_log(tmp_path: Path) -> None:
    first, second = SmallCluster([FIRST + b"line\n", TryLater("later")]), SmallCluster([FIRST + b"line\n"])
    keepers = [LogKeeper(cluster, tmp_path) for cluster in (first, second)]  # type: ignore[arg-type]
    for keeper in keepers:
        keeper.follow("job-7", [a_replica("a", over=False)])
        await asyncio.sleep(0.02)
    assert second.asked == 0
    assert [read(keeper) for keeper in keepers] == [b"line\n"] * 2
    await keepers[0].close()
    await asyncio.sleep(0.02)
    keepers[1].follow("job-7", [a_replica("a", over=True)])
    await keepers[1].settle("job-7", ended=True)
    assert read(keepers[1]) == b"line\n"


async def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    keeper = LogKeeper(SmallCluster([FIRST + b"line\n"]), tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=True)])
    await keeper.settle("job-7", ended=True)
    keeper.forget("job-7")
    assert read(keeper) == b""
    keeper.forget("job-7")


async def test_what_the_node_says_itself_is_no_part_of_the_log(tmp_path: Path) -> None:
    cluster = SmallCluster([FIRST + b"one\nfailed to create fsnotify watcher: too many open files"], [FIRST + b"one\n" + SECOND + b"two\n"])
    keeper = LogKeeper(cluster, tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=False)])
    await asyncio.sleep(0.02)
    keeper.follow("job-7", [a_replica("a", over=True)])
    await keeper.settle("job-7", ended=True)
    assert read(keeper) == b"one\ntwo\n"


async def test_what_was_written_but_not_noted_before_a_crash_is_written_once(tmp_path: Path) -> None:
    keeper = LogKeeper(SmallCluster([FIRST + b"one\n"]), tmp_path)  # type: ignore[arg-type]
    keeper.follow("job-7", [a_replica("a", over=False)])
    await asyncio.sleep(0.02)
    await keeper.close()
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(part.read_bytes() + b"two\n")
    again = LogKeeper(SmallCluster([FIRST + b"one\n" + SECOND + b"two\n"]), tmp_path)  # type: ignore[arg-type]
    again.follow("job-7", [a_replica("a", over=True)])
    await again.settle("job-7", ended=True)
    assert read(again) == b"one\ntwo\n"
    assert not list(tmp_path.rglob("*.mark"))


class SilentCluster:
    """Its one node tells nothing until ``tells`` is set."""

    def __init__(self) -> None:
        self.tells = False
        self.asked = 0

    async def log(self, namespace: str, pod: str, container: str, follow: bool, since: str) -> AsyncIterator[bytes]:
        self.asked += 1
        if not self.tells:
            raise TryLater("its node does not tell its log (502)")
        yield FIRST + pod.encode() + b"\n"


async def test_a_node_that_tells_nothing_is_asked_for_one_of_its_logs_and_later_for_all(tmp_path: Path) -> None:
    cluster = SilentCluster()
    keeper = LogKeeper(cluster, tmp_path)  # type: ignore[arg-type]
    pods = [a_replica(f"pod-{index}", over=True, index=index) for index in range(20)]
    keeper.follow("job-7", pods)
    await asyncio.sleep(0.3)
    # one of them now, then after 0.01, 0.02, 0.04, 0.08 and 0.16 s
    assert 2 <= cluster.asked <= 6
    cluster.tells = True
    await keeper.settle("job-7", ended=True)
    await keeper.settle("job-7", ended=True)
    assert [read(keeper, index) for index in range(20)] == [f"pod-{index}\n".encode() for index in range(20)]
