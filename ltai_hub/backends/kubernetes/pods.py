"""The parts of a pod that jobs, endpoints and environments have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.names import (
    ACCOUNT,
    PRIORITY_LABEL,
    QUEUE,
    QUEUE_LABEL,
    accelerator_toleration,
    label_value,
    priority_class,
    tenant_name,
    workload_labels,
)
from ltai_hub.backends.kubernetes.volumes import (
    copy_container,
    folder_container,
    make_courses_claim,
    make_home_claim,
    pod_volumes,
    travelling_volumes,
    volume_mounts,
)
from ltai_hub.domain.catalog import Catalog, Image, KubernetesFlavor
from ltai_hub.domain.workloads import Kind, Resources, Workload
from ltai_hub.errors import BadWorkload
from ltai_hub.settings import KubernetesSettings

MAIN = "main"
# by these the vendors' container runtimes show cards. Their device plug-ins set them for a container that asks for a card, and what
# the pod says would count before that; in any other an image that says `all` would show every card of the node.
DEVICES = ("NVIDIA_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES")
NO_DEVICES = dict.fromkeys(DEVICES, "void")


@dataclass(frozen=True)
class Blueprint:
    """A workload with everything of the installation that its manifests need."""

    workload: Workload
    settings: KubernetesSettings
    flavor: KubernetesFlavor
    image: str
    courses_root: Path

    @property
    def namespace(self) -> str:
        return tenant_name(self.settings.instance, self.workload.tenant)

    @property
    def labels(self) -> dict[str, str]:
        w = self.workload
        return workload_labels(self.settings.instance, w.tenant, w.user, w.kind, w.name)

    @property
    def has_courses(self) -> bool:
        return bool(self.workload.mounts or self.workload.copies) and not self.workload.anywhere

    @property
    def claims(self) -> list[Object]:
        """The volumes it is shown."""
        if self.workload.anywhere:
            return []
        home = make_home_claim(self.settings, self.namespace, self.workload.user)
        return [home, make_courses_claim(self.settings, self.namespace)] if self.has_courses else [home]


def make_blueprint(workload: Workload, settings: KubernetesSettings, catalog: Catalog, courses_root: Path) -> Blueprint:
    flavor = catalog.flavors.get(workload.flavor)
    image = catalog.images.get(workload.image)
    container = settings.image_prefix + image.container if image else workload.image
    placed = workload if image is None else replace(workload, resources=on_processors_of(image, workload.resources))
    return Blueprint(placed, settings, flavor.kubernetes if flavor else KubernetesFlavor(), container, courses_root)


def on_processors_of(image: Image, resources: Resources) -> Resources:
    """Raises BadWorkload for an image that is not built for the flavor's processor."""
    built = image.architectures
    if resources.architecture and built and resources.architecture not in built:
        raise BadWorkload(
            f"the image {image.name} is built for {' and '.join(built)} and this flavor is {resources.architecture}; "
            "choose another image or flavor"
        )
    return replace(resources, architecture=built[0]) if len(built) == 1 else resources


def queue_labels(instance: str, kind: Kind, queue: str = QUEUE) -> dict[str, str]:
    return {QUEUE_LABEL: queue, PRIORITY_LABEL: priority_class(instance, kind)}


def container_resources(resources: Resources, flavor: KubernetesFlavor) -> Object:
    """What is promised is also the most: neighbours are never slowed down, and quotas count what is really used."""
    amounts: dict[str, str] = {"cpu": f"{round(resources.cpu * 1000)}m", "memory": str(resources.memory)}
    if resources.disk:
        amounts["ephemeral-storage"] = str(resources.disk)
    if resources.accelerator_count and flavor.resource_name:
        amounts[flavor.resource_name] = str(resources.accelerator_count)
        for name, amount in flavor.resources.items():
            amounts[name] = str(amount)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def copy_resources(resources: Resources) -> Object:
    amounts = {"cpu": f"{round(resources.cpu * 1000)}m", "memory": str(resources.memory)}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def container_security() -> Object:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pod_security(settings: KubernetesSettings) -> Object:
    return {
        "runAsNonRoot": True,
        "runAsUser": settings.user_id,
        "runAsGroup": settings.group_id,
        "fsGroup": settings.group_id,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def placement(resources: Resources, flavor: KubernetesFlavor, settings: KubernetesSettings) -> Object:
    """On which nodes it may run; empty parts are left out."""
    selector = dict(flavor.node_selector)
    if resources.architecture:
        selector["kubernetes.io/arch"] = resources.architecture
    # without it Kueue gives the pod the quota of no kind of accelerator
    own = [accelerator_toleration(resources.accelerator)] if resources.accelerator_count and flavor.resource_name else []
    tolerations = [dict(t) for t in (*flavor.tolerations, *own, *settings.extra_tolerations)]
    parts = {"nodeSelector": selector, "tolerations": tolerations, "runtimeClassName": flavor.runtime_class}
    return {name: value for name, value in parts.items() if value}


def device_env(env: Mapping[str, str], resources: Resources) -> dict[str, str]:
    """``env`` with what the platform says of cards: none, or what the device plug-in says."""
    own = {name: value for name, value in env.items() if name not in DEVICES}
    return own if resources.accelerator_count else own | NO_DEVICES


def make_env(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": literal(value)} for name, value in values.items()]


def literal(text: str) -> str:
    """In commands and variables ``$(NAME)`` is a reference for Kubernetes, and ``$$`` a dollar."""
    return text.replace("$", "$$")


def make_pod_spec(plan: Blueprint, env: Sequence[Object], container: Object | None = None, more_mounts: Sequence[Object] = ()) -> Object:
    """``env`` and ``container`` (ports, probes …) are what its kind adds to the main container."""
    w, settings = plan.workload, plan.settings
    own_shm = not plan.flavor.device_shm
    main: Object = {
        "name": MAIN,
        "image": plan.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [literal(word) for word in w.command],
        "workingDir": w.cwd or w.home,
        "env": [*make_env({"HOME": w.home, "USER": label_value(w.user), **device_env(w.env, w.resources)}), *env],
        "resources": container_resources(w.resources, plan.flavor),
        "securityContext": container_security(),
        "volumeMounts": [*volume_mounts(w.home, () if w.anywhere else w.mounts, plan.courses_root, own_shm), *more_mounts],
        # what it wrote last tells why it failed, also when its log is gone
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **(container or {}),
    }
    spec: Object = {
        "containers": [main],
        "volumes": travelling_volumes(own_shm) if w.anywhere else pod_volumes(w.user, plan.has_courses, own_shm),
        "securityContext": pod_security(settings),
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # as pid 1 a program that handles no signals would ignore being asked to end, and nobody would reap its orphans
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": w.grace_seconds,
        **placement(w.resources, plan.flavor, settings),
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    parts = {"securityContext": container_security(), "resources": copy_resources(w.resources), "env": make_env(NO_DEVICES)}
    if w.anywhere:
        spec["initContainers"] = [folder_container(plan.image, settings.image_pull_policy, w.home, w.cwd or w.home, w.folder, parts)]
    elif w.copies:
        spec["initContainers"] = [copy_container(plan.image, settings.image_pull_policy, w.home, w.copies, plan.courses_root, parts)]
    return spec
