"""Internal ports, the same at every start: environments that outlived the platform still call the hub where it was."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ltai_hub.errors import ConfigProblem
from ltai_hub.local.folder import write_private

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """``public`` is where people connect; all others listen on 127.0.0.1 only."""

    public: int
    hub: int
    proxy_api: int
    services: int
    console: int


def load_ports(root: Path, public: int) -> Ports:
    """The kept ones; a port that somebody else has taken meanwhile is replaced."""
    path = root / "ports.json"
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    chosen = {"public": public}
    for name in (f.name for f in fields(Ports) if f.name != "public"):
        port = int(kept.get(name, 0))
        usable = port and port not in chosen.values() and is_free(LOOPBACK, port)
        chosen[name] = port if usable else _new_port(set(chosen.values()))
    ports = Ports(**chosen)
    if asdict(ports) != kept:
        write_private(path, json.dumps(asdict(ports), indent=1) + "\n")
    return ports


def check_public_port(host: str, port: int) -> None:
    """Raises ConfigProblem when somebody listens there or it may not be used."""
    try:
        with closing(_bind(host, port)):
            return
    except PermissionError:
        raise ConfigProblem(f"this account may not use port {port}; choose one above 1023 with --port") from None
    except OSError as error:
        if isinstance(error, socket.gaierror) or "assign" in str(error):
            raise ConfigProblem(f"--host {host} is no address of this machine") from None
        raise ConfigProblem(f"port {port} is in use by another program; choose another with --port, or stop that program") from None


def is_free(host: str, port: int) -> bool:
    try:
        with closing(_bind(host, port)):
            return True
    except OSError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        # a listener with SO_REUSEADDR lets a second one bind but not listen
        sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock


def _new_port(taken: set[int]) -> int:
    while True:
        with closing(_bind(LOOPBACK, 0)) as sock:
            port: int = sock.getsockname()[1]
        if port not in taken:
            return port


def kept_ports(root: Path) -> Ports:
    """What ``load_ports`` chose, for the children."""
    return Ports(**json.loads((root / "ports.json").read_text("utf-8")))
