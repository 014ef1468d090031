"""The few ways out of a private net namespace: chosen ports of the machine's loopback, such as the hub's API.

pid 1 makes the listening sockets inside and sends them out over ``link``; this process, outside, accepts on them and
connects on. It is a fork of the fork server and ends with pid 1, when the other end of ``link`` closes.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
from collections.abc import Sequence

from ltai_hub.backends.local.syscalls import PR_SET_PDEATHSIG, prctl

CHUNK = 1 << 17
MOST_CONNECTIONS = 512
PASTA_OPTIONS = ("--config-net", "--foreground", "--quiet", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw")


def make_link() -> tuple[socket.socket, socket.socket]:
    """(end for inside, end for the relay)."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def offer_ports(link: socket.socket, ports: Sequence[int]) -> None:
    """Inside, before any of the user's code: listen on the ports and hand the sockets, and our namespaces, to the relay."""
    listening = [socket.create_server(("127.0.0.1", port)) for port in ports]
    namespaces = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net")]
    packed = b"".join(struct.pack("H", port) for port in ports)
    socket.send_fds(link, [b"ports " + packed], [*namespaces, *(one.fileno() for one in listening)])
    for fd in namespaces:
        os.close(fd)
    for one in listening:
        one.close()


def run_relay(link: socket.socket, pasta: str, uid: int | None) -> None:
    """Serve until ``link`` closes."""
    message, fds, _, _ = socket.recv_fds(link, 256, 64)
    if not fds:
        return
    if pasta:
        start_pasta(pasta, fds[0], fds[1], uid)
    for fd in fds[:2]:
        os.close(fd)
    ports = [port for (port,) in struct.iter_unpack("H", message[len(b"ports ") :])]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    Relay(link, {socket.socket(fileno=fd): port for fd, port in zip(fds[2:], ports, strict=True)}).run()


def start_pasta(pasta: str, user_namespace: int, net_namespace: int, uid: int | None) -> None:
    """Internet for a net namespace; without the machine's loopback in either direction.

    By descriptors: pid 1 is not dumpable, so nobody may open its /proc/PID/ns.
    """
    if os.fork():
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # pasta refuses to start when it is ignored, as Python has it
    os.set_inheritable(net_namespace, True)
    where = ["--netns", f"/proc/self/fd/{net_namespace}"]
    if uid is None:
        os.set_inheritable(user_namespace, True)
        where += ["--userns", f"/proc/self/fd/{user_namespace}"]
    else:
        where += ["--netns-only", "--runas", "0"]
    os.execv(pasta, [pasta, *PASTA_OPTIONS, *where])


class Half:
    """One end of a relayed connection and what waits to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pending = bytearray()
        self.ended = False
        self.other: Half = self

    def wanted_events(self) -> int:
        reads = selectors.EVENT_READ if not self.ended and len(self.other.pending) < CHUNK else 0
        return reads | (selectors.EVENT_WRITE if self.pending else 0)


class Relay:
    def __init__(self, link: socket.socket, ports: dict[socket.socket, int]) -> None:
        self.link = link
        self.ports = ports
        self.connections = 0
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        for sock in (self.link, *self.ports):
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ)
        while True:
            for key, events in self.selector.select():
                if key.fileobj is self.link:
                    return
                if isinstance(key.data, Half):
                    self.move(key.data, events)
                elif isinstance(key.fileobj, socket.socket):
                    self.connect(key.fileobj)

    def connect(self, listening: socket.socket) -> None:
        try:
            inner, _ = listening.accept()
        except OSError:
            return
        if self.connections >= MOST_CONNECTIONS:
            inner.close()
            return
        outer = socket.socket()
        a, b = Half(inner), Half(outer)
        a.other, b.other = b, a
        for half in (a, b):
            half.sock.setblocking(False)
            half.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        outer.connect_ex(("127.0.0.1", self.ports[listening]))
        self.connections += 1
        for half in (a, b):
            self.watch(half)

    def move(self, half: Half, events: int) -> None:
        if half.sock.fileno() < 0:  # closed by an earlier event of the same round
            return
        try:
            if events & selectors.EVENT_READ:
                self.read(half)
            if half.pending and events & selectors.EVENT_WRITE:
                del half.pending[: half.sock.send(half.pending)]
        except BlockingIOError:
            pass
        except OSError:
            return self.close(half)
        for one in (half, half.other):
            if one.other.ended and not one.pending:
                with contextlib.suppress(OSError):
                    one.sock.shutdown(socket.SHUT_WR)
        if half.ended and half.other.ended and not half.pending and not half.other.pending:
            return self.close(half)
        for one in (half, half.other):
            self.watch(one)

    def read(self, half: Half) -> None:
        chunk = half.sock.recv(CHUNK)
        half.ended = not chunk
        half.other.pending += chunk
        if chunk and len(half.other.pending) == len(chunk):
            with contextlib.suppress(BlockingIOError):
                del half.other.pending[: half.other.sock.send(half.other.pending)]

    def watch(self, half: Half) -> None:
        events = half.wanted_events()
        known = half.sock in self.selector.get_map()
        if events and known:
            self.selector.modify(half.sock, events, half)
        elif events:
            self.selector.register(half.sock, events, half)
        elif known:
            self.selector.unregister(half.sock)

    def close(self, half: Half) -> None:
        self.connections -= 1
        for one in (half, half.other):
            with contextlib.suppress(KeyError):
                self.selector.unregister(one.sock)
            one.sock.close()
