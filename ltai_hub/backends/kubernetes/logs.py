"""Logs of jobs, kept after their pods are gone.

FOLDER/NAME/REPLICA/BEGAN-UID.part   while the pod's log is followed, .mark beside it says how far; .log once it is whole
One file a pod, so that what a gang wrote before it began again stays in front of what came after.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import aiohttp

from ltai_hub.backends.kubernetes.api import Cluster, Object
from ltai_hub.backends.kubernetes.loglines import LogLines, NotTheProgram
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


class LogKeeper:
    """Follows pods in the process it lives in; another process that reads the same folder sees the same."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        # uid → pod, as it was seen last
        self._pods: dict[str, Object] = {}

    def follow(self, name: str, pods: Sequence[Object]) -> None:
        """See that every pod that has begun is followed; what is kept whole already is left alone."""
        seen = {pod["metadata"]["uid"]: pod for pod in pods}
        for owner, uid in self._tasks:
            if owner == name:
                self._pods[uid] = seen.get(uid, GONE)
        for uid, pod in seen.items():
            if (name, uid) not in self._tasks and started_at(pod) and not self._path(name, pod, "log").exists():
                self._pods[uid] = pod
                task = asyncio.get_running_loop().create_task(self._follow(name, pod), name=f"log of {pod['metadata']['name']}")
                self._tasks[name, uid] = task
                task.add_done_callback(partial(self._on_done, (name, uid)))

    async def settle(self, name: str, ended: bool) -> None:
        """Wait until what its pods have written is here, as far as it comes in time."""
        tasks = [task for (owner, _), task in self._tasks.items() if owner == name]
        if tasks:
            await asyncio.wait(tasks, timeout=SETTLE_SECONDS if ended else CATCH_UP_SECONDS)

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
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_done(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        self._pods.pop(key[1], None)
        if not task.cancelled() and (error := task.exception()):
            log.error("a log is no longer followed", exc_info=error)

    async def _follow(self, name: str, pod: Object) -> None:
        """Until the container has ended and all of its log is here; a broken stream goes on where it broke off."""
        part, mark = self._path(name, pod, "part"), self._path(name, pod, "mark")
        part.parent.mkdir(parents=True, exist_ok=True)
        pause = AGAIN_SECONDS
        with part.open("ab", buffering=0) as file:
            if not is_ours(file):  # another process follows it
                await asyncio.sleep(AGAIN_SECONDS)
                return
            while True:
                before = read_mark(mark)
                file.truncate(before.size)
                if await self._append(file, mark, pod):
                    break
                pause = AGAIN_SECONDS if read_mark(mark).size > before.size else min(2 * pause, LONGEST_SECONDS)
                await asyncio.sleep(pause)
            part.rename(self._path(name, pod, "log"))
            mark.unlink(missing_ok=True)

    async def _append(self, file: BinaryIO, mark: Path, pod: Object) -> bool:
        """Whether all is here that will ever come."""
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        had_ended = is_over(self._pods[uid])
        size, lines = read_mark(mark).size, LogLines(read_mark(mark).last)
        try:
            async for fresh in read_lines(self._cluster, pod, lines, follow=True):
                size += file.write(fresh) or 0
                mark.write_text(json.dumps(asdict(Mark(size, lines.last))))
        except (Problem, aiohttp.ClientError, OSError) as problem:
            log.warning("the log of %s is read again: %s", name, problem)
            return had_ended and self._pods[uid] is GONE
        return had_ended or await self._ends(uid)

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


def is_over(pod: Object) -> bool:
    return pod is GONE or ended_at(pod) is not None


def is_ours(file: BinaryIO) -> bool:
    """Several processes look at the same jobs; the first one follows, until it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replica_of(pod: Object) -> str:
    return str(pod["metadata"].get("annotations", {}).get(INDEX, "0"))
