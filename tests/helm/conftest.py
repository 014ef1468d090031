"""``render`` is what `helm template` makes of the chart; no cluster is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "ltai"
Object = dict[str, Any]
Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def helm() -> str:
    found = shutil.which("helm")
    if not found:
        assert not os.environ.get("CI"), "helm is not installed"
        pytest.skip("no helm on this machine")
    return found


@pytest.fixture(scope="session")
def render(helm: str) -> Render:
    """``render("demo=true", "image.prefix=r/")`` → the objects. Raises AssertionError with Helm's words."""

    @lru_cache
    def cached(*sets: str, release: str = "ltai") -> list[Object]:
        options = [word for pair in sets for word in ("--set", pair)]
        done = subprocess.run([helm, "template", release, CHART, "--namespace", "ltai", *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [found for found in yaml.safe_load_all(done.stdout) if found]

    return cached
