"""Logs of jobs, kept after their pods are gone, and of endpoints while their pods are there.

FOLDER/NAME/REPLICA/BEGAN-UID.part   while the pod's log is followed, .mark beside it says how far; .log once it is whole
One file a pod, so that what a gang wrote before it began again stays in front of what came after.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import aiohttp

from ltai_hub.backends.kubernetes.api import POD, Cluster, Object
from ltai_hub.backends.kubernetes.loglines import LogLines, NotTheProgram
from ltai_hub.backends.kubernetes.names import WORKLOAD
from ltai_hub.backends.kubernetes.observe import ended_at, started_at
from ltai_hub.backends.kubernetes.pods import MAIN
from ltai_hub.errors import Problem, TryLater

log = logging.getLogger("ltai.kubernetes")

INDEX = "batch.kubernetes.io/job-completion-index"
CHUNK = 1 << 16
# a stream that ended too early, or a node that does not answer
AGAIN_SECONDS, LONGEST_SECONDS = 0.5, 30.0
# a follower that has just begun is given so long to catch up before somebody reads
CATCH_UP_SECONDS = 1.0
SETTLE_SECONDS = 10.0
LOOKS, LOOK_SECONDS = 10, 0.3
# of a pod that was seen and is not there any more
GONE: Object = {}


@dataclass(frozen=True)
class Mark:
    """So much is kept, and the newest line of it is from then."""

    size: int = 0
    last: str = ""


@dataclass
class Silence:
    """Of a node: asked again at ``until`` (monotonic), and then after ``pause`` seconds."""

    until: float
    pause: float


class SilentNodes:
    """A node that does not tell one log does not tell the others either: one of its pods asks again, the others wait for what it hears."""

    def __init__(self) -> None:
        self._silences: dict[tuple[Cluster, str], Silence] = {}

    async def turn(self, node: tuple[Cluster, str]) -> None:
        """Until it may be asked."""
        while (silence := self._silences.get(node)) and (left := silence.until - time.monotonic()) > 0:
            await asyncio.sleep(left)
        if silence:
            silence.until = time.monotonic() + silence.pause

    def failed(self, node: tuple[Cluster, str]) -> None:
        known = self._silences.get(node)
        pause = min(2 * known.pause, LONGEST_SECONDS) if known else AGAIN_SECONDS
        self._silences[node] = Silence(time.monotonic() + pause, pause)

    def answered(self, node: tuple[Cluster, str]) -> None:
        self._silences.pop(node, None)


class LogKeeper:
    """Follows pods in the process it lives in; another process that reads the same folder sees the same."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        # of each workload, by the uid of its pod
        self._tasks: dict[str, dict[str, asyncio.Task[None]]] = {}
        self._silent = SilentNodes()
        # uid → pod, as it was seen last
        self._pods: dict[str, Object] = {}

    def follow(self, name: str, pods: Sequence[Object], cluster: Cluster | None = None) -> None:
        """See that every pod that has begun is followed; what is kept whole already is left alone. ``cluster``: another one they are in."""
        seen = {pod["metadata"]["uid"]: pod for pod in pods}
        tasks = self._tasks.get(name, {})
        for uid in tasks:
            self._pods[uid] = seen.get(uid, GONE)
        for uid, pod in seen.items():
            if uid not in tasks and started_at(pod) and not self._path(name, pod, "log").exists():
                self._pods[uid] = pod
                task = asyncio.get_running_loop().create_task(
                    self._follow(name, pod, cluster or self._cluster), name=f"log of {pod['metadata']['name']}"
                )
                self._tasks.setdefault(name, {})[uid] = task
                task.add_done_callback(partial(self._on_done, name, uid))

    def has_all(self, name: str, pods: Sequence[Object]) -> bool:
        """Whether everything is here that these pods have written; those that never began have written nothing."""
        return all(not started_at(pod) or self._path(name, pod, "log").exists() for pod in pods)

    async def settle(self, name: str, ended: bool) -> None:
        """Wait until what its pods have written is here, as far as it comes in time."""
        if tasks := self._tasks.get(name):
            await asyncio.wait(tasks.values(), timeout=SETTLE_SECONDS if ended else CATCH_UP_SECONDS)

    def read(self, name: str, replica: int, offset: int) -> Iterator[bytes]:
        """From byte ``offset`` of everything the replica wrote."""
        folder = self._folder / name / str(replica)
        for path in sorted((*folder.glob("*.log"), *folder.glob("*.part")), key=lambda path: path.stem):
            size = path.stat().st_size
            if offset >= size:
                offset -= size
                continue
            with path.open("rb") as file:
                file.seek(offset)
                offset = 0
                while chunk := file.read(CHUNK):
                    yield chunk

    def forget(self, name: str) -> None:
        shutil.rmtree(self._folder / name, ignore_errors=True)

    async def close(self) -> None:
        for task in (tasks := [task for each in self._tasks.values() for task in each.values()]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_done(self, name: str, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks[name].pop(uid)
        if not self._tasks[name]:
            del self._tasks[name]
        self._pods.pop(uid, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("a log is no longer followed", exc_info=error)

    async def _follow(self, name: str, pod: Object, cluster: Cluster) -> None:
        """Until the container has ended and all of its log is here; a broken stream goes on where it broke off."""
        part, mark = self._path(name, pod, "part"), self._path(name, pod, "mark")
        part.parent.mkdir(parents=True, exist_ok=True)
        pause = AGAIN_SECONDS
        with part.open("ab", buffering=0) as file:
            if not is_ours(file):  # another process follows it
                await asyncio.sleep(AGAIN_SECONDS)
                return
            while True:
                await self._silent.turn((cluster, node_of(pod)))
                before = read_mark(mark)
                file.truncate(before.size)
                if await self._append(file, mark, pod, cluster):
                    break
                pause = AGAIN_SECONDS if read_mark(mark).size > before.size else min(2 * pause, LONGEST_SECONDS)
                await asyncio.sleep(pause)
            part.rename(self._path(name, pod, "log"))
            mark.unlink(missing_ok=True)

    async def _append(self, file: BinaryIO, mark: Path, pod: Object, cluster: Cluster) -> bool:
        """Whether all is here that will ever come."""
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        had_ended = is_over(self._pods[uid])
        size, lines = read_mark(mark).size, LogLines(read_mark(mark).last)
        try:
            async for fresh in read_lines(cluster, pod, lines, follow=True):
                self._silent.answered((cluster, node_of(pod)))
                size += file.write(fresh) or 0
                mark.write_text(json.dumps(asdict(Mark(size, lines.last))))
        except (Problem, aiohttp.ClientError, OSError) as problem:
            log.warning("the log of %s is read again: %s", name, problem)
            self._silent.failed((cluster, node_of(pod)))
            return had_ended and self._pods[uid] is GONE
        self._silent.answered((cluster, node_of(pod)))
        return had_ended or await self._ends(uid) or await is_gone(cluster, pod)

    async def _ends(self, uid: str) -> bool:
        """A log ends a moment before it is seen that its container has."""
        for _ in range(LOOKS):
            if is_over(self._pods[uid]):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    def _path(self, name: str, pod: Object, suffix: str) -> Path:
        metadata = pod["metadata"]
        began = metadata["creationTimestamp"].replace("-", "").replace(":", "")
        return self._folder / name / replica_of(pod) / f"{began}-{metadata['uid'][:8]}.{suffix}"


async def live_log(cluster: Cluster, namespace: str, owner: str, replica: int, follow: bool, offset: int) -> AsyncIterator[bytes]:
    """Of an endpoint's replica as long as its pod is there, from byte ``offset``."""
    pods = await cluster.list(POD, namespace, {WORKLOAD: owner}, cached=False)
    pods.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    for pod in pods[replica : replica + 1]:
        async for chunk in unbroken(cluster, pod, follow):
            if fresh := chunk[offset:]:
                yield fresh
            offset = max(offset - len(chunk), 0)


async def unbroken(cluster: Cluster, pod: Object, follow: bool) -> AsyncIterator[bytes]:
    """A stream that breaks off goes on where it was."""
    last = ""
    while True:
        lines = LogLines(last)
        try:
            async for chunk in read_lines(cluster, pod, lines, follow):
                yield chunk
            return
        except TryLater:
            if not follow:
                return
        last = lines.last
        await asyncio.sleep(AGAIN_SECONDS)


async def read_lines(cluster: Cluster, pod: Object, lines: LogLines, follow: bool) -> AsyncIterator[bytes]:
    """What the program wrote after ``lines.last``. Raises TryLater when it breaks off."""
    metadata = pod["metadata"]
    async for chunk in cluster.log(metadata["namespace"], metadata["name"], MAIN, follow=follow, since=lines.last):
        try:
            fresh = lines.feed(chunk)
        except NotTheProgram as said:
            if said.args[0]:
                yield said.args[0]
            raise node_says(metadata["name"], said) from said
        if fresh:
            yield fresh
    try:
        rest = lines.finish()
    except NotTheProgram as said:
        raise node_says(metadata["name"], said) from said
    if rest:
        yield rest


def node_says(pod: str, said: NotTheProgram) -> TryLater:
    return TryLater(f"the node of {pod} says: {said.args[1]}")


def read_mark(path: Path) -> Mark:
    """What cannot be read was cut off as it was written: from the beginning, then."""
    try:
        return Mark(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Mark()


async def is_gone(cluster: Cluster, pod: Object) -> bool:
    """Nobody looks at the pods of a job that waits again."""
    try:
        found = await cluster.find(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])
    except Problem:
        return False
    return found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]


def is_over(pod: Object) -> bool:
    return pod is GONE or ended_at(pod) is not None


def is_ours(file: BinaryIO) -> bool:
    """Several processes look at the same jobs; the first one follows, until it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName", ""))


def replica_of(pod: Object) -> str:
    return str(pod["metadata"].get("annotations", {}).get(INDEX, "0"))
