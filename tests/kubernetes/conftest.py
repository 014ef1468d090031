"""A real cluster: any with Kueue and JobSet whose KUBECONFIG is set."""

from __future__ import annotations

import os

import pytest

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
