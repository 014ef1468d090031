"""An environment's pod → what it does, why it does not, and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.observe import ended_at, lost_since, main_status, since, terminated, why_failed, why_not_started
from ltai_hub.backends.kubernetes.times import earliest, moment
from ltai_hub.hub.mixin import Seen
from ltai_hub.hub.podwatch import Gone
from ltai_hub.hub.progress import Step

AGAIN = "your environment was stopped to make room; start it again and it waits its turn"
# how Kueue says it → how people do
PREEMPTED = {
    "reclamation within the cohort": f"another class needed its guaranteed share back: {AGAIN}",
    "prioritization in the ClusterQueue": f"something more urgent of the same class needed its place: {AGAIN}",
    "Fair Sharing": f"others have less than their fair share: {AGAIN}",
}
DELETED = "its pod was deleted in the cluster; start it again"
NODE_LOST = "its node does not answer any more; start it again"
VANISHED = "its pod was gone when the platform looked again; start it again"
# trying again cannot help: there is no such image, or we may not have it
NO_SUCH_IMAGE = ("not found", "manifest unknown", "does not exist", "denied", "unauthorized", "forbidden", "invalid reference")
WRONG_IMAGE = ("InvalidImageName", "ErrImageNeverPull")
LONGEST = 300


# ---- while it starts


def address_of(pod: Object) -> str:
    """ "" until its main container runs."""
    status = pod.get("status", {})
    return str(status.get("podIP", "")) if "running" in (main_status(pod).get("state") or {}) else ""


def env_of(pod: Object, name: str) -> str:
    variables = pod["spec"]["containers"][0].get("env", [])
    return next((str(variable.get("value", "")) for variable in variables if variable["name"] == name), "")


def why_hopeless(pod: Object) -> str:
    """Why it can never start; "" while it may."""
    for state in _waiting(pod):
        reason, said = state.get("reason", ""), state.get("message", "")
        if reason in WRONG_IMAGE or ("ImagePull" in reason and any(words in said for words in NO_SUCH_IMAGE)):
            return f"the image {_image(pod)} does not exist or may not be pulled; ask who looks after the catalogue"
    return ""


def what_fails(pod: Object) -> str:
    """What its node tries in vain, and tries again; "" when nothing."""
    return _short(why_not_started([pod])) if pod["spec"].get("nodeName") and _waiting(pod) else ""


def step_of(pod: Object, events: Sequence[Object]) -> Step:
    """``events`` of this pod, oldest first."""
    if not pod["spec"].get("nodeName"):
        refused = [c for c in _conditions(pod) if c["type"] == "PodScheduled" and c.get("reason") == "Unschedulable"]
        if not refused:
            return Step("placing", 15, "Looking for a node")
        return Step("unschedulable", 15, "Waiting for a node with room", detail=_short(refused[0].get("message", "")))
    if any("running" in (status.get("state") or {}) for status in pod.get("status", {}).get("initContainerStatuses", [])):
        return Step("copying", 50, "Copying the course files")
    if why := why_not_started([pod]):
        return Step("pulling", 30, "Loading the image onto the node", detail=_short(why))
    reasons = [event.get("reason") for event in events]
    if "Pulling" in reasons and "Pulled" not in reasons[reasons.index("Pulling") :]:
        return Step("pulling", 30, "Loading the image onto the node", detail=_image(pod))
    failed = [event for event in events if event.get("type") == "Warning" and str(event.get("reason", "")).startswith("Failed")]
    detail = _short(failed[-1].get("message", "")) if failed else ""
    return Step("preparing", 40, "Preparing storage and network", detail=detail)


# ---- its end


def seen_of(pod: Object, now: datetime) -> Seen:
    """Of one that is there."""
    if has_ended(pod):
        return _ended(pod, ended_at(pod) or _failed_at(pod))
    if lost := lost_since(pod, now):
        return Seen(1, NODE_LOST, lost)
    return Seen(None)


def seen_of_gone(gone: Gone) -> Seen:
    leaves = moment(gone.pod["metadata"].get("deletionTimestamp"))
    return _ended(gone.pod, ended_at(gone.pod) or earliest(leaves, gone.at))


def seen_of_events(events: Sequence[Object]) -> Seen:
    """Of one that ended while nobody looked: what the cluster still tells of it, oldest first."""
    for event in reversed(events):
        if why := plain(event.get("message", "")):
            return Seen(0, why, _time_of(event))
    killed = [event for event in events if event.get("reason") in ("Killing", "TaintManagerEviction", "Evicted", "Preempted")]
    return Seen(0, DELETED, _time_of(killed[-1])) if killed else Seen(1, VANISHED)


def has_ended(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or "terminated" in (main_status(pod).get("state") or {})


def is_leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"] or any(_is_target(condition) for condition in _conditions(pod))


def why_it_leaves(pod: Object) -> str:
    """Ended by the cluster, not by itself; "" when nothing says so."""
    said = [str(c.get("message") or c.get("reason", "")) for c in _conditions(pod) if _is_target(c)]
    if said:
        return next((why for message in said if (why := plain(message))), "") or f"ended by the cluster: {_short(said[0])}; start it again"
    return DELETED if "deletionTimestamp" in pod["metadata"] else ""


def plain(message: str) -> str:
    """Kueue's sentence of a preemption in words of the platform; "" for any other."""
    if "Preempted to accommodate" not in message:
        return ""
    return next((why for words, why in PREEMPTED.items() if words in message), f"others needed its place: {AGAIN}")


def _ended(pod: Object, at: datetime | None) -> Seen:
    end = terminated(pod)
    code, why = end.get("exitCode"), why_it_leaves(pod)
    if end.get("reason") == "OOMKilled" or pod.get("status", {}).get("reason") == "Evicted":
        return Seen(code or 1, why_failed([pod])[1], at)
    if why:
        return Seen(0, why, at)
    if code == 0:
        return Seen(0, "", at)
    said = _last_line(end.get("message", "") or pod.get("status", {}).get("message", ""))
    words = [f"exit code {code}" if code is not None else "", said]
    return Seen(code or 1, ": ".join(word for word in words if word) or "it failed", at)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _short(lines[-1]) if lines else ""


def _failed_at(pod: Object) -> datetime | None:
    """Of one whose program never ran: evicted, or its init container failed."""
    inits = [(status.get("state") or {}).get("terminated") or {} for status in pod.get("status", {}).get("initContainerStatuses", [])]
    return earliest(*(moment(end.get("finishedAt")) for end in inits if end.get("exitCode"))) or since(pod, "Ready", "False")


def _is_target(condition: Object) -> bool:
    return condition["type"] in ("TerminationTarget", "DisruptionTarget") and condition["status"] == "True"


def _conditions(pod: Object) -> list[Object]:
    found: list[Object] = pod.get("status", {}).get("conditions", [])
    return found


def _waiting(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    states = [one.get("state") or {} for one in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", []))]
    return [state["waiting"] for state in states if state.get("waiting")]


def _image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _time_of(event: Object) -> datetime | None:
    return moment(event.get("lastTimestamp") or event.get("eventTime"))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
