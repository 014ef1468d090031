"""The console's pages alone; its calls go to the services through the proxy (``LTAI_INSIDE_URL``)."""

from __future__ import annotations

import asyncio
import signal
from importlib.metadata import entry_points

from ltai_hub.service import PAGES


async def serve() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    for point in entry_points(group=PAGES):
        point.load()()
    await ended.wait()


def main() -> None:
    asyncio.run(serve())
