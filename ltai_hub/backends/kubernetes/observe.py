"""Objects of the cluster → what the seam says of a workload. Pure, where the time is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ltai_hub.backends.base import Observed
from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.pods import MAIN
from ltai_hub.backends.kubernetes.queue import WAITS, Standing
from ltai_hub.backends.kubernetes.times import earliest, latest, moment
from ltai_hub.domain.workloads import Phase
from ltai_hub.units import format_bytes, parse_bytes, utc_now

STOPPED = "ltai.dev/stopped"
# a replica of an endpoint that failed so often is not going to answer
MOST_RESTARTS = 3
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
# after its grace a pod is gone within a moment, unless nobody is there to end it
LOST_AFTER = timedelta(seconds=30)
# an admitted job has pods within a moment, unless the cluster refuses to make them
PODS_AFTER = timedelta(seconds=5)
NOT_MADE = "the cluster does not make its pod: "
NODE_LOST = "its node does not answer any more; it begins again on another one as soon as the cluster has given that node up"
VANISHED = Observed(Phase.GONE, "the cluster knows nothing of it any more")


# ---- jobs


def observe_job(
    jobset: Object | None, pods: Sequence[Object], standing: Standing, now: datetime | None = None, refused: str = ""
) -> Observed:
    """``refused``: why the cluster does not even make its pods."""
    if jobset is None or "deletionTimestamp" in jobset["metadata"]:
        return VANISHED
    lost = [at for pod in pods if (at := lost_since(pod, now or utc_now()))]
    started = earliest(*(started_at(pod) for pod in pods if is_alive(pod) or terminated(pod)))
    terminal = jobset.get("status", {}).get("terminalState")
    stopped = moment(jobset["metadata"].get("annotations", {}).get(STOPPED))
    if terminal == "Completed":
        return Observed(Phase.SUCCEEDED, "", 0, started, _job_end(jobset, pods))
    if stopped and lost:
        return Observed(Phase.FAILED, "stopped", 143, started, min(lost))
    if stopped and (terminal or not any(is_alive(pod) for pod in pods)):
        return Observed(Phase.FAILED, "stopped", 143, started, latest(stopped, *(ended_at(pod) for pod in pods)))
    if terminal:
        code, reason = why_failed(pods)
        return Observed(Phase.FAILED, reason or job_reason(jobset), code, started, _job_end(jobset, pods))
    if jobset["spec"].get("suspend"):
        return Observed(Phase.QUEUED, standing.reason, None, None, standing.evicted_at, position=standing.position)
    if lost:
        # the others of a gang cannot go on without it
        return Observed(Phase.STARTING, NODE_LOST, None, None, min(lost))
    if started is None:
        return Observed(Phase.STARTING, why_not_started(pods) or refused)
    return Observed(Phase.RUNNING, "", None, started)


def is_without_pods(jobset: Object, pods: Sequence[Object], now: datetime) -> bool:
    """Though it has had its turn for a while."""
    if pods or jobset["spec"].get("suspend") or jobset.get("status", {}).get("terminalState"):
        return False
    resumed = [c for c in jobset.get("status", {}).get("conditions", []) if c["type"] == "Suspended" and c["status"] == "False"]
    began = moment(resumed[0].get("lastTransitionTime") if resumed else jobset["metadata"]["creationTimestamp"])
    return began is not None and now - began > PODS_AFTER


def refusals(events: Iterable[Object]) -> dict[str, str]:
    """Owner of pods that the cluster refused to make → why."""
    return {event["involvedObject"]["name"]: NOT_MADE + str(event.get("message", "")) for event in events}


def _job_end(jobset: Object, pods: Sequence[Object]) -> datetime | None:
    conditions = jobset.get("status", {}).get("conditions", [])
    said = [moment(c["lastTransitionTime"]) for c in conditions if c["type"] in ("Completed", "Failed") and c["status"] == "True"]
    return latest(*(ended_at(pod) or _given_up_at(pod) for pod in pods)) or latest(*said)


def _given_up_at(pod: Object) -> datetime | None:
    """Of one that the cluster has written off with its node: when it last heard of it."""
    return None if is_alive(pod) else since(pod, "Ready", "False")


def job_reason(jobset: Object) -> str:
    """Said by JobSet itself, when no pod is left to tell."""
    failed = [c for c in jobset.get("status", {}).get("conditions", []) if c["type"] == "Failed"]
    return str(failed[0].get("message", "")) if failed else ""


# ---- endpoints


def observe_endpoint(
    deployment: Object | None, pods: Sequence[Object], standing: Standing, address: str, now: datetime | None = None
) -> Observed:
    if deployment is None or "deletionTimestamp" in deployment["metadata"]:
        return VANISHED
    status = deployment.get("status", {})
    started = earliest(*(started_at(pod) for pod in pods))
    stopped = moment(deployment["metadata"].get("annotations", {}).get(STOPPED))
    if stopped:
        lost = [lost_since(pod, now or utc_now()) for pod in pods]
        if any(is_alive(pod) and not at for pod, at in zip(pods, lost, strict=True)):
            return Observed(Phase.RUNNING, "stopping", None, started)
        return Observed(Phase.FAILED, "stopped", 143, started, latest(stopped, *lost, *(ended_at(pod) for pod in pods)))
    if status.get("availableReplicas", 0):
        addresses = (address,) if address else ()
        return Observed(Phase.RUNNING, why_not_started(pods), None, started, addresses=addresses, ready=ready_replicas(deployment))
    silent = since(deployment, "Available", "False")
    if pods and all(is_gated(pod) for pod in pods):
        return Observed(Phase.QUEUED, standing.reason, ended_at=silent, position=standing.position)
    if any(restarts(pod) >= MOST_RESTARTS for pod in pods):
        code, reason = why_failed(pods)
        return Observed(Phase.FAILED, reason, code, started, latest(*(ended_at(pod) for pod in pods)))
    return Observed(Phase.STARTING, why_not_started(pods) or _refusal(deployment), None, started, silent)


def _refusal(deployment: Object) -> str:
    conditions = deployment.get("status", {}).get("conditions", [])
    return next((NOT_MADE + str(c.get("message", "")) for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True"), "")


def ready_replicas(deployment: Object) -> int:
    """Those of the newest contents; older ones are kept until a new one takes their place, and answer all the while."""
    status = deployment["status"]
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return 0
    older = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return max(int(status.get("availableReplicas", 0) - older), 0)


# ---- pods


def main_status(pod: Object) -> Object:
    statuses: list[Object] = pod.get("status", {}).get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == MAIN), {})


def _states(pod: Object) -> Iterable[Object]:
    status = main_status(pod)
    for name in ("state", "lastState"):
        yield from (value for value in (status.get(name) or {}).values() if value)


def started_at(pod: Object) -> datetime | None:
    return earliest(*(moment(state.get("startedAt")) for state in _states(pod)))


def ended_at(pod: Object) -> datetime | None:
    return latest(*(moment(state.get("finishedAt")) for state in _states(pod)))


def terminated(pod: Object) -> Object:
    """The newest end of the main container; empty while it has had none."""
    found = [state for state in _states(pod) if "exitCode" in state]
    return found[0] if found else {}


def restarts(pod: Object) -> int:
    return int(main_status(pod).get("restartCount", 0))


def is_alive(pod: Object) -> bool:
    """One that was deleted before it had its turn stays until Kueue removes its finalizer, and never runs."""
    never_runs = is_gated(pod) and "deletionTimestamp" in pod["metadata"]
    return pod.get("status", {}).get("phase") in ("Pending", "Running", "Unknown") and not never_runs


def lost_since(pod: Object, now: datetime) -> datetime | None:
    """When its node stopped answering, of one that should have ended long ago and is there still."""
    leaves = moment(pod["metadata"].get("deletionTimestamp"))
    if leaves is None or now - leaves <= LOST_AFTER or not is_alive(pod):
        return None
    return earliest(since(pod, "Ready", "False"), leaves)


def since(found: Object, kind: str, status: str) -> datetime | None:
    """Since when the condition has had that status; None when it has another one now."""
    fitting = [c for c in found.get("status", {}).get("conditions", []) if c["type"] == kind and c["status"] == status]
    return moment(fitting[0].get("lastTransitionTime")) if fitting else None


def is_gated(pod: Object) -> bool:
    return bool(pod.get("spec", {}).get("schedulingGates"))


def why_failed(pods: Sequence[Object]) -> tuple[int | None, str]:
    """Exit code and sentence of the replica that failed first; the others were ended because of it."""
    failed = [(ended_at(pod), pod) for pod in pods if terminated(pod).get("exitCode") or disruption(pod)]
    failed.sort(key=lambda pair: pair[0].timestamp() if pair[0] else 0.0)
    if not failed:
        return None, ""
    pod = failed[0][1]
    end = terminated(pod)
    code = end.get("exitCode")
    if end.get("reason") == "OOMKilled":
        return code, f"killed: over its memory limit of {format_bytes(memory_limit(pod))}"
    if said := disruption(pod):
        return code, said
    return code, f"exit code {code}"


def disruption(pod: Object) -> str:
    """Ended by the cluster, not by itself: preempted, drained, evicted, its node lost."""
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return f"ended by its node: {status.get('message', '')}".rstrip(": ")
    found = [c for c in status.get("conditions", []) if c["type"] == "DisruptionTarget" and c["status"] == "True"]
    return f"ended by the cluster: {found[0].get('message') or found[0].get('reason', '')}" if found else ""


def memory_limit(pod: Object) -> int:
    main: Object = next((c for c in pod["spec"]["containers"] if c["name"] == MAIN), {})
    amount: Any = main.get("resources", {}).get("limits", {}).get("memory", "0")
    return parse_bytes(amount)


def why_not_started(pods: Sequence[Object]) -> str:
    """The first thing that holds one up, in a sentence; "" when they are simply on their way."""
    return next((why for pod in pods if (why := _holds_up(pod))), "")


def _holds_up(pod: Object) -> str:
    if is_gated(pod):
        return WAITS
    statuses = [*pod.get("status", {}).get("initContainerStatuses", []), *pod.get("status", {}).get("containerStatuses", [])]
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in NO_IMAGE:
            return f"the image {status['image']} cannot be pulled: {waiting.get('message', waiting['reason'])}"
        if waiting.get("reason") == "CrashLoopBackOff":
            return f"it ended again and again: {why_failed([pod])[1]}"
        if waiting.get("reason") in ("CreateContainerError", "CreateContainerConfigError", "RunContainerError"):
            return f"the node cannot start it: {waiting.get('message', waiting['reason'])}"
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"no node has room for it now: {condition.get('message', '')}"
    return ""
