"""Whether a server answers yet: one small HTTP request by hand, so that nothing adds a back-off to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

PAUSE_SECONDS = 0.02


async def wait_until_it_answers(host: str, port: int, path: str) -> None:
    """Returns at the first HTTP answer, whatever its status. The caller limits the time."""
    while not await answers(host, port, path):
        await asyncio.sleep(PAUSE_SECONDS)


async def answers(host: str, port: int, path: str) -> bool:
    return await status(host, port, path) > 0


async def status(host: str, port: int, path: str, headers: str = "") -> int:
    """The HTTP status, 0 when there was no answer."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}Connection: close\r\n\r\n".encode())
        await writer.drain()
        line = await reader.readline()
    except OSError:
        return 0
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    parts = line.split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
