"""What one confined process may see and use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """Kinds of confinement, best first."""

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True)
class Grant:
    """``source`` of the machine shown inside at ``target``; everything not granted is invisible."""

    source: str
    target: str
    writable: bool = False
    trusted: bool = False
    """Links on the way to ``source`` may be followed: only the platform can have made them."""


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes. ``uid`` is set only when the fork server is root: the account to become."""

    mode: Mode
    user: str
    home: str
    cwd: str
    data: str
    """The platform's data folder: covered wherever a grant would show it."""
    tmp: str
    """Folder on disk that becomes /tmp (with Landlock it stays where it is)."""
    grants: tuple[Grant, ...] = ()
    devices: tuple[str, ...] = ()
    shm_size: int = 1 << 28
    private_net: bool = False
    forward: tuple[int, ...] = ()
    """Ports of the machine's loopback that stay reachable from a private net."""
    pasta: str = ""
    """Path of pasta, to give a private net the internet; empty: none."""
    hostname: str = ""
    processes: int = 0
    oom_score_adj: int = 300
    uid: int | None = None
