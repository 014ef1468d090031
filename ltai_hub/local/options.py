"""What ``ltai start`` was asked for."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ltai_hub.errors import ConfigProblem
from ltai_hub.paths import DataFolder


@dataclass(frozen=True)
class StartOptions:
    """``network``: private or shared. ``public_url``: what people type when a web server stands before the platform."""

    data: Path = Path(".ltai")
    host: str = "127.0.0.1"
    port: int = 8000
    demo: bool = False
    simulated_gpus: int = 0
    network: str = "private"
    public_url: str = ""

    @property
    def folder(self) -> DataFolder:
        return DataFolder(self.data.absolute())

    @property
    def url(self) -> str:
        """The address to open, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def check_options(options: StartOptions) -> None:
    """Raises ConfigProblem."""
    if options.demo and not is_loopback(options.host):
        raise ConfigProblem(
            "--demo makes accounts whose passwords are written to a file, so it listens on loopback only; "
            f"leave out --host {options.host} or --demo"
        )
    if not 0 < options.port < 65536:
        raise ConfigProblem(f"--port {options.port} is no port; choose one from 1 to 65535")
    if options.network not in ("private", "shared"):
        raise ConfigProblem(f"--network {options.network} is unknown; choose private or shared")
    if options.simulated_gpus < 0:
        raise ConfigProblem(f"--simulated-gpus {options.simulated_gpus} is negative")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
