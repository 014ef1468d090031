"""A job that may run in any of several clusters: two JobSets, of which one has its turn. Pure.

``here`` is an ordinary JobSet of the tenant's queue and carries all that is noted of the job. ``away`` belongs to it and lies without
a queue until its turn: then Kueue hands it to another cluster that has room (MultiKueue) and copies its status back. Whose turn it is
stands on ``here``; a Workload that is not active keeps the other out of its queue. Each step here can be cut off by a crash and is
found again by looking.

::

    here, in the queue ── no room for PATIENCE ──► away, in the queue ──► away, in cluster X
        ▲                                                                     │ X lost for so long
        └───────────────────────────── "move" ◄───────────────────────────────┴──► "fail": it has failed
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ltai_hub.backends.base import Observed
from ltai_hub.backends.kubernetes.api import JOBSET, Object
from ltai_hub.backends.kubernetes.jobs import LONGEST, job_name, make_jobset
from ltai_hub.backends.kubernetes.multikueue import CONTROLLER
from ltai_hub.backends.kubernetes.names import DOMAIN, QUEUE_LABEL, cluster_name, dns_name
from ltai_hub.backends.kubernetes.observe import STOPPED, VANISHED, ended_at, is_alive, observe_job, started_at
from ltai_hub.backends.kubernetes.pods import Blueprint
from ltai_hub.backends.kubernetes.queue import Standing, conditions_of, is_pending, waits_since
from ltai_hub.backends.kubernetes.times import earliest, latest, moment
from ltai_hub.domain.workloads import Phase
from ltai_hub.settings import KubernetesSettings

# on ``here``: whose turn it is; how it ended, in JSON; when a cluster was lost under it and since when it is here again
PLACE, RECORD, MOVED = f"{DOMAIN}/place", f"{DOMAIN}/record", f"{DOMAIN}/moved"
# on ``away`` and so on its likeness in the other cluster
NODES = f"{DOMAIN}/nodes"
# keeps the likeness from being removed before its pods have told how they ended
FINALIZER = f"{DOMAIN}/told"
AWAY = "away"
# so long the tenant's queue is given to find room here
PATIENCE = timedelta(seconds=3)
ELSEWHERE = "waiting for room in another cluster"


class Turn(StrEnum):
    """What is to be done about where a job is."""

    NOTHING = "nothing"
    WAIT_HERE = "wait here"
    LEAVE = "leave"
    STAY = "stay"
    CLOSE_HERE = "close here"
    OPEN_AWAY = "open away"
    WAIT_AWAY = "wait away"
    CLOSE_AWAY = "close away"
    RETURN = "return"
    FAIL = "fail"


@dataclass(frozen=True)
class Pair:
    """With Kueue's Workload of each, where there is one."""

    here: Object
    away: Object | None
    here_workload: Object | None = None
    away_workload: Object | None = None

    @property
    def place(self) -> str:
        return str(annotations_of(self.here).get(PLACE, ""))

    @property
    def is_over(self) -> bool:
        """Nothing moves it any more."""
        notes = annotations_of(self.here)
        return STOPPED in notes or RECORD in notes or bool(self.here.get("status", {}).get("terminalState"))

    @property
    def cluster(self) -> str:
        """Kueue's name of the cluster it was handed to."""
        return str((self.away_workload or {}).get("status", {}).get("clusterName", "")) if self.place == AWAY else ""


@dataclass(frozen=True)
class Remote:
    """What is seen of ``away`` in other clusters: its likeness and its pods. ``known``: whether the cluster it is in answers us."""

    jobset: Object | None = None
    pods: Sequence[Object] = ()
    known: bool = True


def away_name(name: str) -> str:
    return dns_name(f"{name}-{AWAY}", LONGEST)


def make_away(plan: Blueprint, here: Object) -> Object:
    """Held back: it has no queue yet. It goes with ``here``."""
    there = replace(plan, workload=replace(plan.workload, env={**plan.workload.env, **plan.workload.env_elsewhere}))
    body = make_jobset(there, away_name(job_name(plan.workload.name)))
    del body["metadata"]["labels"][QUEUE_LABEL]
    body["metadata"]["annotations"] = {NODES: str(plan.workload.replicas)}
    owner = {"apiVersion": JOBSET.api_version, "kind": JOBSET.kind, "name": here["metadata"]["name"], "uid": here["metadata"]["uid"]}
    body["metadata"]["ownerReferences"] = [owner]
    body["spec"]["managedBy"] = CONTROLLER
    return body


# ---- whose turn


def next_turn(pair: Pair, now: datetime, open_clusters: bool, lost_since: datetime | None, settings: KubernetesSettings) -> Turn:
    """``open_clusters``: whether any other cluster answers Kueue; ``lost_since`` when the one it is in ceased to."""
    if pair.is_over or pair.away is None or "deletionTimestamp" in pair.here["metadata"]:
        return Turn.NOTHING
    if pair.place != AWAY:
        return _turn_here(pair, now, open_clusters)
    idle = not pair.cluster and not open_clusters
    return _turn_away(pair, idle or is_lost(lost_since, now, settings), settings)


def _turn_here(pair: Pair, now: datetime, open_clusters: bool) -> Turn:
    if is_active(pair.away_workload):
        return Turn.CLOSE_AWAY
    if pair.here_workload is None:
        return Turn.NOTHING
    if not is_active(pair.here_workload):
        return Turn.WAIT_HERE
    since = moment(waits_since(pair.here_workload))
    waits = pair.here["spec"].get("suspend") and is_pending(pair.here_workload) and since is not None and now - since >= PATIENCE
    return Turn.LEAVE if waits and open_clusters else Turn.NOTHING


def is_lost(since: datetime | None, now: datetime, settings: KubernetesSettings) -> bool:
    return since is not None and now - since >= timedelta(seconds=settings.lost_seconds)


def _turn_away(pair: Pair, in_vain: bool, settings: KubernetesSettings) -> Turn:
    """``in_vain``: the cluster it is in is lost, or there is none to go to."""
    assert pair.away is not None
    if is_active(pair.here_workload):
        return Turn.CLOSE_HERE if pair.here["spec"].get("suspend") and is_pending(pair.here_workload or {}) else Turn.STAY
    if QUEUE_LABEL not in pair.away["metadata"].get("labels", {}):
        return Turn.OPEN_AWAY
    if pair.away_workload is not None and not is_active(pair.away_workload):
        return Turn.WAIT_AWAY
    if not in_vain or pair.away.get("status", {}).get("terminalState"):
        return Turn.NOTHING
    return Turn.FAIL if pair.cluster and settings.lost_jobs == "fail" else Turn.RETURN


def is_active(workload: Object | None) -> bool:
    return workload is not None and bool(workload["spec"].get("active", True))


# ---- clusters


def lost_since(clusters: Mapping[str, Object], name: str) -> datetime | None:
    """Since when Kueue has not been able to reach it; ``clusters`` are MultiKueueClusters by name."""
    if not name or name not in clusters:
        return None
    active = conditions_of(clusters[name]).get("Active", {})
    return moment(active.get("lastTransitionTime")) if active.get("status") == "False" else None


def are_open(clusters: Mapping[str, Object], settings: KubernetesSettings) -> bool:
    ours = [clusters[name] for name in (cluster_name(settings.instance, one) for one in settings.clusters) if name in clusters]
    return any(conditions_of(one).get("Active", {}).get("status") == "True" for one in ours)


def say_lost(cluster: str, since: datetime) -> str:
    return f"cluster {cluster} does not answer since {since:%Y-%m-%d %H:%M:%S} UTC"


# ---- how it is


def observe_here(pair: Pair, pods: Sequence[Object], standing: Standing, refused: str = "") -> Observed:
    """While its turn is here. What ran in a lost cluster before ended when that was lost, and nothing is counted twice."""
    seen = observe_job(pair.here, pods, standing, refused=refused)
    lost, _ = moved(pair)
    return replace(seen, ended_at=lost) if seen.phase is Phase.QUEUED and seen.ended_at is None else seen


def moved(pair: Pair) -> tuple[datetime | None, datetime | None]:
    """Since when the cluster was lost under it, and when it was given up for that; the latest time."""
    lost, _, given_up = annotations_of(pair.here).get(MOVED, "").partition(" ")
    return moment(lost), moment(given_up)


def observe_away(pair: Pair, remote: Remote, standing: Standing, cluster: str, since: datetime | None) -> Observed:
    """``cluster`` as people know it, "" while it is in none; ``since`` it is lost."""
    if pair.away is None:
        return VANISHED
    if stopped := moment(annotations_of(pair.here).get(STOPPED)):
        return _observe_stopped(pair, remote, stopped, since)
    terminal = pair.away.get("status", {}).get("terminalState")
    if not cluster and not terminal:
        reason = f"{ELSEWHERE}: {standing.reason}" if standing.reason else ELSEWHERE
        return Observed(Phase.QUEUED, reason, ended_at=standing.evicted_at, position=standing.position)
    if terminal:
        return counted_once(pair, _with_start(pair, remote, observe_job(_with_status(remote.jobset, pair.away), remote.pods, standing)))
    if since is not None:
        return _as_it_was(pair, remote, say_lost(cluster, since))
    if not remote.known or remote.jobset is None:
        return _as_it_was(pair, remote, "" if remote.known else f"cluster {cluster} does not tell how it is")
    seen = observe_job(remote.jobset, remote.pods, Standing(f"beginning in cluster {cluster}"))
    if seen.phase in (Phase.QUEUED, Phase.GONE):
        return Observed(Phase.STARTING, seen.reason)
    return counted_once(pair, replace(seen, reason=f"in cluster {cluster}") if seen.phase is Phase.RUNNING else seen)


def _with_start(pair: Pair, remote: Remote, seen: Observed) -> Observed:
    """Of one whose pods nobody saw, because the platform was away all the while: since it was admitted."""
    if remote.pods or seen.started_at:
        return seen
    admitted = conditions_of(pair.away_workload or {}).get("Admitted", {})
    began = moment(admitted.get("lastTransitionTime")) if admitted.get("status") == "True" else None
    return replace(seen, started_at=earliest(began, seen.ended_at)) if began else seen


def counted_once(pair: Pair, seen: Observed) -> Observed:
    """The cluster it was given up in answers again and runs it still: what it ran until it was found again is nobody's."""
    _, given_up = moved(pair)
    return replace(seen, started_at=latest(seen.started_at, given_up)) if seen.started_at else seen


def _observe_stopped(pair: Pair, remote: Remote, stopped: datetime, since: datetime | None) -> Observed:
    """One that is in a lost cluster is over for us: Kueue ends it there as soon as that answers again."""
    if since is None and any(is_alive(pod) for pod in remote.pods):
        seen = observe_job(remote.jobset or pair.away, remote.pods, Standing())
        return replace(seen, phase=Phase.RUNNING) if seen.started_at else Observed(Phase.STARTING, "stopping")
    ended = observe_job(_stopped_likeness(pair, stopped), [pod for pod in remote.pods if not is_alive(pod)], Standing())
    return replace(ended, ended_at=since) if since else ended


def _stopped_likeness(pair: Pair, stopped: datetime) -> Object:
    return {"metadata": {"annotations": {STOPPED: stopped.isoformat()}}, "spec": {}, "status": {}}


def _with_status(jobset: Object | None, away: Object) -> Object:
    """The status Kueue brought home, where the likeness is gone or behind."""
    if jobset is not None and jobset.get("status", {}).get("terminalState"):
        return {**jobset, "metadata": {name: value for name, value in jobset["metadata"].items() if name != "deletionTimestamp"}}
    return away


def _as_it_was(pair: Pair, remote: Remote, reason: str) -> Observed:
    """By what was seen last: its pods, or the status that Kueue brought home."""
    started = earliest(*(started_at(pod) for pod in remote.pods))
    replicated = (pair.away or {}).get("status", {}).get("replicatedJobsStatus", [])
    begun = started or any(one.get(name, 0) for one in replicated for name in ("active", "ready", "succeeded"))
    return counted_once(pair, Observed(Phase.RUNNING if begun else Phase.STARTING, reason, None, started))


# ---- what is noted


def annotations_of(jobset: Object) -> Mapping[str, str]:
    notes: Mapping[str, str] = jobset["metadata"].get("annotations") or {}
    return notes


def make_record(seen: Observed) -> str:
    times = {"started_at": seen.started_at, "ended_at": seen.ended_at}
    said = {name: at.isoformat() if at else None for name, at in times.items()}
    return json.dumps({"phase": seen.phase.value, "reason": seen.reason, "exit_code": seen.exit_code, **said})


def read_record(jobset: Object) -> Observed | None:
    text = annotations_of(jobset).get(RECORD)
    if not text:
        return None
    kept: dict[str, Any] = json.loads(text)
    return Observed(Phase(kept["phase"]), kept["reason"], kept["exit_code"], moment(kept["started_at"]), moment(kept["ended_at"]))


def make_move(lost: datetime, now: datetime) -> str:
    return f"{lost.isoformat()} {now.isoformat(timespec='seconds')}"


def over_since(jobset: Object) -> datetime | None:
    """When it ended elsewhere; the cluster removes only what ended here."""
    seen = read_record(jobset)
    return seen.ended_at if seen else None


def is_told(remote: Object, pair: Pair | None) -> bool:
    """Whether the likeness in another cluster may go: its end is noted at home, or nobody waits for it to end by itself."""
    if pair is None or RECORD in annotations_of(pair.here):
        return True
    going = "deletionTimestamp" in remote["metadata"]
    return going and not remote.get("status", {}).get("terminalState")


def all_ended(pods: Sequence[Object]) -> bool:
    return not any(is_alive(pod) for pod in pods) and latest(*(ended_at(pod) for pod in pods)) is not None
