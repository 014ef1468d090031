"""Concurrent requests → few calls of the model. Rows are independent, so their order in a call changes no answer.

Requests that arrived in the same turn of the event loop go together; nobody waits for others who may come.
While a slow model computes in its thread, new requests gather and make up the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ltai_lab.serving.errors import Refused
from ltai_lab.serving.inputs import Data

Predict = Callable[[Data], Any]
# A call shorter than this runs on the loop itself: handing it to a thread would cost more than it does (measured: 60–100 µs).
INLINE_SECONDS = 0.004


@dataclass
class Counts:
    """For /metrics."""

    calls: int = 0
    requests: int = 0
    rows: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Waiting:
    data: Data
    rows: int
    future: asyncio.Future[Any]


class Batcher:
    """``row_wise`` false (a model whose answer depends on the other rows): every request is a call of its own."""

    def __init__(self, predict: Predict, row_wise: bool, most_rows: int) -> None:
        self._predict = predict
        self._row_wise = row_wise
        self._most_rows = most_rows
        self._queue: list[Waiting] = []
        self._scheduled = False
        self._busy = False
        self._seconds = 0.0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.counts = Counts()

    def submit(self, data: Data) -> asyncio.Future[Any]:
        """The model's answer for these rows, or the exception they cause."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._queue.append(Waiting(data, _row_count(data), future))
        if not self._scheduled and not self._busy:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    async def alone(self, call: Callable[[], Any]) -> Any:
        """Something else of the model (parameters, probabilities), never beside a call of it in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _guarded, call)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy or not self._queue:
            return
        batch, self._queue = _take(self._queue, self._most_rows)
        if self._seconds < INLINE_SECONDS:
            _deliver(batch, self._run(batch))
            self._again()
            return
        self._busy = True
        running = asyncio.get_running_loop().run_in_executor(self._pool, self._run, batch)
        running.add_done_callback(lambda done: self._on_done(batch, done))

    def _on_done(self, batch: list[Waiting], done: asyncio.Future[list[Any]]) -> None:
        self._busy = False
        _deliver(batch, done.result())
        self._again()

    def _again(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _run(self, batch: list[Waiting]) -> list[Any]:
        started = perf_counter()
        answers: list[Any] = []
        groups = _group(batch) if self._row_wise else [[at] for at in range(len(batch))]
        by_place: dict[int, Any] = {}
        for group in groups:
            by_place.update(zip(group, self._call([batch[at] for at in group]), strict=True))
        answers = [by_place[at] for at in range(len(batch))]
        took = perf_counter() - started
        self._seconds = took if not self.counts.calls else 0.8 * self._seconds + 0.2 * took
        self.counts.calls += len(groups)
        self.counts.requests += len(batch)
        self.counts.rows += sum(item.rows for item in batch)
        self.counts.seconds += took
        return answers

    def _call(self, group: list[Waiting]) -> list[Any]:
        """One answer (or exception) a request. A batch that fails is asked again one by one: the fault stays with its request."""
        if len(group) == 1:
            return [_attempt(self._predict, group[0].data)]
        result = _attempt(self._predict, _join([item.data for item in group]))
        if isinstance(result, Exception):
            return [_attempt(self._predict, item.data) for item in group]
        if not _has_rows(result, sum(item.rows for item in group)):
            self._row_wise = False
            return [_attempt(self._predict, item.data) for item in group]
        return _split(result, [item.rows for item in group])


def _guarded(call: Callable[[], Any]) -> Any:
    result = _attempt(lambda _: call(), None)
    if isinstance(result, Exception):
        raise result
    return result


def _attempt(predict: Predict, data: Data) -> Any:
    try:
        return predict(data)
    except Refused as refused:
        return refused
    except Exception as error:  # a model's code may raise anything; it belongs to this request
        return error


def _row_count(data: Data) -> int:
    if isinstance(data, dict):
        return len(next(iter(data.values())))
    return len(data)


def _take(queue: list[Waiting], most_rows: int) -> tuple[list[Waiting], list[Waiting]]:
    rows = 0
    for at, item in enumerate(queue):
        rows += item.rows
        if rows > most_rows and at:
            return queue[:at], queue[at:]
    return queue, []


def _group(batch: list[Waiting]) -> list[list[int]]:
    """Places of requests that can be joined: same kind, type, row shape, columns."""
    groups: dict[object, list[int]] = {}
    for at, item in enumerate(batch):
        groups.setdefault(_kind(item.data, at), []).append(at)
    return list(groups.values())


def _kind(data: Data, at: int) -> object:
    if isinstance(data, np.ndarray) and data.ndim:
        return (data.dtype, data.shape[1:])
    if hasattr(data, "columns"):
        return (tuple(data.columns), tuple(data.dtypes))
    return at


def _join(parts: list[Data]) -> Data:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


def _has_rows(result: Any, rows: int) -> bool:
    return (
        not isinstance(result, dict | str | bytes) and hasattr(result, "__len__") and hasattr(result, "__getitem__") and len(result) == rows
    )


def _split(result: Any, counts: list[int]) -> list[Any]:
    rows = result.iloc if hasattr(result, "iloc") else result
    ends = np.cumsum(counts).tolist()
    return [rows[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _deliver(batch: list[Waiting], answers: list[Any]) -> None:
    for item, answer in zip(batch, answers, strict=True):
        if item.future.done():  # the caller has gone
            continue
        if isinstance(answer, Exception):
            item.future.set_exception(answer)
        else:
            item.future.set_result(answer)
