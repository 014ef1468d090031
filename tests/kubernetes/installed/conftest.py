"""One installation for all that needs the whole platform in a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.installed.release import Release, a_release

NAME, NODE_PORT = "chart", 30681


@pytest.fixture(scope="package")
def release(tags: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with a_release(NAME, NODE_PORT, tags[0], tmp_path_factory.mktemp("release")) as release:
        yield release
