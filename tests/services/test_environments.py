from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ltai_services.environments import SPEC

from ltai_hub.backends.fake import FakeBackend
from ltai_hub.service import Platform
from tests.services.platform import QuietHub, a_platform, an_api


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return replace(a_platform(tmp_path), backend=FakeBackend(accelerators=1))


def test_an_environment_that_can_never_run_here_is_refused_before_the_hub_is_asked(platform: Platform) -> None:
    reply = an_api(SPEC, platform).post("/environments", "sam", json={"profile": "gpu-intro", "flavor": "gpu-simulated-2"})
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-workload")
    assert reply.json()["detail"] == "this machine has 1 × simulated-gpu and this needs 2; choose another flavor or fewer instances"
    assert isinstance(platform.hub, QuietHub)
    assert platform.hub.asked == []


def test_one_that_fits_is_asked_for_at_the_hub(platform: Platform) -> None:
    an_api(SPEC, platform).post("/environments", "sam", json={"profile": "gpu-intro"})
    assert isinstance(platform.hub, QuietHub)
    assert [asked[0] for asked in platform.hub.asked] == ["ensure", "start"]
