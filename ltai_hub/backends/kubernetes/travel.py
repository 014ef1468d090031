"""Looks at jobs that may run in any cluster and does what their turn asks for (``spread``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ltai_hub.backends.base import Observed
from ltai_hub.backends.kubernetes.api import JOBSET, MULTIKUEUE_CLUSTER, NETWORK_POLICY, POD, WORKLOAD, Cluster, Object
from ltai_hub.backends.kubernetes.clusters import Clusters, hold, release
from ltai_hub.backends.kubernetes.jobs import inner_job
from ltai_hub.backends.kubernetes.logs import LogKeeper
from ltai_hub.backends.kubernetes.names import INSTANCE, QUEUE_LABEL, SPREAD
from ltai_hub.backends.kubernetes.network import make_gang_policy
from ltai_hub.backends.kubernetes.observe import STOPPED
from ltai_hub.backends.kubernetes.queue import Queue, Standing, owner_of
from ltai_hub.backends.kubernetes.spread import (
    AWAY,
    FINALIZER,
    MOVED,
    NODES,
    PLACE,
    RECORD,
    Pair,
    Remote,
    Turn,
    annotations_of,
    are_open,
    away_name,
    is_told,
    lost_since,
    make_move,
    make_record,
    next_turn,
    observe_away,
    observe_here,
    read_record,
    say_lost,
)
from ltai_hub.backends.kubernetes.watch import Watches
from ltai_hub.domain.workloads import Phase
from ltai_hub.errors import Problem
from ltai_hub.settings import KubernetesSettings
from ltai_hub.units import utc_now

log = logging.getLogger("ltai.kubernetes")

JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
# a job has ended when its log is here too, if that comes in time
LOG_TIME = timedelta(seconds=60)


@dataclass
class Travels:
    """``home``: the platform's own cluster."""

    home: Cluster
    clusters: Clusters
    watches: Watches
    queue: Queue
    keeper: LogKeeper
    settings: KubernetesSettings
    _missing: dict[str, datetime] = field(default_factory=dict)

    async def observe(
        self,
        namespace: str,
        jobsets: Mapping[str, Object],
        pods: Mapping[str, Sequence[Object]],
        standings: Mapping[str, Standing],
        refused: Mapping[str, str],
    ) -> dict[str, Observed]:
        """``jobsets``: those that are asked about, by name; ``standings`` of those that wait here; ``refused`` as of ``observe_job``."""
        if not jobsets:
            return {}
        ours = {INSTANCE: self.settings.instance}
        known, listed, clusters = await asyncio.gather(
            self.watches.objects(JOBSET, namespace, ours),
            self.watches.objects(WORKLOAD, namespace, {}),
            self.watches.objects(MULTIKUEUE_CLUSTER, "", ours),
        )
        by_owner = {owner_of(workload): workload for workload in listed.values()}
        pairs = {name: make_pair(here, known.get(away_name(name)), by_owner) for name, here in jobsets.items()}
        gone = [pair for pair in pairs.values() if pair.place == AWAY and pair.away]
        far = await self._far(namespace, gone)
        waiting = await self.queue.standings(
            namespace, [uid_of(pair.away) for pair in gone if not pair.cluster], list(listed.values()), queue=SPREAD
        )
        seen = {}
        for name, pair in pairs.items():
            since = self.lost_since(clusters, pair.cluster)
            await self._take_turn(pair, clusters, since)
            if record := read_record(pair.here):
                seen[name] = record
            elif pair.place != AWAY:
                self.keeper.follow(name, pods.get(name, []))
                standing = standings.get(uid_of(pair.here), Standing())
                seen[name] = observe_here(pair, pods.get(name, []), standing, refused.get(inner_job(name), ""))
            else:
                seen[name] = await self._observe_away(name, pair, far, waiting.get(uid_of(pair.away), Standing("")), since)
        return seen

    def lost_since(self, clusters: Mapping[str, Object], name: str) -> datetime | None:
        """One that was taken out of the settings is lost from when this was seen first: else its jobs would run, and cost, for ever."""
        if not name or name in clusters:
            self._missing.pop(name, None)
            return lost_since(clusters, name)
        return self._missing.setdefault(name, utc_now())

    # ---- turns

    async def _take_turn(self, pair: Pair, clusters: Mapping[str, Object], since: datetime | None) -> None:
        now = utc_now()
        turn = next_turn(pair, now, are_open(clusters, self.settings), since, self.settings)
        if turn is Turn.NOTHING:
            return
        try:
            await self._do(turn, pair, since, now)
            log.info("job %s: %s", pair.here["metadata"]["name"], turn)
        except Problem as problem:  # another process was first, or something changed meanwhile: it is looked at again
            log.info("job %s: %s did not work: %s", pair.here["metadata"]["name"], turn, problem.message)

    async def _do(self, turn: Turn, pair: Pair, since: datetime | None, now: datetime) -> None:
        match turn:
            case Turn.LEAVE:
                await self._activate(pair.here_workload, False)
                await self._note(pair, {PLACE: AWAY})
            case Turn.CLOSE_HERE:
                await self._activate(pair.here_workload, False)
            case Turn.WAIT_HERE:
                await self._activate(pair.here_workload, True)
            case Turn.STAY:
                await self._note(pair, {PLACE: None})
            case Turn.OPEN_AWAY:
                await self._open(pair.away or {})
            case Turn.WAIT_AWAY:
                await self._activate(pair.away_workload, True)
            case Turn.CLOSE_AWAY:
                await self._activate(pair.away_workload, False)
            case Turn.RETURN:
                await self._note(pair, {PLACE: None, **({MOVED: make_move(since, now)} if since else {})})
            case Turn.FAIL:
                await self._fail(pair, since or now)

    async def _activate(self, workload: Object | None, active: bool) -> None:
        """Only as it was seen: one that was admitted meanwhile is left alone."""
        metadata = (workload or {})["metadata"]
        change = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"active": active}}
        await self.home.patch(WORKLOAD, metadata["namespace"], metadata["name"], change)

    async def _note(self, pair: Pair, notes: Mapping[str, str | None]) -> None:
        metadata = pair.here["metadata"]
        await self.home.patch(JOBSET, metadata["namespace"], metadata["name"], {"metadata": {"annotations": dict(notes)}})

    async def _open(self, away: Object) -> None:
        metadata = away["metadata"]
        await self.home.patch(JOBSET, metadata["namespace"], metadata["name"], {"metadata": {"labels": {QUEUE_LABEL: SPREAD}}})

    async def _fail(self, pair: Pair, since: datetime) -> None:
        """Kueue ends it in that cluster when it answers again; the note comes last, so that a crash leaves nothing running."""
        await self._activate(pair.away_workload, False)
        reason = f"{say_lost(self.clusters.named(pair.cluster), since)}; its jobs have failed"
        await self._note(pair, {RECORD: make_record(Observed(Phase.FAILED, reason, ended_at=since))})

    # ---- far away

    async def _far(self, namespace: str, pairs: Sequence[Pair]) -> dict[str, dict[str, Remote]]:
        """Cluster → name of ``away`` → what is there of it; without a cluster that does not tell."""
        if not pairs:
            return {}
        looks = await asyncio.gather(*(self._look(name, namespace) for name in self.clusters.names))
        return {name: look for name, look in zip(self.clusters.names, looks, strict=True) if look is not None}

    async def _look(self, cluster: str, namespace: str) -> dict[str, Remote] | None:
        jobsets, pods = await asyncio.gather(*(self.clusters.objects(cluster, one, namespace) for one in (JOBSET, POD)))
        if jobsets is None or pods is None:
            return None
        of: dict[str, list[Object]] = {name: [] for name in jobsets}
        for pod in pods.values():
            if owner := pod["metadata"].get("labels", {}).get(JOBSET_NAME):
                of.setdefault(owner, []).append(pod)
        return {name: Remote(jobsets.get(name), those) for name, those in of.items()}

    async def _observe_away(
        self, name: str, pair: Pair, far: Mapping[str, Mapping[str, Remote]], standing: Standing, since: datetime | None
    ) -> Observed:
        away = away_name(name)
        cluster = self.clusters.named(pair.cluster)
        if not cluster:  # it may still be ending where it was
            cluster = next((one for one, there in far.items() if away in there), "")
        remote = far.get(cluster, {}).get(away, Remote(known=not cluster or cluster in far))
        where = self.clusters.cluster(cluster)
        if where is not None and remote.pods and since is None:
            self.keeper.follow(name, remote.pods, where)
        seen = observe_away(pair, remote, standing, self.clusters.named(pair.cluster), since)
        if seen.phase in (Phase.SUCCEEDED, Phase.FAILED):
            if self._is_to_come(name, remote, seen):
                return Observed(Phase.RUNNING, f"in cluster {cluster}", None, seen.started_at)
            try:
                await self._note(pair, {RECORD: make_record(seen)})
            except Problem as problem:
                log.warning("the end of %s is noted in a moment: %s", name, problem.message)
                return Observed(Phase.RUNNING, f"in cluster {cluster}", None, seen.started_at)
            pair = Pair(
                {**pair.here, "metadata": {**pair.here["metadata"], "annotations": {**annotations_of(pair.here), RECORD: "noted"}}},
                pair.away,
            )
        if where is not None and remote.jobset is not None and since is None:
            await self._keep_or_let_go(where, remote.jobset, pair)
        return seen

    def _is_to_come(self, name: str, remote: Remote, seen: Observed) -> bool:
        recent = seen.ended_at is not None and utc_now() - seen.ended_at < LOG_TIME
        return recent and remote.known and not self.keeper.has_all(name, remote.pods)

    async def _keep_or_let_go(self, cluster: Cluster, jobset: Object, pair: Pair) -> None:
        held = FINALIZER in jobset["metadata"].get("finalizers", [])
        told = is_told(jobset, pair) or STOPPED in annotations_of(pair.here)
        try:
            if held and told:
                await release(cluster, jobset)
            elif not held and not told and "deletionTimestamp" not in jobset["metadata"]:
                await hold(cluster, jobset)
                if int(annotations_of(jobset).get(NODES, "1")) > 1:
                    await cluster.ensure(NETWORK_POLICY, make_gang_policy(jobset))
        except Problem as problem:
            log.info("%s is looked at again: %s", jobset["metadata"]["name"], problem.message)


def make_pair(here: Object, away: Object | None, by_owner: Mapping[str, Object]) -> Pair:
    return Pair(here, away, by_owner.get(uid_of(here)), by_owner.get(uid_of(away)) if away else None)


def uid_of(found: Object | None) -> str:
    return str(found["metadata"]["uid"]) if found else ""
