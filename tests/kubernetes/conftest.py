"""A real cluster: any with Kueue and JobSet whose KUBECONFIG is set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helm.conftest import CHART

BUILD = CHART.parent / "images" / "build.py"
TAGS = ("test-1", "test-2")
NEEDS = "needs a cluster with Kueue and JobSet: set KUBECONFIG"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/kubernetes" in str(item.path):
            item.add_marker(pytest.mark.kubernetes)
            if not os.environ.get("KUBECONFIG"):
                item.add_marker(pytest.mark.skip(reason=NEEDS))


@pytest.fixture(scope="session")
def python_image() -> str:
    """Python, and nothing of ours."""
    return os.environ.get("LTAI_TEST_PYTHON_IMAGE", "python:3.11-slim-bookworm")


@pytest.fixture(scope="session")
def tags() -> tuple[str, str]:
    """Images of two versions; equal contents are enough to be replaced. LTAI_TEST_BUILDER builds and pushes them (a command with the
    options of `docker build`), unless LTAI_TEST_TAG names some that the nodes can pull."""
    if tag := os.environ.get("LTAI_TEST_TAG"):
        return tag, tag
    builder = os.environ.get("LTAI_TEST_BUILDER")
    assert builder or not os.environ.get("CI"), "LTAI_TEST_BUILDER is not set"
    if not builder:
        pytest.skip("nothing builds images here: set LTAI_TEST_BUILDER, or LTAI_TEST_TAG for images that are there")
    for tag in TAGS:
        subprocess.run([sys.executable, BUILD, "--builder", builder, "--tag", tag, "hub", "postgresql", "scikit-learn"], check=True)
    return TAGS
