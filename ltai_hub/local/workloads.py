"""Ending what still runs when the platform is stopped: jobs, endpoints, environments the hub could not end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

from ltai_hub.backends.local.records import Record, all_records, write_order
from ltai_hub.paths import DataFolder

GRACE_SECONDS = 5.0
REASON = "the platform was stopped"


async def stop_workloads(folder: DataFolder) -> None:
    """Ask all to end, kill what has not after the grace; returns when nothing runs any more."""
    for record in running(folder):
        with suppress(OSError):
            write_order(record.folder, GRACE_SECONDS, REASON)
            signal_first(record, signal.SIGTERM)
    until = time.monotonic() + GRACE_SECONDS + 2
    while running(folder):
        if time.monotonic() > until:
            kill_workloads(folder)
        await asyncio.sleep(0.05)


def kill_workloads(folder: DataFolder) -> None:
    """SIGKILL to the first process of each; everything inside ends with it."""
    for record in running(folder):
        signal_first(record, signal.SIGKILL)


def signal_first(record: Record, number: int) -> None:
    if record.process is not None:
        with suppress(ProcessLookupError):
            os.kill(record.process.pid, number)


def running(folder: DataFolder) -> list[Record]:
    return [record for record in all_records(folder.workloads) if record.is_running]
