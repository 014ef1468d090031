"""Whether a server answers yet: one small HTTP request by hand, so that nothing adds a back-off to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

# between two looks at one server, and at any of those that start together: a whole class costs no more looks than five
PAUSE_SECONDS, PAUSE_OF_ALL_SECONDS = 0.005, 0.001


class FirstAnswers:
    """Waits for those of the servers that start."""

    def __init__(self) -> None:
        self._awaited = 0

    async def wait(self, host: str, port: int, path: str) -> None:
        """Returns at the first HTTP answer, whatever its status. The caller limits the time."""
        self._awaited += 1
        try:
            while not await answers(host, port, path):
                await asyncio.sleep(max(PAUSE_SECONDS, PAUSE_OF_ALL_SECONDS * self._awaited))
        finally:
            self._awaited -= 1


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
