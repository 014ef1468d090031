"""The wire between clients and the fork server: a header both sides read, then a body only the forked child reads.

So no token of one person is left in the memory that the next person's notebook server inherits.
A frame is four bytes of length (big endian) and JSON.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

from ltai_hub.backends.local.plan import Grant

LENGTH = struct.Struct(">I")
LONGEST = 4 << 20


@dataclass(frozen=True)
class Header:
    """What the fork server itself must know. ``op`` is "start" or "status"; amounts in cores and bytes."""

    op: str = "start"
    name: str = ""
    kind: str = "job"
    user: str = ""
    image: str = ""
    main: str = "command"
    """"command": exec the argv; "notebook": run the preloaded single-user server."""
    home: str = ""
    cpu: float = 0.0
    memory: int = 0
    accelerator: str = ""
    accelerator_count: int = 0
    port: bool = False
    port_number: int = 0
    port_group: str = ""
    grace_seconds: float = 10.0
    replace_ended: bool = False


@dataclass(frozen=True)
class Body:
    """What only the child may know."""

    argv: tuple[str, ...]
    env: dict[str, str]
    prefix: str
    """Environment folder whose bin comes first on PATH."""
    cwd: str = ""
    mounts: tuple[Grant, ...] = ()
    forward: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """``error`` is empty, or the code of an error class in ltai_hub.errors and ``message`` its sentence."""

    name: str = ""
    port: int = 0
    error: str = ""
    message: str = ""
    after: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


def pack(value: Header | Body | Answer) -> bytes:
    text = json.dumps(asdict(value)).encode()
    return LENGTH.pack(len(text)) + text


def unpack_header(text: bytes) -> Header:
    return Header(**json.loads(text))


def unpack_body(text: bytes) -> Body:
    raw = json.loads(text)
    mounts = tuple(Grant(**mount) for mount in raw.pop("mounts"))
    return Body(**{**raw, "argv": tuple(raw["argv"]), "forward": tuple(raw["forward"])}, mounts=mounts)


def unpack_answer(text: bytes) -> Answer:
    return Answer(**json.loads(text))


def receive_frame(connection: socket.socket) -> bytes:
    """Blocking, within the socket's timeout. Raises EOFError when the other side goes away."""
    (length,) = LENGTH.unpack(_receive(connection, LENGTH.size))
    if length > LONGEST:
        raise ValueError(f"a frame of {length} bytes; at most {LONGEST} are allowed")
    return _receive(connection, length)


def _receive(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        chunk = connection.recv(count - len(parts))
        if not chunk:
            raise EOFError("the client went away")
        parts += chunk
    return bytes(parts)
