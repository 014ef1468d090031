"""Jobs that may run in any of several clusters: the tenants' way there, whose turn it is, and what is said of them."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from ltai_hub.backends.base import Observed, TenantShare
from ltai_hub.backends.kubernetes.api import MULTIKUEUE_CLUSTER, Cluster, Object, Resource
from ltai_hub.backends.kubernetes.clusters import release
from ltai_hub.backends.kubernetes.jobs import make_jobset
from ltai_hub.backends.kubernetes.mirror import Found, Verb, make_plan
from ltai_hub.backends.kubernetes.multikueue import Others, far_wishes, make_note, spread_wishes
from ltai_hub.backends.kubernetes.observe import STOPPED
from ltai_hub.backends.kubernetes.queue import Standing
from ltai_hub.backends.kubernetes.spread import (
    AWAY,
    FINALIZER,
    MOVED,
    PLACE,
    RECORD,
    Pair,
    Remote,
    Turn,
    are_open,
    away_name,
    is_told,
    lost_since,
    make_away,
    make_move,
    make_record,
    next_turn,
    observe_away,
    observe_here,
    read_record,
)
from ltai_hub.backends.kubernetes.tenants import Tree
from ltai_hub.backends.kubernetes.travel import Travels
from ltai_hub.backends.kubernetes.volumes import UNPACK_PROGRAM, WORD
from ltai_hub.domain.workloads import Phase
from ltai_hub.errors import TryLater
from ltai_hub.settings import KubernetesSettings
from ltai_hub.units import utc_now
from tests.backends.kubernetes.arrange import a_blueprint, a_jobset, a_pod, ended, running
from tests.backends.kubernetes.test_tenants import BIOLOGY, PHYSICS, SCHOOL, a_catalog, a_node

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SETTINGS = KubernetesSettings(instance="it", clusters={"east": "/etc/east"}, lost_seconds=60)
EAST = Others({"east": b"config"}, [a_node()])
SHARES = (SCHOOL, PHYSICS, BIOLOGY)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- manifests


def spread(others: Others = EAST) -> dict[tuple[str, str, str], Object]:
    return {wish.key: wish.body for wish in spread_wishes(SETTINGS, a_catalog(), SHARES, others)}


def test_a_second_tree_has_what_the_other_clusters_have_and_hands_jobs_to_them() -> None:
    wishes = spread()
    queue = wishes["ClusterQueue", "", "it-physics--spread"]["spec"]
    assert queue["cohortName"] == "it-school--spread"
    assert queue["admissionChecksStrategy"] == {"admissionChecks": [{"name": "it--clusters"}]}
    assert queue["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "it-physics"}}
    root = wishes["Cohort", "", "it--spread"]["spec"]["resourceGroups"][0]["flavors"][0]
    assert root["name"] == "it--spread--default"
    assert root["resources"][0] == {"name": "cpu", "nominalQuota": "4"}
    assert wishes["LocalQueue", "it-physics", "spread"]["spec"] == {"clusterQueue": "it-physics--spread"}
    assert wishes["MultiKueueConfig", "", "it--clusters"]["spec"] == {"clusters": ["it--east"]}


def test_what_is_guaranteed_is_so_at_home_only() -> None:
    wishes = spread()
    for name in ("it-physics--spread", "it-biology--spread"):
        rows = [
            row
            for group in wishes["ClusterQueue", "", name]["spec"]["resourceGroups"]
            for one in group["flavors"]
            for row in one["resources"]
        ]
        assert {row["nominalQuota"] for row in rows} == {"0"}


def test_without_other_clusters_there_is_no_second_tree() -> None:
    assert spread(Others()) == {}


def test_another_cluster_has_the_tenants_and_nothing_that_calls_the_platform() -> None:
    wishes = far_wishes(Tree(SETTINGS, a_catalog(), SHARES, {"cpu": 4}))
    kinds = {wish.resource.kind for wish in wishes}
    assert "RoleBinding" not in kinds
    assert {"Namespace", "ClusterQueue", "LocalQueue", "NetworkPolicy", "ServiceAccount"} <= kinds
    assert all(wish.body["metadata"]["labels"]["ltai.dev/mirrored"] == "true" for wish in wishes)
    (policy,) = [wish.body["spec"] for wish in wishes if wish.key == ("NetworkPolicy", "it-physics", "tenant")]
    assert policy["ingress"] == []
    assert "podSelector" not in json.dumps(policy["egress"])


def a_plan(found: Found, others: Others = EAST) -> Any:
    return make_plan(SETTINGS, a_catalog(), SHARES, found, NOW, others)


def secret_steps(found: Found, others: Others = EAST) -> list[tuple[Verb, str]]:
    return [(one.verb, one.what) for one in a_plan(found, others).steps if one.what.split()[0] in ("Secret", "MultiKueueCluster")]


def a_found_cluster(note: Object | None = None) -> Found:
    body: Object = {"metadata": {"name": "it--east", "labels": {}, **(note or {}).get("metadata", {})}, "spec": {}}
    return Found({("MultiKueueCluster", "", "it--east"): (MULTIKUEUE_CLUSTER, body)})


def test_kueue_gets_the_kubeconfig_when_it_is_another_one() -> None:
    assert secret_steps(Found({})) == [
        (Verb.CREATE, "MultiKueueCluster it--east"),
        (Verb.APPLY, "Secret it--east"),
        (Verb.PATCH, "MultiKueueCluster it--east"),
    ]
    same = [verb for verb, what in secret_steps(a_found_cluster(make_note("it--east", b"config"))) if what.startswith("Secret")]
    assert same == []
    other = [verb for verb, what in secret_steps(a_found_cluster(make_note("it--east", b"older"))) if what.startswith("Secret")]
    assert other == [Verb.APPLY]


def test_a_kubeconfig_that_cannot_be_read_now_takes_nothing_away() -> None:
    away_now = Others({"east": b""}, [a_node()])
    assert [what for verb, what in secret_steps(a_found_cluster(make_note("it--east", b"config")), away_now) if verb is Verb.DELETE] == []
    assert ("MultiKueueCluster", "", "it--east") in spread(away_now)


def test_a_cluster_that_is_not_wished_any_more_goes_with_its_secret() -> None:
    steps = secret_steps(a_found_cluster(), Others())
    assert sorted(steps) == [(Verb.DELETE, "MultiKueueCluster it--east"), (Verb.DELETE, "Secret it--east")]


def test_a_job_that_may_travel_finds_an_empty_home_and_its_folder() -> None:
    plan = a_blueprint(anywhere=True, folder=b"x" * (WORD + 5))
    pod = make_jobset(plan)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert plan.claims == []
    assert {"name": "home", "emptyDir": {}} in pod["volumes"]
    assert not [one for one in pod["volumes"] if "persistentVolumeClaim" in one]
    (folder,) = pod["initContainers"]
    assert folder["command"][3] == "/home/alice/digits"
    assert base64.b64decode("".join(folder["command"][4:])) == b"x" * (WORD + 5)
    assert max(len(word) for word in folder["command"]) <= WORD


def test_the_folder_is_unpacked_where_the_program_runs(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pkg/train.py", "print(1)")
    text = base64.b64encode(packed.getvalue()).decode()
    subprocess.run([sys.executable, "-c", UNPACK_PROGRAM, str(tmp_path / "a" / "b"), text[:10], text[10:]], check=True)
    assert (tmp_path / "a" / "b" / "pkg" / "train.py").read_text() == "print(1)"
    subprocess.run([sys.executable, "-c", UNPACK_PROGRAM, str(tmp_path / "empty")], check=True)
    assert (tmp_path / "empty").is_dir()


def test_what_goes_away_has_no_queue_yet_other_variables_and_its_own_hosts() -> None:
    plan = a_blueprint(anywhere=True, replicas=2, env={"URL": "inside", "A": "1"}, env_elsewhere={"URL": "public"})
    away = make_away(plan, a_jobset())
    assert "kueue.x-k8s.io/queue-name" not in away["metadata"]["labels"]
    assert away["spec"]["managedBy"] == "kueue.x-k8s.io/multikueue"
    assert away["metadata"]["ownerReferences"][0]["uid"] == "uid-job-7"
    text = json.dumps(away)
    assert "job-7-away-node-0-0.job-7-away" in text
    (main,) = away["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in main["env"]}
    assert (env["URL"], env["A"]) == ("public", "1")
    assert "job-7-away" not in json.dumps(make_jobset(plan))


# ---- turns


def a_workload(active: bool = True, waits: float | None = 10, cluster: str = "") -> Object:
    """``waits`` so many seconds for its quota; None: it has it."""
    pending = {"type": "QuotaReserved", "status": "False" if waits is not None else "True", "lastTransitionTime": ago(0)}
    status = {"conditions": [pending], **({"clusterName": cluster} if cluster else {})}
    return {
        "metadata": {"name": "w", "namespace": "n", "resourceVersion": "5", "creationTimestamp": ago(waits or 0)},
        "spec": {"active": active},
        "status": status,
    }


def a_pair(place: str = "", here: Object | None = None, away: Object | None = None, opened: bool = True, **kept: Any) -> Pair:
    notes = kept.pop("notes", {})
    jobset = a_jobset(suspended=True, annotations={**({PLACE: place} if place else {}), **notes}, **kept.pop("status", {}))
    other = a_jobset(suspended=True, **kept.pop("away_status", {}))
    other["metadata"] |= {"name": "job-7-away", "labels": {"kueue.x-k8s.io/queue-name": "spread"} if opened else {}}
    return Pair(jobset, other, here, away)


def turn(pair: Pair, open_clusters: bool = True, lost: float | None = None, **settings: Any) -> Turn:
    since = NOW - timedelta(seconds=lost) if lost is not None else None
    return next_turn(pair, NOW, open_clusters, since, SETTINGS.model_copy(update=settings))


IN_EAST = a_workload(waits=None, cluster="it--east")
CLOSED = a_workload(active=False)


@pytest.mark.parametrize(
    ("pair", "kept", "wished"),
    [
        (a_pair(here=a_workload(waits=1)), {}, Turn.NOTHING),  # the queue is given a moment
        (a_pair(here=a_workload()), {}, Turn.LEAVE),
        (a_pair(here=a_workload()), {"open_clusters": False}, Turn.NOTHING),
        (a_pair(here=a_workload(waits=None)), {}, Turn.NOTHING),  # it has room here
        (a_pair(here=None), {}, Turn.NOTHING),  # Kueue has not come to it
        (a_pair(AWAY, CLOSED, opened=False), {}, Turn.OPEN_AWAY),
        (a_pair(AWAY, CLOSED, CLOSED), {}, Turn.WAIT_AWAY),
        (a_pair(AWAY, CLOSED, a_workload()), {}, Turn.NOTHING),
        (a_pair(AWAY, CLOSED, IN_EAST), {}, Turn.NOTHING),
        (a_pair(AWAY, CLOSED, IN_EAST), {"lost": 59}, Turn.NOTHING),
        (a_pair(AWAY, CLOSED, IN_EAST), {"lost": 60}, Turn.RETURN),
        (a_pair(AWAY, CLOSED, IN_EAST), {"lost": 60, "lost_jobs": "fail"}, Turn.FAIL),
        # there is no cluster left to wait for
        (a_pair(AWAY, CLOSED, a_workload()), {"open_clusters": False}, Turn.RETURN),
        (a_pair(AWAY, CLOSED, a_workload()), {"open_clusters": False, "lost_jobs": "fail"}, Turn.RETURN),
        # it has ended there, though the cluster is lost
        (a_pair(AWAY, CLOSED, IN_EAST, away_status={"terminal": "Completed"}), {"lost": 600}, Turn.NOTHING),
    ],
)
def test_the_turn(pair: Pair, kept: dict[str, Any], wished: Turn) -> None:
    assert turn(pair, **kept) is wished


@pytest.mark.parametrize(
    ("pair", "wished"),
    [
        # cut off before the place was written: back into the queue here
        (a_pair("", CLOSED), Turn.WAIT_HERE),
        # cut off on the way back: first out of the one queue, then into the other
        (a_pair("", CLOSED, a_workload()), Turn.CLOSE_AWAY),
        (a_pair("", CLOSED, CLOSED), Turn.WAIT_HERE),
        (a_pair(AWAY, a_workload()), Turn.CLOSE_HERE),
        # it got room here in the very moment it was to leave
        (a_pair(AWAY, a_workload(waits=None)), Turn.STAY),
    ],
)
def test_what_was_cut_off_is_found_again(pair: Pair, wished: Turn) -> None:
    assert turn(pair) is wished


@pytest.mark.parametrize("notes", [{STOPPED: ago(1)}, {RECORD: "{}"}])
def test_what_is_over_is_moved_no_more(notes: dict[str, str]) -> None:
    assert turn(a_pair(here=a_workload(), notes=notes)) is Turn.NOTHING
    assert turn(a_pair(AWAY, CLOSED, IN_EAST, notes=notes), lost=600) is Turn.NOTHING


def a_cluster(active: str, at: str = ago(30)) -> Object:
    return {"metadata": {"name": "it--east"}, "status": {"conditions": [{"type": "Active", "status": active, "lastTransitionTime": at}]}}


def test_a_cluster_is_lost_since_kueue_cannot_reach_it() -> None:
    assert lost_since({"it--east": a_cluster("False")}, "it--east") == NOW - timedelta(seconds=30)
    assert lost_since({"it--east": a_cluster("True")}, "it--east") is None
    assert lost_since({}, "it--east") is None
    assert are_open({"it--east": a_cluster("True")}, SETTINGS)
    assert not are_open({"it--east": a_cluster("False")}, SETTINGS)
    assert not are_open({"other--west": a_cluster("True")}, SETTINGS)


def test_a_cluster_that_was_taken_out_of_the_settings_is_lost_from_when_this_was_seen() -> None:
    travels = Travels(*[cast(Any, None)] * 5, SETTINGS)
    before = utc_now()
    since = travels.lost_since({}, "it--east")
    assert since is not None
    assert before <= since <= utc_now()
    assert travels.lost_since({}, "it--east") == since
    # seen again, all is forgotten
    assert travels.lost_since({"it--east": a_cluster("True")}, "it--east") is None
    assert travels.lost_since({}, "it--east") != since
    assert travels.lost_since({}, "") is None


# ---- what is said


def away(pair: Pair, remote: Remote | None = None, cluster: str = "east", lost: float | None = None) -> Observed:
    since = NOW - timedelta(seconds=lost) if lost is not None else None
    return observe_away(pair, remote or Remote(), Standing(""), cluster, since)


THERE = a_pair(AWAY, CLOSED, IN_EAST)
RUNS = Remote(a_jobset(), [a_pod(state=running("2026-11-24T11:00:05Z"))])


def test_it_runs_in_the_other_cluster_since_its_pod_says_so() -> None:
    seen = away(THERE, RUNS)
    assert (seen.phase, seen.started_at) == (Phase.RUNNING, datetime(2026, 11, 24, 11, 0, 5, tzinfo=UTC))
    assert seen.reason == "in cluster east"


def test_it_waits_for_another_cluster() -> None:
    seen = away(a_pair(AWAY, CLOSED, a_workload()), cluster="")
    assert (seen.phase, seen.reason) == (Phase.QUEUED, "waiting for room in another cluster")


def test_of_a_lost_cluster_it_is_said_since_when_it_does_not_answer() -> None:
    pair = a_pair(AWAY, CLOSED, IN_EAST, away_status={"replicatedJobsStatus": [{"name": "node", "ready": 1}]})
    seen = away(pair, Remote(known=False), lost=30)
    assert (seen.phase, seen.reason) == (Phase.RUNNING, "cluster east does not answer since 2026-11-24 11:59:30 UTC")
    # its pods had told more than Kueue had brought home
    assert away(THERE, RUNS, lost=30).phase is Phase.RUNNING
    assert away(THERE, lost=30).phase is Phase.STARTING


def test_how_it_ended_is_told_by_its_pods_also_when_kueue_knew_first() -> None:
    pair = a_pair(AWAY, CLOSED, IN_EAST, away_status={"terminal": "Failed"})
    seen = away(pair, Remote(a_jobset(), [a_pod(phase="Failed", state=ended(3))]))
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 3, "exit code 3")
    assert seen.ended_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def test_one_whose_pods_nobody_saw_counts_from_its_admission() -> None:
    admitted = {"type": "Admitted", "status": "True", "lastTransitionTime": ago(50)}
    workload = {**IN_EAST, "status": {**IN_EAST["status"], "conditions": [admitted]}}
    ends = [{"type": "Completed", "status": "True", "lastTransitionTime": ago(10)}]
    seen = away(a_pair(AWAY, CLOSED, workload, away_status={"terminal": "Completed", "conditions": ends}))
    assert (seen.phase, seen.started_at) == (Phase.SUCCEEDED, NOW - timedelta(seconds=50))
    assert seen.ended_at == NOW - timedelta(seconds=10)


def test_a_stopped_one_is_over_when_its_pods_are_or_the_cluster_is_lost() -> None:
    pair = a_pair(AWAY, CLOSED, IN_EAST, notes={STOPPED: ago(5)})
    assert away(pair, RUNS).phase is Phase.RUNNING
    assert away(pair, Remote()).reason == "stopped"
    lost = away(pair, RUNS, lost=60)
    assert (lost.phase, lost.reason, lost.ended_at) == (Phase.FAILED, "stopped", NOW - timedelta(seconds=60))


def test_what_ran_in_a_lost_cluster_ended_when_that_was_lost() -> None:
    moved = make_move(NOW - timedelta(seconds=100), NOW - timedelta(seconds=40))
    seen = observe_here(a_pair("", a_workload(), CLOSED, notes={MOVED: moved}), [], Standing())
    assert (seen.phase, seen.ended_at) == (Phase.QUEUED, NOW - timedelta(seconds=100))


def test_what_is_found_again_in_a_cluster_it_was_given_up_in_is_not_counted_twice() -> None:
    moved = make_move(NOW - timedelta(seconds=100), NOW - timedelta(seconds=40))
    seen = away(a_pair(AWAY, CLOSED, IN_EAST, notes={MOVED: moved}), RUNS)
    assert seen.started_at == NOW - timedelta(seconds=40)


def test_a_record_says_what_was_seen() -> None:
    seen = Observed(Phase.FAILED, "exit code 3", 3, NOW - timedelta(seconds=9), NOW)
    assert read_record(a_jobset(annotations={RECORD: make_record(seen)})) == seen
    assert read_record(a_jobset(annotations={RECORD: make_record(replace(seen, started_at=None))})) == replace(seen, started_at=None)
    assert read_record(a_jobset()) is None


def test_the_likeness_is_held_until_its_end_is_noted() -> None:
    going = {**a_jobset(), "metadata": {**a_jobset()["metadata"], "deletionTimestamp": ago(1)}}
    done = {**a_jobset(terminal="Completed"), "metadata": going["metadata"]}
    assert not is_told(a_jobset(), THERE)
    assert not is_told(done, THERE)
    assert is_told(done, a_pair(AWAY, notes={RECORD: "{}"}))
    assert is_told(going, THERE)  # it is to end now, not by itself
    assert is_told(done, None)


def test_names_stay_short_and_different() -> None:
    assert away_name("job-7") == "job-7-away"
    assert len(away_name("j" * 40)) <= 40
    assert away_name("j" * 40) != "j" * 40


def test_a_cluster_needs_a_name() -> None:
    with pytest.raises(ValueError, match="cannot be the name of a cluster"):
        KubernetesSettings(clusters={"East!": "/x"})


def test_shares_are_left_as_they_are() -> None:
    share = TenantShare("a", None, "A", {"cpu": 2}, {"cpu": 4})
    spread_wishes(SETTINGS, a_catalog(), [share], EAST)
    assert share.guaranteed == {"cpu": 2}


class Changing(Cluster):
    """A cluster in which the object changes between look and patch, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.patches: list[Object] = []

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        metadata = {"name": name, "namespace": namespace, "resourceVersion": str(self.times), "finalizers": ["theirs", FINALIZER]}
        return {"metadata": metadata}

    async def patch(self, resource: Resource, namespace: str, name: str, body: Object) -> Object | None:
        self.times -= 1
        if self.times >= 0:
            raise TryLater("the object has been modified")
        self.patches.append(body)
        return body


async def test_what_is_let_go_is_let_go_as_it_is_now_and_others_finalizers_stay() -> None:
    cluster = Changing(2)
    await release(cluster, a_jobset())
    assert [one["metadata"]["finalizers"] for one in cluster.patches] == [["theirs"]]
    with pytest.raises(TryLater):
        await release(Changing(9), a_jobset())
