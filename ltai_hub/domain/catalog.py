"""What can be chosen: flavors (compute specs), images (frameworks) and profiles (both, ready for a class).

Rows of ``spawner_profiles/*.yaml`` after checking (``ltai_hub.catalog.load``). Local and Kubernetes mode read the same
row: an image has ``requirements`` for one and ``container`` for the other, and what a vendor's device plug-in needs is
plain data, so a new vendor is a new row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ltai_hub.domain.workloads import Copy, Mount, Resources
from ltai_hub.errors import NotFound

SIMULATED = "simulated-gpu"
ANY_NVIDIA = "nvidia-gpu"
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
Row = TypeVar("Row")


@dataclass(frozen=True)
class Text:
    """Words for people, in both languages; ``zh_cn`` is the English text where nothing else is written."""

    en: str
    zh_cn: str

    def as_dict(self) -> dict[str, str]:
        return {"en": self.en, "zh-CN": self.zh_cn}

    def __str__(self) -> str:
        return self.en


@dataclass(frozen=True)
class KubernetesFlavor:
    """What a pod of this flavor gets besides cpu and memory; copied into the manifest as it stands.

    resource_name   the device plug-in's extended resource: "nvidia.com/gpu", "huawei.com/Ascend910"
    resources       more extended resources, as they stand: {"nvidia.com/gpumem": 8000} (HAMi, which means of each card)
    device_shm      the device plug-in mounts /dev/shm itself (NVIDIA's MPS), and the pod gets none of its own
    """

    resource_name: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_class: str = ""
    device_shm: bool = False


@dataclass(frozen=True)
class Flavor:
    """A compute spec and its price. ``resources.accelerator`` is the kind that quotas count."""

    name: str
    title: Text
    resources: Resources
    price_micro_per_hour: int = 0
    accelerator_title: str = ""
    kubernetes: KubernetesFlavor = KubernetesFlavor()

    @property
    def simulated(self) -> bool:
        return self.resources.accelerator == SIMULATED


@dataclass(frozen=True)
class Image:
    """A framework. ``requirements`` holds the row's own and, first, those common to all images (kernel, tracking, serving);
    ``architectures`` the processors its container is built for, () for all."""

    name: str
    title: Text
    framework: str
    version: str
    description: Text = Text("", "")
    python: str = ""
    requirements: tuple[str, ...] = ()
    container: str = ""
    architectures: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """A lab profile: image, flavor, data and limits with a title; tenants get profiles assigned.

    ``images`` and ``flavors`` are all that may be chosen instead; the defaults are among them, first.
    ``mounts`` and ``copy`` hold sources as written: relative to the data folder's ``courses/`` or absolute.
    """

    name: str
    title: Text
    image: str
    flavor: str
    description: Text = Text("", "")
    images: tuple[str, ...] = ()
    flavors: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    copy: tuple[Copy, ...] = ()
    picture: str = ""
    max_seconds: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """All rows by name, in the order of the files."""

    flavors: Mapping[str, Flavor]
    images: Mapping[str, Image]
    profiles: Mapping[str, Profile]

    @property
    def accelerators(self) -> frozenset[str]:
        """Kinds that flavors have."""
        return frozenset(flavor.resources.accelerator for flavor in self.flavors.values()) - {""}

    def get_flavor(self, name: str) -> Flavor:
        return _get(self.flavors, name, "flavor")

    def resources_of(self, flavor: str) -> Resources:
        """For what runs already: of a flavor that was taken out nothing is known any more, and it can still be ended."""
        known = self.flavors.get(flavor)
        return known.resources if known else Resources(cpu=0, memory=0)

    def get_image(self, name: str) -> Image:
        return _get(self.images, name, "image")

    def get_profile(self, name: str) -> Profile:
        return _get(self.profiles, name, "profile")


def _get(rows: Mapping[str, Row], name: str, noun: str) -> Row:
    if name not in rows:
        raise NotFound(f"there is no {noun} {name!r} in the catalogue; it has {', '.join(rows) or 'none'}")
    return rows[name]
