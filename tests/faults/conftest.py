from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.whole import Whole, make_whole


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Whole]:
    yield from make_whole(tmp_path, monkeypatch)
