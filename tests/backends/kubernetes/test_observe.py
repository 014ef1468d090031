"""Objects of the cluster → phase, reason and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.backend import only_waits
from ltai_hub.backends.kubernetes.observe import STOPPED, is_without_pods, observe_endpoint, observe_job, refusals
from ltai_hub.backends.kubernetes.queue import Standing, make_standing, places_behind, places_by_age, places_of
from ltai_hub.backends.kubernetes.times import moment
from ltai_hub.domain.workloads import Phase
from tests.backends.kubernetes.arrange import a_jobset, a_pod, ended, running

STARTED = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
MINUTE = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
NOWHERE = Standing()


def test_a_job_in_the_queue_says_why_and_at_which_place() -> None:
    seen = observe_job(a_jobset(suspended=True), [], Standing("waiting: no room", 3))
    assert (seen.phase, seen.reason, seen.position, seen.started_at) == (Phase.QUEUED, "waiting: no room", 3, None)


def test_a_job_on_its_way_is_starting() -> None:
    assert observe_job(a_jobset(), [], NOWHERE).phase is Phase.STARTING
    assert observe_job(a_jobset(), [a_pod(phase="Pending")], NOWHERE).phase is Phase.STARTING


def test_a_job_runs_since_its_first_container_began() -> None:
    pods = [a_pod("a", state=running("2026-01-01T00:00:09Z")), a_pod("b", state=running())]
    seen = observe_job(a_jobset(), pods, NOWHERE)
    assert (seen.phase, seen.started_at) == (Phase.RUNNING, STARTED)


def test_a_job_that_ended_well_ended_with_its_last_container() -> None:
    pods = [a_pod("a", "Succeeded", ended(0)), a_pod("b", "Succeeded", ended(0, "2026-01-01T00:00:30Z"))]
    seen = observe_job(a_jobset(terminal="Completed"), pods, NOWHERE)
    assert (seen.phase, seen.exit_code, seen.started_at, seen.ended_at) == (Phase.SUCCEEDED, 0, STARTED, MINUTE)


def test_when_the_pods_are_gone_the_end_is_what_the_cluster_noted() -> None:
    noted = [{"type": "Completed", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}]
    seen = observe_job(a_jobset(terminal="Completed", conditions=noted), [], NOWHERE)
    assert (seen.phase, seen.ended_at) == (Phase.SUCCEEDED, MINUTE)


def test_the_replica_that_failed_first_tells_why() -> None:
    pods = [a_pod("a", "Failed", ended(143, "2026-01-01T00:01:05Z")), a_pod("b", "Failed", ended(3))]
    seen = observe_job(a_jobset(terminal="Failed"), pods, NOWHERE)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 3, "exit code 3")


def test_over_its_memory_is_said_with_the_limit() -> None:
    seen = observe_job(a_jobset(terminal="Failed"), [a_pod("a", "Failed", ended(137, reason="OOMKilled"))], NOWHERE)
    assert (seen.exit_code, seen.reason) == (137, "killed: over its memory limit of 1 GiB")


def test_a_full_disk_is_said_as_the_node_says_it() -> None:
    pod = a_pod("a", "Failed", ended(137), reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit")
    seen = observe_job(a_jobset(terminal="Failed"), [pod], NOWHERE)
    assert "ephemeral local storage usage exceeds" in seen.reason


def test_stopped_it_runs_until_its_last_pod_is_gone() -> None:
    marked = a_jobset(annotations={STOPPED: "2026-01-01T00:00:50+00:00"})
    assert observe_job(marked, [a_pod(state=running())], NOWHERE).phase is Phase.RUNNING
    seen = observe_job(marked, [a_pod(phase="Failed", state=ended(143))], NOWHERE)
    assert (seen.phase, seen.reason, seen.exit_code, seen.ended_at) == (Phase.FAILED, "stopped", 143, MINUTE)


def test_what_the_cluster_does_not_know_is_gone() -> None:
    assert observe_job(None, [], NOWHERE).phase is Phase.GONE
    assert observe_endpoint(None, [], NOWHERE, "").phase is Phase.GONE


def test_an_image_that_cannot_be_pulled_is_said() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    seen = observe_job(a_jobset(), [a_pod(phase="Pending", state=waiting)], NOWHERE)
    assert seen.phase is Phase.STARTING
    assert "the image ltai/pytorch:2 cannot be pulled" in seen.reason


def test_no_room_on_any_node_is_said() -> None:
    unschedulable = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]
    seen = observe_job(a_jobset(), [a_pod(phase="Pending", conditions=unschedulable)], NOWHERE)
    assert seen.reason == "no node has room for it now: 0/3 nodes are available"


def a_deployment(ready: int = 0, updated: int | None = None, replicas: int = 2, **annotations: str) -> Object:
    counts = {"availableReplicas": ready, "replicas": replicas, "updatedReplicas": replicas if updated is None else updated}
    return {
        "metadata": {"name": "e", "generation": 1, "annotations": annotations},
        "spec": {"replicas": replicas},
        "status": {**counts, "observedGeneration": 1},
    }


def test_an_endpoint_runs_as_soon_as_one_replica_answers() -> None:
    seen = observe_endpoint(a_deployment(ready=1), [a_pod(state=running())], NOWHERE, "e.svc:8080")
    assert (seen.phase, seen.ready, seen.addresses) == (Phase.RUNNING, 1, ("e.svc:8080",))


def test_while_it_is_replaced_only_the_new_replicas_count() -> None:
    pods = [a_pod("a", state=running()), a_pod("b", state=running()), a_pod("c", state=running())]
    seen = observe_endpoint(a_deployment(ready=3, updated=1, replicas=3), pods, NOWHERE, "e:1")
    assert (seen.phase, seen.ready) == (Phase.RUNNING, 1)


def test_an_endpoint_in_the_queue_waits() -> None:
    seen = observe_endpoint(a_deployment(), [a_pod(phase="Pending", gates=[{"name": "kueue"}])], Standing("waits", 2), "")
    assert (seen.phase, seen.position) == (Phase.QUEUED, 2)


def test_a_replica_that_ends_again_and_again_has_failed() -> None:
    pod = a_pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, last=ended(3), restarts=3)
    seen = observe_endpoint(a_deployment(), [pod], NOWHERE, "")
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 3, "exit code 3")


def test_a_stopped_endpoint_has_ended_with_its_last_replica() -> None:
    stopped = a_deployment(**{STOPPED: "2026-01-01T00:00:30+00:00"})
    again = a_pod("again", state=running(), last=ended(1), restarts=1)
    assert observe_endpoint(stopped, [a_pod(phase="Failed", state=ended(143)), again], NOWHERE, "").reason == "stopping"
    seen = observe_endpoint(stopped, [a_pod(phase="Failed", state=ended(143))], NOWHERE, "")
    assert (seen.phase, seen.reason, seen.ended_at) == (Phase.FAILED, "stopped", MINUTE)


def test_a_stopped_endpoint_does_not_wait_for_a_replica_that_never_ran() -> None:
    """Kueue removes its finalizer from a deleted pod, and may be away."""
    stopped = a_deployment(**{STOPPED: "2026-01-01T00:01:00+00:00"})
    waits = a_pod(phase="Pending", gates=[{"name": "kueue.x-k8s.io/admission"}])
    assert observe_endpoint(stopped, [waits], NOWHERE, "").reason == "stopping"
    waits["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    seen = observe_endpoint(stopped, [waits], NOWHERE, "")
    assert (seen.phase, seen.started_at, seen.ended_at) == (Phase.FAILED, None, MINUTE)


def test_places_are_counted_from_one() -> None:
    item = {"metadata": {"ownerReferences": [{"uid": "u"}]}, "positionInClusterQueue": 0}
    assert places_of({"items": [item]}) == {"u": 1}


def a_workload(**conditions: tuple[str, str, str]) -> Object:
    said = [
        {"type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:01:00Z"}
        for name, (status, reason, message) in conditions.items()
    ]
    return {"status": {"conditions": said}}


def test_why_it_waits_is_kueues_own_sentence() -> None:
    workload = a_workload(QuotaReserved=("False", "Pending", "insufficient unused quota for cpu"))
    assert make_standing(workload, 1) == Standing("waiting in the queue of its tenant: insufficient unused quota for cpu", 1)


def test_what_was_preempted_says_so_and_when() -> None:
    workload = a_workload(
        QuotaReserved=("False", "Pending", "preempted"), Evicted=("True", "Preempted", "Preempted to accommodate a workload")
    )
    standing = make_standing(workload, 4)
    assert standing.evicted_at == MINUTE
    assert "Preempted to accommodate" in standing.reason


def test_what_was_not_looked_at_yet_says_how_many_are_in_front() -> None:
    assert make_standing(None, 3).reason == "waiting in the queue of its tenant, behind 2 more"
    assert make_standing(None, 1).reason == make_standing(None, None).reason == "waiting in the queue of its tenant"


def waits(uid: str, priority: int, created: str, **conditions: tuple[str, str, str]) -> Object:
    metadata = {"labels": {"kueue.x-k8s.io/job-uid": uid}, "creationTimestamp": f"2026-01-01T00:00:{created}Z"}
    return {**a_workload(**conditions), "metadata": metadata, "spec": {"priority": priority}}


def test_while_kueue_tells_no_places_they_are_counted_as_it_would() -> None:
    found = [
        waits("late", 100, "09"),
        waits("early", 100, "01"),
        waits("urgent", 900, "30"),
        waits("running", 900, "00", QuotaReserved=("True", "QuotaReserved", "")),
        waits("lost its place", 100, "00", Evicted=("True", "Preempted", "")),
    ]
    assert places_by_age(found) == {"urgent": 1, "early": 2, "late": 3, "lost its place": 4}


def test_what_kueue_has_not_come_to_yet_stands_behind_the_rest() -> None:
    unseen = [{"metadata": {"uid": uid, "creationTimestamp": f"2026-01-01T00:00:{at}Z"}} for uid, at in (("b", "05"), ("a", "04"))]
    assert places_behind({"x": 1, "y": 7}, unseen) == {"a": 8, "b": 9}
    assert places_behind({}, unseen) == {"a": 1, "b": 2}


# ---- a node that is lost


def a_lost_pod(name: str = "p") -> Object:
    """Its node stopped answering at 00:01:00; five minutes later the cluster gave it up."""
    pod = a_pod(name, state=running(), conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"}])
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:06:00Z"
    return pod


def test_a_job_on_a_lost_node_is_not_running_since_the_node_was_seen_last() -> None:
    pods = [a_lost_pod("a"), a_pod("b", state=running())]
    before = observe_job(a_jobset(), pods, NOWHERE, moment("2026-01-01T00:06:29Z"))
    assert before.phase is Phase.RUNNING
    seen = observe_job(a_jobset(), pods, NOWHERE, moment("2026-01-01T00:06:31Z"))
    assert (seen.phase, seen.ended_at) == (Phase.STARTING, moment("2026-01-01T00:01:00Z"))
    assert "its node does not answer any more" in seen.reason


def test_a_stopped_job_on_a_lost_node_has_ended() -> None:
    marked = a_jobset(annotations={STOPPED: "2026-01-01T00:20:00+00:00"})
    seen = observe_job(marked, [a_lost_pod()], NOWHERE, moment("2026-01-01T00:20:01Z"))
    assert (seen.phase, seen.reason, seen.ended_at) == (Phase.FAILED, "stopped", moment("2026-01-01T00:01:00Z"))


def test_a_stopped_endpoint_on_a_lost_node_has_ended() -> None:
    stopped = a_deployment(**{STOPPED: "2026-01-01T00:05:00+00:00"})
    assert observe_endpoint(stopped, [a_lost_pod()], NOWHERE, "", moment("2026-01-01T00:06:29Z")).reason == "stopping"
    seen = observe_endpoint(stopped, [a_lost_pod()], NOWHERE, "", moment("2026-01-01T00:06:31Z"))
    assert (seen.phase, seen.reason, seen.ended_at) == (Phase.FAILED, "stopped", moment("2026-01-01T00:05:00Z"))


def test_a_job_whose_pods_the_cluster_does_not_make_says_why() -> None:
    began = moment("2026-01-01T00:00:00Z")
    assert began is not None
    resumed = a_jobset(conditions=[{"type": "Suspended", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"}])
    assert not is_without_pods(resumed, [], began + timedelta(seconds=62))
    assert is_without_pods(resumed, [], began + timedelta(seconds=66))
    assert not is_without_pods(resumed, [a_pod()], began + timedelta(seconds=66))
    assert not is_without_pods(a_jobset(suspended=True), [], began + timedelta(seconds=66))
    event = {"involvedObject": {"kind": "Job", "name": "job-7-node-0"}, "message": 'RuntimeClass "x" not found'}
    refused = refusals([event])["job-7-node-0"]
    seen = observe_job(resumed, [], NOWHERE, refused=refused)
    assert (seen.phase, seen.reason) == (Phase.STARTING, 'the cluster does not make its pod: RuntimeClass "x" not found')


def test_an_endpoint_whose_pods_the_cluster_does_not_make_says_why() -> None:
    deployment = a_deployment()
    deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]
    assert observe_endpoint(deployment, [], NOWHERE, "").reason == "the cluster does not make its pod: exceeded quota"


def test_a_pod_that_was_written_off_with_its_node_runs_no_more() -> None:
    """The collector of orphans sets the phase; what the node said last of the container stays."""
    pod = a_lost_pod()
    pod["status"]["phase"] = "Failed"
    seen = observe_job(a_jobset(), [pod], NOWHERE, moment("2026-01-01T00:20:00Z"))
    assert (seen.phase, seen.started_at) == (Phase.STARTING, None)
    seen = observe_job(a_jobset(terminal="Failed"), [pod], NOWHERE, moment("2026-01-01T00:20:00Z"))
    assert (seen.phase, seen.ended_at) == (Phase.FAILED, moment("2026-01-01T00:01:00Z"))


def test_what_was_asked_to_stop_does_more_than_wait() -> None:
    waiting: Object = {"metadata": {}, "spec": {"suspend": True}}
    assert only_waits(waiting)
    for other in ({"spec": {"suspend": False}}, {"status": {"terminalState": "Failed"}}, {"metadata": {"annotations": {STOPPED: "2026"}}}):
        assert not only_waits(waiting | other)
    assert not only_waits(None)
