"""The kubelet's summary → what a workload uses now. Pure.

Format: https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltai_hub.backends.base import Use
from ltai_hub.backends.kubernetes.api import Object


def use_of(pods: Sequence[Object], used: Mapping[tuple[str, str], Object]) -> Use | None:
    """Cores, bytes of working set and of the container's own files, over all replicas; None when none is running."""
    found = [used.get((pod["metadata"]["namespace"], pod["metadata"]["name"]), {}) for pod in pods]
    if not found:
        return None
    return Use(
        cpu=sum(stats.get("cpu", {}).get("usageNanoCores", 0) for stats in found) / 1e9,
        memory=sum(stats.get("memory", {}).get("workingSetBytes", 0) for stats in found),
        disk=sum(stats.get("ephemeral-storage", {}).get("usedBytes", 0) for stats in found),
    )
