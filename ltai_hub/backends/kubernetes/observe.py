"""Objects of the cluster → what the seam says of a workload. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ltai_hub.backends.base import Observed
from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.pods import MAIN
from ltai_hub.backends.kubernetes.queue import WAITS, Standing
from ltai_hub.backends.kubernetes.times import earliest, latest, moment
from ltai_hub.domain.workloads import Phase
from ltai_hub.units import format_bytes, parse_bytes

STOPPED = "ltai.dev/stopped"
# a replica of an endpoint that failed so often is not going to answer
MOST_RESTARTS = 3
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
VANISHED = Observed(Phase.GONE, "the cluster knows nothing of it any more")


# ---- jobs


def observe_job(jobset: Object | None, pods: Sequence[Object], standing: Standing) -> Observed:
    if jobset is None or "deletionTimestamp" in jobset["metadata"]:
        return VANISHED
    started = earliest(*(started_at(pod) for pod in pods))
    terminal = jobset.get("status", {}).get("terminalState")
    stopped = moment(jobset["metadata"].get("annotations", {}).get(STOPPED))
    if terminal == "Completed":
        return Observed(Phase.SUCCEEDED, "", 0, started, _job_end(jobset, pods))
    if stopped and (terminal or not any(is_alive(pod) for pod in pods)):
        return Observed(Phase.FAILED, "stopped", 143, started, latest(stopped, *(ended_at(pod) for pod in pods)))
    if terminal:
        code, reason = why_failed(pods)
        return Observed(Phase.FAILED, reason or job_reason(jobset), code, started, _job_end(jobset, pods))
    if jobset["spec"].get("suspend"):
        return Observed(Phase.QUEUED, standing.reason, None, None, standing.evicted_at, position=standing.position)
    if started is None:
        return Observed(Phase.STARTING, why_not_started(pods))
    return Observed(Phase.RUNNING, "", None, started)


def _job_end(jobset: Object, pods: Sequence[Object]) -> datetime | None:
    conditions = jobset.get("status", {}).get("conditions", [])
    said = [moment(c["lastTransitionTime"]) for c in conditions if c["type"] in ("Completed", "Failed") and c["status"] == "True"]
    return latest(*(ended_at(pod) for pod in pods)) or latest(*said)


def job_reason(jobset: Object) -> str:
    """Said by JobSet itself, when no pod is left to tell."""
    failed = [c for c in jobset.get("status", {}).get("conditions", []) if c["type"] == "Failed"]
    return str(failed[0].get("message", "")) if failed else ""


# ---- endpoints


def observe_endpoint(deployment: Object | None, pods: Sequence[Object], standing: Standing, address: str) -> Observed:
    if deployment is None or "deletionTimestamp" in deployment["metadata"]:
        return VANISHED
    status = deployment.get("status", {})
    started = earliest(*(started_at(pod) for pod in pods))
    stopped = moment(deployment["metadata"].get("annotations", {}).get(STOPPED))
    if stopped:
        if any(is_alive(pod) for pod in pods):
            return Observed(Phase.RUNNING, "stopping", None, started)
        return Observed(Phase.FAILED, "stopped", 143, started, latest(stopped, *(ended_at(pod) for pod in pods)))
    if status.get("availableReplicas", 0):
        addresses = (address,) if address else ()
        return Observed(Phase.RUNNING, why_not_started(pods), None, started, addresses=addresses, ready=ready_replicas(deployment))
    if pods and all(is_gated(pod) for pod in pods):
        return Observed(Phase.QUEUED, standing.reason, position=standing.position)
    if any(restarts(pod) >= MOST_RESTARTS for pod in pods):
        code, reason = why_failed(pods)
        return Observed(Phase.FAILED, reason, code, started, latest(*(ended_at(pod) for pod in pods)))
    return Observed(Phase.STARTING, why_not_started(pods), None, started)


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
    return pod.get("status", {}).get("phase") in ("Pending", "Running", "Unknown")


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
