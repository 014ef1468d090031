"""uvicorn with an end that callers do not notice.

uvicorn closes idle connections at once when it is told to stop; a proxy that keeps connections open may just be sending a
request on one. Here an instance first stops listening (its sisters on the port go on), asks every caller to close, and leaves then.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from types import FrameType

import uvicorn

from ltai_lab.serving.app import KEEP_ALIVE_SECONDS, Application

DRAIN_SECONDS = 1.5


class DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: Application) -> None:
        super().__init__(config)
        self._app = app
        self._running: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._running = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends at once."""
        if self._app.draining or self._running is None:
            super().handle_exit(sig, frame)
            return
        self._app.draining = True
        self._running.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        for server in self.servers:
            server.close()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._leave)

    def _leave(self) -> None:
        self.should_exit = True


def run(app: Application, listener: socket.socket) -> None:
    """Blocks until a signal."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        date_header=False,
        server_header=False,
        # nothing here asks who the client is
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=8,
        backlog=1024,
    )
    # uvicorn raises a captured signal once more when it has ended; a stop that was asked for is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    DrainingServer(config, app).run(sockets=[listener])
