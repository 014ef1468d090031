"""An environment's pod → how it ended."""

from __future__ import annotations

from datetime import UTC, datetime

from ltai_hub.hub.podstate import seen_of
from tests.backends.kubernetes.arrange import a_pod, running


def test_a_lost_node_ends_an_environment_where_the_node_was_seen_last() -> None:
    pod = a_pod(state=running(), conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"}])
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:06:00Z"
    assert seen_of(pod, datetime(2026, 1, 1, 0, 6, 30, tzinfo=UTC)).code is None
    seen = seen_of(pod, datetime(2026, 1, 1, 0, 6, 31, tzinfo=UTC))
    assert (seen.code, seen.reason) == (1, "its node does not answer any more; start it again")
    assert seen.ended_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
