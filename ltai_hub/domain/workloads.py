"""What runs: an environment, a job or an endpoint, asked for by a person inside a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    ENVIRONMENT = "environment"
    JOB = "job"
    ENDPOINT = "endpoint"


class Phase(StrEnum):
    """States people see. The last four are final; GONE is only ever observed, never stored."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"

    @property
    def is_final(self) -> bool:
        return self in (Phase.STOPPED, Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)

    @property
    def is_metered(self) -> bool:
        """Usage intervals are open exactly while a workload is in one of these."""
        return self in (Phase.RUNNING, Phase.STOPPING)


@dataclass(frozen=True)
class Resources:
    """Amounts one replica gets. cpu in cores, memory and disk in bytes."""

    cpu: float
    memory: int
    disk: int = 0
    accelerator: str = ""
    accelerator_count: int = 0
    architecture: str = ""


@dataclass(frozen=True)
class Mount:
    """A folder of the host (local) or a volume claim (Kubernetes) shown inside at ``target``."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Copy:
    """A file or folder put into a person's home when it is not there yet. ``source`` is relative to the data folder's
    ``courses/``, or absolute; ``target`` is relative to the home."""

    source: str
    target: str


@dataclass(frozen=True)
class Workload:
    """Everything a backend needs to start it; plain values, no rows.

    ``name`` is unique for ever and safe as a file and pod name: ``job-12-1``, ``endpoint-3-0``.
    ``flavor`` names the catalogue's row that ``resources`` comes from; "" where there is none.
    ``command`` is run by the image's interpreter environment: ``python`` there is the image's python.
    ``home`` is an absolute folder, read-write; ``cwd`` is absolute and lies in ``home`` or a mount.
    ``anywhere``: it may run in another cluster too (``SpansClusters``). Wherever it runs it then finds an empty home that goes with it,
    with the zip archive ``folder`` unpacked in ``cwd``, and no mounts or copies; ``env_elsewhere`` are variables that differ there.
    ``most_replicas``: the backend may add replicas under load, up to so many in all (``AddsReplicas``).
    ``port`` true asks for one listening TCP port; ``Observed.address`` then tells where it answers.
    """

    name: str
    kind: Kind
    user: str
    tenant: str
    image: str
    resources: Resources
    command: tuple[str, ...]
    flavor: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    cwd: str = ""
    mounts: tuple[Mount, ...] = ()
    copies: tuple[Copy, ...] = ()
    replicas: int = 1
    port: bool = False
    most_replicas: int | None = None
    max_seconds: int | None = None
    grace_seconds: int = 10
    anywhere: bool = False
    folder: bytes = field(default=b"", repr=False)
    env_elsewhere: Mapping[str, str] = field(default_factory=dict)
