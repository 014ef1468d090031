"""The job controller as a process of its own that may be killed: ``python -m tests.kubernetes.controller_process FOLDER INSTANCE``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from ltai_services.training.controller import JobController

from ltai_hub.backends.base import Backend
from ltai_hub.backends.kubernetes.backend import KubernetesBackend
from ltai_hub.db.engine import Database
from ltai_hub.domain.catalog import Catalog, Flavor, Image, KubernetesFlavor, Text
from ltai_hub.domain.workloads import Resources
from ltai_hub.paths import DataFolder
from ltai_hub.service import Platform
from ltai_hub.settings import KubernetesSettings, Settings
from ltai_hub.web.workload_tokens import WorkloadTokens
from tests.kubernetes.places import PYTHON
from tests.services.fake_mlflow import FakeMlflow
from tests.services.platform import NamesAsTokens, QuietHub, QuietProxy

TINY, ELSEWHERE = "tiny", "elsewhere"
# the label of nodes that only pretend, and the storage class of volumes they can have
PLACE = "ltai.dev/test"
LOST = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}


class ForgetfulMlflow(FakeMlflow):
    """It does not know the runs that an earlier process made."""

    def post_runs_update(self, workspace: str, body: Mapping[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={})


def a_catalog(instance: str) -> Catalog:
    elsewhere = KubernetesFlavor(node_selector={PLACE: instance}, tolerations=(LOST,))
    resources = Resources(0.05, 96 << 20)
    rows = [Flavor(TINY, Text("Tiny", "Tiny"), resources), Flavor(ELSEWHERE, Text("Else", "Else"), resources, kubernetes=elsewhere)]
    image = Image("python", Text("Python", "Python"), "scikit-learn", "1", container=PYTHON)
    return Catalog({row.name: row for row in rows}, {image.name: image}, {})


def a_backend(folder: Path, instance: str, home_class: str = "") -> KubernetesBackend:
    kubernetes = KubernetesSettings(instance=instance, home_access="ReadWriteOnce", home_class=home_class)
    return KubernetesBackend(settings(folder), kubernetes, a_catalog(instance))


def settings(folder: Path) -> Settings:
    return Settings(data=folder, homes=Path("/home"), signing_key="5" * 64)


def a_platform(folder: Path, instance: str, backend: Backend) -> Platform:
    database, wanted = Database(DataFolder(folder).database_url), settings(folder)
    return Platform(
        settings=wanted,
        database=database,
        backend=backend,
        hub=QuietHub(),
        proxy=QuietProxy(),
        catalog=a_catalog(instance),
        resolver=NamesAsTokens(),
        workload_tokens=WorkloadTokens(wanted.signing_key, database),
    )


def a_controller(platform: Platform) -> JobController:
    return JobController(platform, ForgetfulMlflow().tracking())


def main(folder: Path, instance: str) -> None:
    logging.basicConfig(level=logging.INFO)
    asyncio.run(a_controller(a_platform(folder, instance, a_backend(folder, instance))).run())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
