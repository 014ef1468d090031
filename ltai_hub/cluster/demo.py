"""The demo school of a cluster: accounts with the passwords of a Secret, and the course files in the tenants' volumes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from ltai_hub.backends.kubernetes.api import CLAIM, JOBSET, AlreadyThere, Cluster, Object
from ltai_hub.backends.kubernetes.names import COURSES, installation_labels, tenant_name
from ltai_hub.backends.kubernetes.pods import container_security, pod_security
from ltai_hub.backends.kubernetes.volumes import COURSES_PATH, make_courses_claim
from ltai_hub.catalog import load_catalog
from ltai_hub.cluster.database import wait_for_tables
from ltai_hub.cluster.settings import ClusterSettings
from ltai_hub.db.engine import Database
from ltai_hub.demo.courses import make_courses
from ltai_hub.demo.school import GPU, ML, PEOPLE, DemoAccount, make_demo_school, save_accounts
from ltai_hub.errors import ConfigProblem, Problem
from ltai_hub.paths import DataFolder
from ltai_hub.settings import KubernetesSettings, Settings

COURSE_TENANTS = (ML, GPU)
# of the whole school at once
ACCELERATORS = 8
NAMESPACE_SECONDS = 300.0
log = logging.getLogger("ltai.cluster")


def main() -> None:
    settings, own = Settings(), ClusterSettings()
    wait_for_tables(settings.database)
    settings.folder.root.mkdir(parents=True, exist_ok=True)
    save_accounts(settings.folder, load_accounts(own.demo_passwords))
    make_demo_school(Database(settings.database), settings.folder, load_catalog(settings.catalog), ACCELERATORS)
    log.info("the demo school is there")
    asyncio.run(fill_courses(KubernetesSettings(), own.image))


def load_accounts(folder: Path) -> list[DemoAccount]:
    """``folder`` has a file for each person, which holds the password. Raises ConfigProblem."""
    missing = [person.name for person in PEOPLE if not (folder / person.name).is_file()]
    if missing:
        raise ConfigProblem(f"{folder} has no password of {', '.join(missing)}")
    return [DemoAccount(p.name, (folder / p.name).read_text("utf-8").strip(), p.role, p.display_name) for p in PEOPLE]


async def fill_courses(settings: KubernetesSettings, image: str, tenants: Sequence[str] = COURSE_TENANTS) -> None:
    """A pod in each tenant's namespace puts the files into its volume; those that are there stay."""
    cluster = await Cluster.connect()
    try:
        for tenant in tenants:
            namespace = tenant_name(settings.instance, tenant)
            await wait_for_namespace(cluster, namespace)
            await cluster.ensure(CLAIM, make_courses_claim(settings, namespace))
            try:
                await cluster.create(JOBSET, make_filler(settings, namespace, image))
            except AlreadyThere:
                log.info("the course files of %s are being made already", tenant)
    finally:
        await cluster.close()


async def wait_for_namespace(cluster: Cluster, name: str) -> None:
    """The tenancy service makes it, with the right to work in it. Raises ConfigProblem."""
    until = time.monotonic() + NAMESPACE_SECONDS
    while True:
        try:
            await cluster.list(JOBSET, name)
            return
        except Problem as problem:
            if time.monotonic() > until:
                raise ConfigProblem(f"namespace {name} is not ready: {problem.message}") from problem
        await asyncio.sleep(1)


def make_filler(settings: KubernetesSettings, namespace: str, image: str) -> Object:
    container: Object = {
        "name": "course-files",
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["python", "-m", "ltai_hub.cluster", "courses"],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": container_security(),
        "volumeMounts": [{"name": COURSES, "mountPath": COURSES_PATH}],
    }
    pod: Object = {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(settings),
        "containers": [container],
        "volumes": [{"name": COURSES, "persistentVolumeClaim": {"claimName": COURSES}}],
        "imagePullSecrets": [{"name": secret} for secret in settings.image_pull_secrets],
    }
    labels = installation_labels(settings.instance)
    template = {"spec": {"backoffLimit": 6, "template": {"metadata": {"labels": labels}, "spec": pod}}}
    return {
        "apiVersion": JOBSET.api_version,
        "kind": JOBSET.kind,
        "metadata": {"name": "course-files", "namespace": namespace, "labels": labels},
        "spec": {"ttlSecondsAfterFinished": 60, "replicatedJobs": [{"name": "files", "replicas": 1, "template": template}]},
    }


def put_courses() -> None:
    """Inside that pod, which sees the volume at ``COURSES_PATH``."""
    make_courses(DataFolder(Path(COURSES_PATH).parent))
