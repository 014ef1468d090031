from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.whole import Whole, make_whole
from tests.fixtures import RunningPlatform, start_platform
from tests.hub.test_faults import borrow_images


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Whole]:
    yield from make_whole(tmp_path, monkeypatch)


@pytest.fixture(scope="package")
def own(tmp_path_factory: pytest.TempPathFactory, platform: RunningPlatform) -> Iterator[RunningPlatform]:
    """An instance for what would be in the way of other tests: names that break pages, parts that are killed."""
    data = tmp_path_factory.mktemp("own") / "data"
    data.mkdir()
    borrow_images(platform, data)
    running = start_platform(data, "--demo", "--simulated-gpus", "2")
    yield running
    running.stop()
