"""Who talks to the fork server: its socket, a client's header as it comes in, and whether the client may ask at all."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

from ltai_hub.backends.local.request import LENGTH, LONGEST, Answer, pack

BACKLOG = 256


def listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


@dataclass
class Connection:
    """A client and what has come of its header so far. Never a byte more is read: the body belongs to the child."""

    sock: socket.socket
    received: bytearray = field(default_factory=bytearray)

    def missing(self) -> int:
        if len(self.received) < LENGTH.size:
            return LENGTH.size - len(self.received)
        (length,) = LENGTH.unpack(self.received[: LENGTH.size])
        return LENGTH.size + min(int(length), LONGEST) - len(self.received)

    def answer(self, answer: Answer) -> None:
        with contextlib.suppress(OSError):  # the client may be gone: the run folder tells the rest
            self.sock.sendall(pack(answer))
        self.sock.close()


def is_trusted(sock: socket.socket, workloads: set[int]) -> bool:
    """Same account, and not a workload itself: Landlock does not stop connect() to a unix socket.

    Confined processes cannot clear no_new_privs; where we run under it ourselves, ancestry decides.
    """
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (os.geteuid(), 0):
        return False
    if has_no_new_privs(pid) and not has_no_new_privs(os.getpid()):
        return False
    while pid > 1:
        if pid in workloads:
            return False
        pid = parent_of(pid)
    return True


def has_no_new_privs(pid: int) -> bool:
    try:
        return "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
