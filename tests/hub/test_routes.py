"""Routes of services that the hub does not run itself: each Deployment of the chart."""

from __future__ import annotations

from types import SimpleNamespace

from ltai_hub.hub.app import PlatformHub


async def test_a_service_that_does_not_answer_keeps_nobody_waiting_for_routes() -> None:
    # nothing listens there; JupyterHub would look for its server, 30 s long
    absent = SimpleNamespace(managed=False, url="http://127.0.0.1:1", timeout=30)
    assert await PlatformHub().start_service("serving", absent)
