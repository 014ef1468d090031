"""A way to the API server that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Way:
    kubeconfig: Path
    host: str
    port: int
    # where it listens: this machine alone, or an address of its that the cluster's pods reach
    address: str = "127.0.0.1"
    own_port: int = 0
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._relay, self.address, self.own_port)
        self.own_port = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """As a machine that is gone: connections break, new ones are refused."""
        assert self.server
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        self.writers |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.close()


def read_config(kubeconfig: str = "") -> dict[str, Any]:
    env = {**os.environ, **({"KUBECONFIG": kubeconfig} if kubeconfig else {})}
    seen = subprocess.run(["kubectl", "config", "view", "--raw", "--minify", "-o", "json"], capture_output=True, check=True, env=env)
    config: dict[str, Any] = json.loads(seen.stdout)
    return config


def address_towards_the_cluster() -> str:
    """Of this machine, as its nodes and so their pods reach it."""
    target = urlsplit(read_config()["clusters"][0]["cluster"]["server"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target.hostname, target.port or 443))
        return str(probe.getsockname()[0])


@asynccontextmanager
async def a_way_to_the_api_server(folder: Path, kubeconfig: str = "", address: str = "127.0.0.1") -> AsyncIterator[Way]:
    """Its ``kubeconfig`` leads through here to where the other one does ($KUBECONFIG unless told)."""
    config = read_config(kubeconfig)
    cluster = config["clusters"][0]["cluster"]
    target = urlsplit(cluster["server"])
    way = Way(folder / "kubeconfig.json", target.hostname or "", target.port or 443, address)
    await way.open()
    cluster |= {"server": f"https://{address}:{way.own_port}", "tls-server-name": way.host}
    way.kubeconfig.write_text(json.dumps(config))
    try:
        yield way
    finally:
        await way.close()
