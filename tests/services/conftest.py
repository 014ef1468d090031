"""Shared by the tests of jobs, models and endpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ltai_services.images
import ltai_services.serving.tables
import ltai_services.training.tables
import pytest

from ltai_hub.backends.fake import FakeBackend
from ltai_hub.catalog.image_state import ImagePhase, ImageState
from ltai_hub.service import Platform
from tests.services.fake_mlflow import FakeMlflow
from tests.services.platform import a_platform


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def mlflow() -> FakeMlflow:
    return FakeMlflow()


@pytest.fixture
def platform(tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The school with a fake backend in which every image is built already."""
    monkeypatch.setattr(ltai_services.images, "image_state", lambda folder, image: ImageState(ImagePhase.READY, 1.0))
    return replace(a_platform(tmp_path), backend=backend)
