"""The REST objects as typed dicts: what the server sent, key by key, nothing renamed.

Times are ISO-8601 UTC strings, sizes bytes, durations seconds, money integer micro-units of ``currency``.
``docs/reference/rest.md`` lists the addresses they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

Role = Literal["admin", "teacher", "assistant", "member", "viewer"]
TenantKind = Literal["organisation", "department", "course", "project"]
WorkloadKind = Literal["environment", "job", "endpoint"]
# Titles come as {"en": …, "zh-CN": …}.
Translated = dict[str, str]


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list: ``items`` and how many there are in all. Iterates and indexes like its items."""

    items: list[T]
    total: int

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]


class MyTenant(TypedDict):
    slug: str
    name: str
    path: list[str]
    kind: TenantKind
    role: Role | None


class Me(TypedDict):
    name: str
    display_name: str
    admin: bool
    tenants: list[MyTenant]
    default_tenant: str | None
    language: str
    actions: dict[str, list[str]]


class TenantCluster(TypedDict):
    """Whether a cluster has the tenant's queue as its quotas say; ``message``: what is in the way."""

    ready: bool
    message: str


class Tenant(TypedDict):
    """``weight``: its part of what several tenants of a cluster borrow at once. ``cluster`` None: there is none."""

    slug: str
    name: str
    kind: TenantKind
    parent: str | None
    path: list[str]
    depth: int
    members: int
    weight: int
    role: Role | None
    created_at: str
    cluster: TenantCluster | None


class Member(TypedDict):
    user: str
    display_name: str
    role: Role
    inherited_from: str | None


class AssignedProfile(TypedDict):
    profile: str
    inherited: bool


class Quota(TypedDict):
    """``resource``: cpu, memory, storage, accelerators or accelerator:KIND. ``limit`` None: no limit.

    ``guaranteed``: of the limit, what is the tenant's whenever it asks; ``borrowed``: what it uses beyond that.
    """

    tenant: str
    tenant_name: str
    user: str | None
    resource: str
    limit: float | None
    guaranteed: float
    used: float
    borrowed: float


class UserTenant(TypedDict):
    slug: str
    role: Role


class User(TypedDict):
    name: str
    display_name: str
    admin: bool
    disabled: bool
    language: str
    created_at: str
    last_login_at: str | None
    tenants: list[UserTenant]


class Invite(TypedDict):
    link: str
    expires_at: str


class Permission(TypedDict):
    """``own``: roles that may do it to what is theirs; ``others``: to what belongs to somebody else."""

    action: str
    help: str
    own: list[Role]
    others: list[Role]


class Flavor(TypedDict):
    name: str
    title: Translated
    cpu: float
    memory: int
    disk: int
    accelerator: str
    accelerator_count: int
    accelerator_title: str
    architecture: str
    price_micro_per_hour: int
    currency: str
    simulated: bool
    available_now: bool


class Image(TypedDict):
    name: str
    title: Translated
    description: Translated
    framework: str
    version: str
    state: Literal["ready", "building", "absent", "failed"]
    progress: float
    message: str
    requirements: list[str]
    container: str


class Profile(TypedDict):
    name: str
    title: Translated
    description: Translated
    image: str
    flavor: str
    flavors: list[str]
    images: list[str]
    picture: str
    ready: bool
    price_micro_per_hour: int
    currency: str
    tenant: str


class Environment(TypedDict):
    id: int
    name: str
    display_name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    phase: str
    reason: str
    url: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    queue_position: int | None
    price_micro_per_hour: int
    currency: str


class Job(TypedDict):
    id: int
    name: str
    user: str
    tenant: str
    profile: str
    image: str
    flavor: str
    nodes: int
    anywhere: bool
    command: list[str]
    cwd: str
    env: dict[str, str]
    phase: str
    reason: str
    exit_code: int | None
    queue_position: int | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    duration_seconds: float | None
    run_id: str | None
    experiment_id: str | None
    run_url: str | None
    attempt: int
    rerun_of: int | None
    max_seconds: int | None
    cost_micro: int
    currency: str


class LoggedModel(TypedDict):
    model_id: str
    name: str
    framework: str


class JobMetrics(TypedDict):
    metrics: dict[str, float]
    params: dict[str, str]
    models: list[LoggedModel]


class ModelVersion(TypedDict):
    version: str
    name: str
    tenant: str
    framework: str
    framework_version: str
    metrics: dict[str, float]
    params: dict[str, str]
    source: str
    run_id: str | None
    job_id: int | None
    image: str
    flavor: str
    user: str
    command: str
    description: str
    status: str
    created_at: str
    aliases: list[str]
    endpoints: list[int]


class Model(TypedDict):
    name: str
    tenant: str
    latest_version: str | None
    versions: int
    framework: str
    description: str
    updated_at: str
    version_list: NotRequired[list[ModelVersion]]


class Endpoint(TypedDict):
    id: int
    name: str
    slug: str
    user: str
    tenant: str
    model: str
    version: str
    image: str
    flavor: str
    instances: int
    most_instances: int | None
    ready_instances: int
    phase: str
    reason: str
    address: str
    infer_url: str
    queue_position: int | None
    max_seconds: int | None
    stops_at: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    cost_micro: int
    currency: str
    signature: dict[str, Any] | None
    token: NotRequired[str]  # only in the answer to create and to token


class Prediction(TypedDict):
    outputs: list[dict[str, Any]]
    predictions: list[Any]
    milliseconds: float


class Usage(TypedDict):
    """``seconds`` are replica-seconds: two instances for a minute are 120. None in what was added up."""

    user: str | None
    tenant: str | None
    kind: str | None
    flavor: str | None
    seconds: float
    cost_micro: int
    currency: str


class BillLine(TypedDict):
    key: str
    kind: WorkloadKind
    noun_id: str
    name: str
    user: str
    tenant: str
    flavor: str
    seconds: float
    cost_micro: int
    intervals: int
    running: bool


class Bill(TypedDict):
    tenant: str | None
    user: str | None
    month: str
    started_at: str
    ended_at: str
    total_micro: int
    currency: str
    lines: list[BillLine]


class Interval(TypedDict):
    started_at: str
    ended_at: str
    running: bool
    seconds: float
    replicas: int
    flavor: str
    price_micro_per_hour: int
    price_valid_from: str | None
    cost_micro: int


class Price(TypedDict):
    flavor: str
    price_micro_per_hour: int
    currency: str
    valid_from: str


class AcceleratorUse(TypedDict):
    index: int
    name: str
    utilisation: float | None
    memory_used: int | None
    memory_total: int | None
    fan: float | None
    temperature: float | None
    power: float | None
    simulated: bool


class Metrics(TypedDict):
    at: str
    cpu_cores: float | None
    cpu_limit: float | None
    memory: int | None
    memory_limit: int | None
    disk: int | None
    disk_limit: int | None
    accelerators: list[AcceleratorUse]


class Event(TypedDict):
    """``noun`` to ``tenant`` only where events of several things are listed."""

    at: str
    noun: NotRequired[str]
    noun_id: NotRequired[str]
    name: NotRequired[str]
    user: NotRequired[str]
    tenant: NotRequired[str | None]
    actor: str
    from_phase: str | None
    to_phase: str
    reason: str


class Overview(TypedDict):
    running: dict[str, int]
    waiting: dict[str, int]
    cost_this_month_micro: int
    currency: str
