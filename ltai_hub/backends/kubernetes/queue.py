"""What Kueue says of what waits: why, and at which place."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ltai_hub.backends.kubernetes.api import WORKLOAD, Cluster, Object
from ltai_hub.backends.kubernetes.names import QUEUE
from ltai_hub.backends.kubernetes.times import moment
from ltai_hub.errors import Problem

JOB_UID = "kueue.x-k8s.io/job-uid"
VISIBILITY = "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/{}/localqueues/{}/pendingworkloads"
MOST = 10_000
FRESH_SECONDS, FRESH_TIMES, FRESH_MOST = 1.0, 5, 5.0
WAITS = "waiting in the queue of its tenant"


@dataclass(frozen=True)
class Standing:
    """``position`` 1 is next; ``evicted_at`` when it had been admitted before and lost its place."""

    reason: str = WAITS
    position: int | None = None
    evicted_at: datetime | None = None


class Queue:
    """Places are kept for an instant: many pages ask for the same ones."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        # until when they are good
        self._places: dict[tuple[str, str], tuple[float, dict[str, int] | None]] = {}
        self._asking: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def standings(
        self,
        namespace: str,
        uids: Sequence[str],
        workloads: Sequence[Object] | None = None,
        owners: Callable[[], Sequence[Object]] = list,
        queue: str = QUEUE,
    ) -> dict[str, Standing]:
        """Owner's uid → where it stands.

        ``workloads``: all of the namespace, where they are known already; else each is asked for. ``owners``: everything that waits,
        asked for only when Kueue has not come to one of them yet.
        """
        if not uids:
            return {}
        told = await self._told(namespace, queue)
        if workloads is None:
            listed = await asyncio.gather(*(self._cluster.list(WORKLOAD, namespace, {JOB_UID: uid}) for uid in uids))
            workloads = [workload for one in listed for workload in one]
        by_owner = {owner_of(workload): workload for workload in workloads}
        places = told if told is not None else places_by_age(workloads)
        if any(uid not in places and uid not in by_owner for uid in uids):
            places = places | places_behind(places, [owner for owner in owners() if owner["metadata"]["uid"] not in by_owner])
        return {uid: make_standing(by_owner.get(uid), places.get(uid)) for uid in uids}

    async def _told(self, namespace: str, queue: str) -> dict[str, int] | None:
        """None when Kueue's visibility API is away."""
        key = (namespace, queue)
        # many who ask at once wait for one answer
        async with self._asking[key]:
            until, known = self._places.get(key, (0.0, None))
            began = time.monotonic()
            if began < until:
                return known
            try:
                places = places_of(await self._cluster.raw("GET", VISIBILITY.format(namespace, queue), query={"limit": str(MOST)}))
            except Problem:
                places = None
            now = time.monotonic()
            # thousands of places take Kueue and us a while: the longer it takes, the seldomer it is asked
            self._places[key] = (now + min(max(FRESH_SECONDS, FRESH_TIMES * (now - began)), FRESH_MOST), places)
            return places


def places_of(answer: Object) -> dict[str, int]:
    return {
        owner["uid"]: item["positionInClusterQueue"] + 1
        for item in answer.get("items", [])
        for owner in item["metadata"].get("ownerReferences", [])
    }


def owner_of(workload: Object) -> str:
    return str(workload["metadata"].get("labels", {}).get(JOB_UID, ""))


def places_by_age(workloads: Sequence[Object]) -> dict[str, int]:
    """As Kueue orders them: by priority, then since when they wait. Of one tenant's own queue, which is all that is known here."""
    waiting = sorted((one for one in workloads if is_pending(one)), key=lambda one: (-one["spec"].get("priority", 0), waits_since(one)))
    return {owner_of(workload): place for place, workload in enumerate(waiting, 1)}


def places_behind(places: Mapping[str, int], unseen: Sequence[Object]) -> dict[str, int]:
    """Of those Kueue has not come to yet: thousands at once take it some minutes."""
    last = max(places.values(), default=0)
    in_order = sorted(unseen, key=lambda owner: owner["metadata"]["creationTimestamp"])
    return {owner["metadata"]["uid"]: last + place for place, owner in enumerate(in_order, 1)}


def conditions_of(workload: Object) -> dict[str, Object]:
    return {condition["type"]: condition for condition in workload.get("status", {}).get("conditions", [])}


def is_pending(workload: Object) -> bool:
    conditions = conditions_of(workload)
    decided = any(conditions.get(name, {}).get("status") == "True" for name in ("QuotaReserved", "Finished"))
    return not decided and workload["spec"].get("active", True)


def waits_since(workload: Object) -> str:
    evicted = conditions_of(workload).get("Evicted", {})
    return str(evicted["lastTransitionTime"] if evicted.get("status") == "True" else workload["metadata"]["creationTimestamp"])


def make_standing(workload: Object | None, position: int | None) -> Standing:
    conditions = conditions_of(workload or {})
    evicted, reserved = conditions.get("Evicted", {}), conditions.get("QuotaReserved", {})
    why = str(reserved.get("message", "")) if reserved.get("status") == "False" else ""
    if evicted.get("status") == "True" and evicted.get("reason") != "Deactivated":
        return Standing(f"it lost its place: {evicted.get('message', '')}", position, moment(evicted.get("lastTransitionTime")))
    if why:
        return Standing(f"{WAITS}: {why}", position)
    # Kueue does not try those that are like one it has just tried in vain
    return Standing(f"{WAITS}, behind {position - 1} more" if position and position > 1 else WAITS, position)
