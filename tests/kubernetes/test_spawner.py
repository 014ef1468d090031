"""Environments as pods: a real hub on this machine, pods in the cluster.

School may use 0.8 cores in all; one and two have 0.4 guaranteed each, and an environment takes 0.4.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from ltai_hub.backends.base import TenantShare
from ltai_hub.backends.kubernetes.names import home_claim
from ltai_hub.db.engine import Database
from ltai_hub.db.tables import usage_intervals
from ltai_hub.domain.workloads import Phase
from ltai_hub.environments.store import Environment
from ltai_hub.paths import DataFolder
from tests.fixtures import FETCH, Browser
from tests.hub.kernel import run_code
from tests.kubernetes.hubs import ClusterHub, a_cluster_hub
from tests.kubernetes.places import kubectl

SHARES = (
    TenantShare("school", None, "School", limits={"cpu": 0.8}),
    TenantShare("one", "school", "One", guaranteed={"cpu": 0.4}, limits={"cpu": 0.8}),
    TenantShare("two", "school", "Two", guaranteed={"cpu": 0.4}, limits={"cpu": 0.8}),
)
TOLD_SECONDS = 5.0
SECONDS = 90.0


@pytest.fixture(scope="module")
def hub(tags: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHub]:
    """Its environments are of the lab image built with the tags."""
    with a_cluster_hub(tmp_path_factory.mktemp("spawner") / "data", "ks", SHARES) as hub:
        yield hub


@pytest.fixture(autouse=True)
def everything_stopped(hub: ClusterHub) -> Iterator[None]:
    """Before the next test the queue is empty, whatever this one left."""
    yield
    for name in ("ann", "bob"):
        with hub.session(name) as browser:
            for server in servers(browser, name):
                stop(browser, name, server)


def start(browser: Browser, user: str, server: str = "", **options: str) -> httpx.Response:
    """Asked for; what is pending may go on."""
    path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
    return browser.api("POST", path, json={"profile": "lab", **options})


def started(hub: ClusterHub, browser: Browser, user: str, server: str = "", **options: str) -> Environment:
    reply = start(browser, user, server, **options)
    assert reply.status_code in (201, 202), reply.text
    assert browser.wait_for_server(user, server, SECONDS)["ready"], hub.row(user, server)
    return hub.row(user, server)


def stop(browser: Browser, user: str, server: str = "", remove: bool = False) -> None:
    path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
    browser.api("DELETE", path, json={"remove": remove})
    until(lambda: is_stopped(browser, user, server), f"{user}/{server} stops")


def is_stopped(browser: Browser, user: str, server: str = "") -> bool:
    model = servers(browser, user).get(server)
    return model is None or bool(model["stopped"] and not model["pending"])


def servers(browser: Browser, user: str) -> dict[str, Any]:
    reply = browser.api("GET", f"/users/{user}", params={"include_stopped_servers": ""})
    found: dict[str, Any] = reply.json().get("servers", {})
    return found


def until(holds: Callable[[], Any], what: str, seconds: float = SECONDS) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds, f"after {seconds:g} s it is still not so that {what}"
        time.sleep(0.05)
    return time.monotonic() - begun


def until_phase(hub: ClusterHub, user: str, server: str, phase: Phase, seconds: float = SECONDS) -> Environment:
    until(lambda: hub.row(user, server).phase is phase, f"{user}/{server} is {phase}, not {hub.row(user, server)}", seconds)
    return hub.row(user, server)


def answers(browser: Browser, user: str, server: str = "") -> bool:
    """The Lab's own page, not one of the hub."""
    path = f"/user/{user}/{server}/lab" if server else f"/user/{user}/lab"
    page = browser.view(path)
    return page.status_code == 200 and page.url.path == path


def intervals(hub: ClusterHub, row: Environment) -> list[tuple[datetime, datetime | None]]:
    database = Database(DataFolder(hub.folder).database_url)
    with database.reading() as tx:
        query = select(usage_intervals).where(usage_intervals.c.noun_id == row.run_id).order_by(usage_intervals.c.started_at)
        found = [(r["started_at"], r["ended_at"]) for r in tx.execute(query).mappings()]
    database.close()
    return found


def pod_of(hub: ClusterHub, row: Environment) -> dict[str, Any]:
    name = f"environment-{row.id}-{row.generation}"
    return next((pod for pod in hub.pods(row.tenant) if pod["metadata"]["name"] == name), {})


def events(browser: Browser, path: str) -> Iterator[dict[str, Any]]:
    """Of the pending page, until the start is over."""
    headers = FETCH | {"X-XSRFToken": browser.xsrf, "Accept": "text/event-stream"}
    with browser.stream("GET", f"/hub/api{path}/progress", headers=headers) as reply:
        for line in reply.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


@contextmanager
def sessions(hub: ClusterHub, *names: str) -> Iterator[list[Browser]]:
    with ExitStack() as stack:
        yield [stack.enter_context(hub.session(name)) for name in names]


# ---- starting and stopping


def test_the_spawn_page_promises_no_build_of_what_the_nodes_pull(hub: ClusterHub) -> None:
    with hub.session("ann") as browser:
        page = browser.view("/hub/spawn/ann/another")
    assert page.status_code == 200
    assert "ready now" in page.text
    assert "first use" not in page.text


def test_a_click_opens_jupyterlab_in_a_pod_of_the_tenant(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        row = started(hub, ann, "ann", profile="course")
        assert answers(ann, "ann")
        pod = pod_of(hub, row)
        assert (row.phase, row.tenant, pod["metadata"]["namespace"]) == (Phase.RUNNING, "one", "ks-one")
        spec = pod["spec"]
        assert (spec["serviceAccountName"], spec["automountServiceAccountToken"], spec["restartPolicy"]) == ("workload", False, "Never")
        assert pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "main"
        began = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        assert intervals(hub, row) == [(datetime.fromisoformat(began), None)]
        code = "import os; print(os.getuid(), os.getcwd(), os.environ['LTAI_TENANT'], os.environ['LTAI_URL'])"
        assert run_code(ann, "/user/ann/", code).split() == ["1000", "/home/ann", "one", hub.url]
        stop(ann, "ann")
    ended = hub.row("ann")
    assert (ended.phase, ended.reason) == (Phase.STOPPED, "stopped")
    until(lambda: hub.pods("one") == [], "nothing is left of it")
    assert intervals(hub, row) == [(ended.started_at, ended.ended_at)]


def test_two_named_environments_share_a_home(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        for server in ("first", "second"):
            start(ann, "ann", server)
        for server in ("first", "second"):
            assert ann.wait_for_server("ann", server, SECONDS)["ready"]
            assert answers(ann, "ann", server)
        run_code(ann, "/user/ann/first/", "open('kept.txt', 'w').write('by the first')")
        assert run_code(ann, "/user/ann/second/", "print(open('kept.txt').read())").strip() == "by the first"


def test_another_flavor_is_stop_change_start_with_the_home_kept(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        before = started(hub, ann, "ann", "change")
        run_code(ann, "/user/ann/change/", "open('mine.txt', 'w').write('still here')")
        stop(ann, "ann", "change")
        after = started(hub, ann, "ann", "change", flavor="more")
        assert (after.flavor, after.generation) == ("more", before.generation + 1)
        assert pod_of(hub, after)["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "600m"
        assert run_code(ann, "/user/ann/change/", "print(open('mine.txt').read())").strip() == "still here"


def test_what_no_node_can_hold_is_refused_at_once(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        reply = start(ann, "ann", "huge", flavor="huge")
    assert reply.status_code == 400
    assert "the largest node of this cluster has" in reply.json()["message"]


def test_an_image_that_does_not_exist_fails_with_a_sentence(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        start(ann, "ann", "noimage", image="missing")
        said = [event["message"] for event in events(ann, "/users/ann/servers/noimage") if event.get("failed")]
    row = hub.row("ann", "noimage")
    assert row.phase is Phase.FAILED
    # by registries that say so, and by those that cannot be reached
    assert row.reason.startswith(("the image ltai/nobody-has-it:1 does not exist", "the image ltai/nobody-has-it:1 cannot be pulled"))
    assert row.reason in said[0]
    assert intervals(hub, row) == []
    until(lambda: hub.pods("one") == [], "nothing is left of it")


def test_a_deleted_person_leaves_their_home(hub: ClusterHub) -> None:
    with sessions(hub, "cas", "admin") as (cas, admin):
        started(hub, cas, "cas")
        assert admin.api("DELETE", "/users/cas").status_code == 204
    until(lambda: hub.pods("one") == [], "the pod is gone")
    assert kubectl("get", "pvc", home_claim("cas"), "-n", "ks-one", "-o", "name").strip() == f"persistentvolumeclaim/{home_claim('cas')}"


# ---- the queue


def test_a_full_queue_tells_place_and_reason_and_starts_when_there_is_room(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        for server in ("holds-one", "holds-two"):
            started(hub, ann, "ann", server)
        start(ann, "ann", "waits")
        waiting = until_phase(hub, "ann", "waits", Phase.QUEUED)
        told = next(event for event in events(ann, "/users/ann/servers/waits") if event.get("key") == "queued")
        assert told["position"] == waiting.position == 1
        assert "cpu" in told["detail"]
        assert intervals(hub, waiting) == []
        stop(ann, "ann", "holds-one")
        assert ann.wait_for_server("ann", "waits", SECONDS)["ready"]
        assert answers(ann, "ann", "waits")
        running = hub.row("ann", "waits")
        assert (running.phase, running.position, running.reason) == (Phase.RUNNING, None, "")


def test_cancelling_in_the_queue_leaves_nothing(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        for server in ("holds-one", "holds-two"):
            started(hub, ann, "ann", server)
        start(ann, "ann", "cancelled")
        row = until_phase(hub, "ann", "cancelled", Phase.QUEUED)
        stop(ann, "ann", "cancelled")
        assert hub.row("ann", "cancelled").phase is Phase.CANCELLED
        until(lambda: not pod_of(hub, row), "its pod is gone")


def test_a_borrower_that_makes_room_is_told_within_five_seconds(hub: ClusterHub) -> None:
    with sessions(hub, "ann", "bob") as (ann, bob):
        for server in ("holds-one", "holds-two"):
            started(hub, ann, "ann", server)
        start(bob, "bob")
        until(lambda: preempted(hub), "one environment has to make room")
        took = until(lambda: told_of(hub), "its owner is told")
        assert took < TOLD_SECONDS
        server = told_of(hub)[0].server
        until(lambda: hub.row("ann", server).phase is Phase.STOPPED and is_stopped(ann, "ann", server), "it has ended")
        gone = hub.row("ann", server)
        assert "another class needed its guaranteed share back" in gone.reason
        assert bob.wait_for_server("bob", "", SECONDS)["ready"]
        assert intervals(hub, gone) == [(gone.started_at, gone.ended_at)]
        assert not answers(ann, "ann", gone.server)
    until(lambda: not pod_of(hub, gone), "nothing is left of it")


def preempted(hub: ClusterHub) -> list[str]:
    """Pods that Kueue has marked, and those that are gone already."""
    pods = hub.pods("one")
    marked = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]
    return marked or (["gone"] if len(pods) < 2 else [])


def told_of(hub: ClusterHub) -> list[Environment]:
    return [row for row in (hub.row("ann", server) for server in ("holds-one", "holds-two")) if is_told(row)]


def is_told(row: Environment) -> bool:
    """Why it ends; ending itself takes JupyterLab up to its grace of five seconds."""
    return row.phase in (Phase.STOPPING, Phase.STOPPED) and bool(row.reason)


# ---- ends nobody asked for


def test_a_deleted_pod_is_told_within_five_seconds(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        row = started(hub, ann, "ann", "deleted")
        kubectl("delete", "pod", f"environment-{row.id}-{row.generation}", "-n", "ks-one", "--wait=false")
        took = until(lambda: is_told(hub.row("ann", "deleted")), "the owner is told")
        until(lambda: hub.row("ann", "deleted").phase.is_final and is_stopped(ann, "ann", "deleted"), "it has ended")
        ended = hub.row("ann", "deleted")
        assert (ended.phase, ended.reason) == (Phase.STOPPED, "its pod was deleted in the cluster; start it again")
        assert took < TOLD_SECONDS
        assert intervals(hub, row) == [(row.started_at, ended.ended_at)]
        assert started(hub, ann, "ann", "deleted").phase is Phase.RUNNING


def test_out_of_memory_is_told_with_the_limit(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        row = started(hub, ann, "ann", "memory")
        # files in memory stay when the process that wrote them is killed, so the server itself is next
        fill = "head -c 2000000000 /dev/zero > /dev/shm/full; sleep 1; head -c 2000000000 /dev/zero > /dev/shm/more"
        name = f"environment-{row.id}-{row.generation}"
        kubectl("exec", name, "-n", "ks-one", "-c", "main", "--", "sh", "-c", fill, check=False)
        until(lambda: hub.row("ann", "memory").phase.is_final, "it has ended")
    ended = hub.row("ann", "memory")
    assert (ended.phase, ended.reason) == (Phase.FAILED, "killed: over its memory limit of 512 MiB")
    assert intervals(hub, row) == [(row.started_at, ended.ended_at)]


def test_file_shut_down_ends_it_by_itself(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        row = started(hub, ann, "ann", "shutdown")
        ann.view("/user/ann/shutdown/lab")
        xsrf = next(c.value or "" for c in ann.cookies.jar if c.name == "_xsrf" and c.path == "/user/ann/shutdown/")
        ann.post("/user/ann/shutdown/api/shutdown", headers=FETCH | {"X-XSRFToken": xsrf})
        until(lambda: hub.row("ann", "shutdown").phase.is_final, "it has ended", 15)
    assert (hub.row("ann", "shutdown").phase, hub.row("ann", "shutdown").reason) == (Phase.STOPPED, "ended by itself")
    until(lambda: not pod_of(hub, row), "nothing is left of it")


# ---- the hub goes away and comes back


def test_a_running_environment_is_found_again_after_kill_minus_nine(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        before = started(hub, ann, "ann", "stays")
        run_code(ann, "/user/ann/stays/", "open('/tmp/mark', 'w').write('same pod')")
        hub.end()
        # the proxy goes on: the person notices nothing
        assert ann.get("/user/ann/stays/api").status_code == 200
        hub.start()
        until(lambda: servers(ann, "ann")["stays"]["ready"], "the hub knows it again", 15)
        assert run_code(ann, "/user/ann/stays/", "print(open('/tmp/mark').read())").strip() == "same pod"
        after = hub.row("ann", "stays")
        assert (after.phase, after.started_at, after.generation) == (Phase.RUNNING, before.started_at, before.generation)
        # and an end is told at once again
        kubectl("delete", "pod", f"environment-{after.id}-{after.generation}", "-n", "ks-one", "--wait=false")
        assert until(lambda: is_told(hub.row("ann", "stays")), "the owner is told") < TOLD_SECONDS
        until(lambda: is_stopped(ann, "ann", "stays"), "it has ended")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_queued_start_keeps_its_place_while_the_hub_is_away(hub: ClusterHub, number: int) -> None:
    with hub.session("ann") as ann:
        for server in ("holds-one", "holds-two"):
            started(hub, ann, "ann", server)
        start(ann, "ann", "waits")
        row = until_phase(hub, "ann", "waits", Phase.QUEUED)
        uid = pod_of(hub, row)["metadata"]["uid"]
        hub.end(number)
        assert pod_of(hub, row)["metadata"]["uid"] == uid
        hub.start()
        until(lambda: servers(ann, "ann").get("waits", {}).get("pending") == "spawn", "the start goes on", 15)
        told = next(event for event in events(ann, "/users/ann/servers/waits") if event.get("key") == "queued")
        assert told["position"] == 1
        stop(ann, "ann", "holds-one")
        assert ann.wait_for_server("ann", "waits", SECONDS)["ready"]
        assert answers(ann, "ann", "waits")
        # the server's own token is the one its pod was made with
        assert run_code(ann, "/user/ann/waits/", ASK).strip() == "ann"
        running = hub.row("ann", "waits")
        assert (running.phase, running.generation, pod_of(hub, running)["metadata"]["uid"]) == (Phase.RUNNING, row.generation, uid)


ASK = """
import json, os, urllib.request
request = urllib.request.Request(os.environ["JUPYTERHUB_API_URL"] + "/user", headers={"Authorization": "token " + os.environ["LTAI_TOKEN"]})
print(json.load(urllib.request.urlopen(request))["name"])
"""


def test_a_start_cut_off_by_kill_minus_nine_goes_on(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        start(ann, "ann", "cut")
        row = hub.row("ann", "cut")
        until(lambda: pod_of(hub, row), "its pod is made")
        hub.end()
        hub.start()
        until(lambda: servers(ann, "ann").get("cut", {}).get("ready"), "it runs")
        assert answers(ann, "ann", "cut")
        assert hub.row("ann", "cut").generation == row.generation


def test_what_ended_while_the_hub_was_away_is_metered_to_its_end(hub: ClusterHub) -> None:
    with hub.session("ann") as ann:
        row = started(hub, ann, "ann", "away")
        hub.end()
        kubectl("delete", "pod", f"environment-{row.id}-{row.generation}", "-n", "ks-one", "--wait=true")
        gone = datetime.now(UTC)
        time.sleep(3)
        hub.start()
        until(lambda: hub.row("ann", "away").phase.is_final, "its end is known")
        ended = hub.row("ann", "away")
        assert (ended.phase, ended.reason) == (Phase.STOPPED, "its pod was deleted in the cluster; start it again")
        assert ended.ended_at is not None
        assert -15 < (ended.ended_at - gone).total_seconds() <= 1
        assert intervals(hub, row) == [(row.started_at, ended.ended_at)]
        assert is_stopped(ann, "ann", "away")
