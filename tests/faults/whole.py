"""All services as one app without processes, with something of everybody in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ltai_services.images
import ltai_services.serving.tables
import ltai_services.tracking
import ltai_services.training.tables
import pytest
from starlette.testclient import TestClient

from ltai_hub.backends.fake import FakeBackend
from ltai_hub.catalog.image_state import ImagePhase, ImageState
from ltai_hub.domain.permissions import Role
from ltai_hub.environments import store as environments
from ltai_hub.service import Platform, build_app, load_specs
from ltai_hub.tenancy import store as tenancy
from ltai_hub.units import utc_now
from tests.services.fake_mlflow import FakeMlflow
from tests.services.platform import a_platform

SERVICES = ("billing", "catalog", "environments", "models", "monitor", "serving", "tenancy", "training")


@dataclass
class Whole:
    """``whole.call("sam", "GET", "training", "/jobs")``: sam's token is his name."""

    platform: Platform
    client: TestClient
    mlflow: FakeMlflow

    def call(self, who: str, method: str, service: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {who}", **more.pop("headers", {})}
        return self.client.request(method, f"/services/{service}/api/v1{path}", headers=headers, **more)

    def a_job(self, who: str = "sam", **more: Any) -> int:
        made = self.call(who, "POST", "training", "/jobs", json={"name": "fit", "command": ["python", "train.py"], **more})
        assert made.status_code == 201, made.text
        return int(made.json()["id"])

    def a_model(self, name: str = "digits") -> None:
        self.mlflow.models.add(("ml", name))
        self.mlflow.versions.append(
            {"workspace": "ml", "name": name, "version": "1", "source": "models:/m-0a1b", "model_id": "m-0a1b", "creation_timestamp": 1}
        )

    def an_endpoint(self, who: str = "sam", name: str = "digits") -> dict[str, Any]:
        made = self.call(who, "POST", "serving", "/endpoints", json={"name": name, "model": "digits", "version": "1"})
        assert made.status_code == 201, made.text
        return dict(made.json())

    def an_environment(self, who: str = "sam", server: str = "lab") -> int:
        choice = environments.Choice("ml", "digits", "scikit-learn", "cpu-small")
        with self.platform.database.transaction() as tx:
            return environments.begin(tx, who, server, choice, f"/user/{who}/{server}", utc_now(), None).id


def make_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Whole]:
    monkeypatch.setattr(ltai_services.images, "image_state", lambda folder, image: ImageState(ImagePhase.READY, 1.0))
    plain = a_platform(folder)
    mlflow = FakeMlflow()
    monkeypatch.setitem(ltai_services.tracking._SHARED, ltai_services.tracking.mlflow_server(plain.settings), mlflow.tracking())
    platform = replace(plain, backend=FakeBackend(plain.settings))
    with platform.database.transaction() as tx:
        tenancy.put_member(tx, tenancy.get_tenant(tx, "ml"), "vic", Role.VIEWER, utc_now())
    # no lifespan: controllers do not run
    client = TestClient(build_app(load_specs(SERVICES), platform), raise_server_exceptions=False)
    yield Whole(platform, client, mlflow)
    platform.database.close()
