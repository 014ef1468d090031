from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from ltai_hub.db.engine import Database
from ltai_hub.db.tables import usage_intervals
from ltai_hub.domain.workloads import Phase
from ltai_hub.environments import store
from ltai_hub.environments.store import Environment
from ltai_hub.paths import DataFolder
from ltai_hub.tenancy import store as tenancy
from tests.fixtures import FETCH, Browser, RunningPlatform
from tests.hub.kernel import run_code

pytestmark = pytest.mark.hub
GIB = 1 << 30


@pytest.fixture
def database(platform: RunningPlatform) -> Iterator[Database]:
    database = Database(DataFolder(platform.data).database_url)
    yield database
    database.close()


def row_of(database: Database, user: str, server: str = "") -> Environment:
    with database.reading() as tx:
        row = store.find(tx, user, server)
    assert row is not None
    return row


def wait_for_phase(database: Database, user: str, server: str, phase: Phase, seconds: float = 20) -> Environment:
    until = time.monotonic() + seconds
    while (row := row_of(database, user, server)).phase is not phase and time.monotonic() < until:
        time.sleep(0.05)
    assert row.phase is phase, row
    return row


def start(browser: Browser, user: str, server: str = "", **options: str) -> httpx.Response:
    path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
    reply = browser.api("POST", path, json=options)
    if reply.status_code == 202:
        browser.wait_for_server(user, server)
    return reply


def stop(browser: Browser, user: str, server: str = "", remove: bool = False) -> None:
    path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
    assert browser.api("DELETE", path, json={"remove": remove}).status_code in (202, 204)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        servers = browser.api("GET", f"/users/{user}", params={"include_stopped_servers": ""}).json()["servers"]
        if server not in servers or (not remove and servers[server]["stopped"] and not servers[server]["pending"]):
            return
        time.sleep(0.05)
    raise AssertionError(f"{user}/{server} does not stop")


def run_in_kernel(browser: Browser, base: str, code: str) -> str:
    """Output of Python code run by a kernel of the server at ``base``."""
    return run_code(browser, base, code)


@pytest.fixture
def queueing(platform: RunningPlatform, database: Database) -> Iterator[Browser]:
    """student4, whose quota and named servers are as before afterwards, also when the test fails."""
    with platform.session("student4") as browser:
        yield browser
        set_cpu_quota(database, "student4", None)
        for name in browser.api("GET", "/users/student4", params={"include_stopped_servers": ""}).json()["servers"]:
            if name:
                stop(browser, "student4", name, remove=True)


@pytest.fixture(scope="module")
def student(platform: RunningPlatform) -> Iterator[Browser]:
    """student1 with their default environment running."""
    with platform.session("student1") as browser:
        start(browser, "student1")
        yield browser
        stop(browser, "student1")


def test_a_click_opens_jupyterlab_with_the_course_files(student: Browser, platform: RunningPlatform, database: Database) -> None:
    page = student.view("/user/student1/lab")
    assert (page.status_code, page.url.path) == (200, "/user/student1/lab")
    assert (platform.data / "homes" / "student1" / "digits" / "train.py").exists()
    row = row_of(database, "student1")
    assert (row.phase, row.profile, row.tenant, row.url) == (Phase.RUNNING, "digits", "ml-101", "/user/student1/lab")


def test_login_cookies_of_a_server_stay_on_its_own_path(student: Browser) -> None:
    student.view("/user/student1/lab")
    paths = {cookie.path for cookie in student.cookies.jar if cookie.name.startswith("jupyterhub-user-")}
    assert paths == {"/user/student1/"}


def test_the_kernel_runs_the_images_python_and_knows_the_platform(student: Browser, platform: RunningPlatform, database: Database) -> None:
    code = "import os, sys, json; print(json.dumps(dict(os.environ) | {'python': sys.executable}))"
    said: dict[str, str] = json.loads(run_in_kernel(student, "/user/student1/", code))
    row = row_of(database, "student1")
    assert "/images/" in said["python"]
    assert said["LTAI_URL"] == said["LTAI_SERVICES_URL"] == platform.url
    assert (said["LTAI_TENANT"], said["MLFLOW_WORKSPACE"], said["LTAI_ENVIRONMENT"]) == ("ml-101", "ml-101", str(row.id))
    assert said["MLFLOW_TRACKING_URI"] == f"{platform.url}/services/models/mlflow"
    assert said["LTAI_TOKEN"] == said["MLFLOW_TRACKING_TOKEN"]


def test_the_servers_token_calls_services_and_nothing_more(student: Browser, platform: RunningPlatform) -> None:
    token = run_in_kernel(student, "/user/student1/", "import os; print(os.environ['LTAI_TOKEN'])").strip()
    with httpx.Client(base_url=platform.url, headers={"Authorization": f"token {token}"}) as client:
        model = client.get("/hub/api/user").json()
        assert client.get("/services/tenancy/api/v1/me").json()["name"] == "student1"
        assert client.post("/hub/api/users/student1/tokens", json={}).status_code in (403, 404)
        assert client.post("/hub/api/users/student1/servers/x", json={}).status_code in (403, 404)
    assert {scope.split("!")[0] for scope in model["scopes"]} >= {"access:services", "read:users"}
    assert not {scope.split("!")[0] for scope in model["scopes"]} & {"admin-ui", "servers", "tokens", "admin:users", "list:users"}


def test_an_admins_notebook_is_no_admin(platform: RunningPlatform) -> None:
    with platform.session("admin") as admin:
        start(admin, "admin", profile="plain")
        token = run_in_kernel(admin, "/user/admin/", "import os; print(os.environ['LTAI_TOKEN'])").strip()
        with httpx.Client(base_url=platform.url, headers={"Authorization": f"token {token}"}) as client:
            assert client.get("/hub/api/user").json()["name"] == "admin"
            assert client.get("/hub/api/users").status_code == 403
            assert client.get("/services/tenancy/api/v1/users").status_code == 403
        stop(admin, "admin")


def test_the_token_dies_with_its_server(platform: RunningPlatform) -> None:
    with platform.session("student3") as browser:
        start(browser, "student3", "short", profile="digits")
        token = run_in_kernel(browser, "/user/student3/short/", "import os; print(os.environ['LTAI_TOKEN'])").strip()
        stop(browser, "student3", "short", remove=True)
    assert httpx.get(f"{platform.url}/hub/api/user", headers={"Authorization": f"token {token}"}).status_code == 403


def test_the_network_inside_reaches_the_platform(student: Browser) -> None:
    code = (
        "import os, urllib.request as u; r = u.Request(os.environ['LTAI_URL'] + '/services/tenancy/api/v1/me', "
        "headers={'Authorization': 'token ' + os.environ['LTAI_TOKEN']}); print(u.urlopen(r).status)"
    )
    assert run_in_kernel(student, "/user/student1/", code).strip() == "200"


def test_several_environments_a_person_with_options(platform: RunningPlatform, database: Database) -> None:
    with platform.session("student2") as browser:
        start(browser, "student2", "one", profile="digits", flavor="cpu-medium")
        start(browser, "student2", "two", profile="gpu-intro")
        one, two = row_of(database, "student2", "one"), row_of(database, "student2", "two")
        assert (one.phase, one.flavor, one.tenant) == (Phase.RUNNING, "cpu-medium", "ml-101")
        assert (two.phase, two.profile, two.tenant) == (Phase.RUNNING, "gpu-intro", "gpu-lab")
        assert browser.view("/user/student2/two/lab").status_code == 200
        for name in ("one", "two"):
            stop(browser, "student2", name, remove=True)
    with database.reading() as tx:
        assert store.find(tx, "student2", "one") is None


def test_stopping_ends_the_row_its_usage_and_its_reservation(platform: RunningPlatform, database: Database) -> None:
    with platform.session("student3") as browser:
        start(browser, "student3")
        running = row_of(database, "student3")
        stop(browser, "student3")
    ended = row_of(database, "student3")
    assert (ended.phase, ended.reason) == (Phase.STOPPED, "stopped")
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert_nothing_left(database, running)
    with database.reading() as tx:
        first = intervals_of(tx, running)[0]
    assert (first["started_at"], first["ended_at"]) == (ended.started_at, ended.ended_at)


def test_a_second_start_keeps_what_was_chosen_and_counts_up(platform: RunningPlatform, database: Database) -> None:
    with platform.session("student3") as browser:
        start(browser, "student3", "again", profile="digits", flavor="cpu-medium")
        stop(browser, "student3", "again")
        browser.api("POST", "/users/student3/servers/again")
        browser.wait_for_server("student3", "again")
        row = row_of(database, "student3", "again")
        stop(browser, "student3", "again", remove=True)
    assert (row.flavor, row.generation, row.phase) == ("cpu-medium", 2, Phase.RUNNING)


def test_the_environments_service_starts_what_was_chosen(platform: RunningPlatform, database: Database) -> None:
    with platform.client("student2") as client:
        made = client.post("/services/environments/api/v1/environments", json={"name": "我的 环境", "profile": "gpu-intro"})
        assert made.status_code == 201, made.text
        server = made.json()["url"].split("/")[3]
        row = wait_for_phase(database, "student2", server, Phase.RUNNING)
        assert (row.profile, row.display_name) == ("gpu-intro", "我的 环境")
        assert client.delete(f"/services/environments/api/v1/environments/{row.id}").status_code == 204
    assert_nothing_left(database, row)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profile": "gpu-intro"}, "gpu-intro"),
        ({"profile": "<script>"}, "<script>"),
        ({"profile": "digits", "flavor": "../x"}, "does not offer the flavor"),
        ({"profile": "digits", "image": "nothing"}, "does not offer the image"),
        ({"tenant": "physics"}, "physics"),
        ({"tenant": "没有"}, "没有"),
    ],
)
def test_what_may_not_be_started_is_refused_with_one_sentence(
    platform: RunningPlatform, database: Database, options: dict[str, str], said: str
) -> None:
    with platform.session("student4") as browser:
        reply = browser.api("POST", "/users/student4/servers/refused", json=options)
    assert 400 <= reply.status_code < 500
    assert said in reply.json()["message"]
    with database.reading() as tx:
        assert store.find(tx, "student4", "refused") is None


def test_the_spawn_page_shows_the_refusal_and_the_form_again(platform: RunningPlatform) -> None:
    with platform.session("student4") as browser:
        xsrf = browser.xsrf
        reply = browser.post(f"/hub/spawn/student4?_xsrf={xsrf}", data={"profile": "<script>alert(1)</script>"}, headers=FETCH)
    assert "is not assigned to" in reply.text
    assert "SpawnException" not in reply.text
    assert "<script>alert(1)" not in reply.text
    assert 'name="profile" value="digits"' in reply.text


def test_the_spawn_page_offers_profiles_with_spec_price_and_state(platform: RunningPlatform) -> None:
    with platform.session("student1", language="zh-CN") as browser:
        page = browser.view("/hub/spawn/student1/another").text
    for piece in ('value="digits"', 'value="gpu-intro"', "2 GiB", "CNY", "模拟 GPU", "立即可用", 'data-server="another"'):
        assert piece in page


@pytest.mark.parametrize("name", ["Bad Name", "../x", "é", "x" * 31, "<script>"])
def test_bad_server_names_are_refused(platform: RunningPlatform, name: str) -> None:
    with platform.session("student4") as browser:
        reply = browser.api("POST", f"/users/student4/servers/{httpx.URL(path='/' + name).raw_path.decode()[1:]}", json={})
    assert reply.status_code in (400, 404, 405)


def test_a_full_quota_queues_with_position_and_reason_and_starts_when_there_is_room(queueing: Browser, database: Database) -> None:
    start(queueing, "student4", "first", profile="digits")
    make_quota_full(database, row_of(database, "student4", "first"))
    reply = queueing.api("POST", "/users/student4/servers/second", json={"profile": "digits"})
    assert reply.status_code == 202
    waiting = wait_for_phase(database, "student4", "second", Phase.QUEUED)
    event = first_event(queueing, "/users/student4/servers/second/progress", "queued")
    assert event["position"] == 1
    assert "has 0 cores of 1 core left" in event["detail"]
    stop(queueing, "student4", "first", remove=True)
    wait_for_phase(database, "student4", "second", Phase.RUNNING)
    stop(queueing, "student4", "second", remove=True)
    assert_nothing_left(database, waiting)


def test_cancelling_a_queued_start_gives_its_place_back(queueing: Browser, database: Database) -> None:
    start(queueing, "student4", "holder", profile="digits")
    make_quota_full(database, row_of(database, "student4", "holder"))
    queueing.api("POST", "/users/student4/servers/waiter", json={"profile": "digits"})
    row = wait_for_phase(database, "student4", "waiter", Phase.QUEUED)
    stop(queueing, "student4", "waiter")
    assert row_of(database, "student4", "waiter").phase is Phase.CANCELLED
    assert_nothing_left(database, row)


def test_an_ask_that_never_fits_is_refused_with_the_numbers(queueing: Browser, database: Database) -> None:
    set_cpu_quota(database, "student4", 0.5)
    reply = queueing.api("POST", "/users/student4/servers/big", json={"profile": "digits"})
    assert reply.status_code == 409
    assert "may use" in reply.json()["message"]


def test_starts_at_once_all_answer(platform: RunningPlatform, database: Database) -> None:
    names = [f"many{number}" for number in range(4)]
    with platform.session("student5") as browser:
        threads = [threading.Thread(target=start, args=(browser, "student5", name), kwargs={"profile": "digits"}) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row_of(database, "student5", name).phase for name in names] == [Phase.RUNNING] * len(names)
        for name in names:
            stop(browser, "student5", name, remove=True)


# ---- helpers


def set_cpu_quota(database: Database, user: str, limit: float | None) -> None:
    with database.transaction() as tx:
        tenancy.put_quota(tx, tenancy.get_tenant(tx, "ml-101"), user, "cpu", limit)


def make_quota_full(database: Database, row: Environment) -> None:
    """The person's quota becomes exactly what the row's tenant has given them."""
    with database.reading() as tx:
        held = tenancy.used(tx, tenancy.get_tenant(tx, row.tenant).id, row.user, "cpu")
    set_cpu_quota(database, row.user, held)


def first_event(browser: Browser, path: str, key: str) -> dict[str, Any]:
    with browser.stream("GET", f"/hub/api{path}", headers=FETCH | {"X-XSRFToken": browser.xsrf, "Accept": "text/event-stream"}) as reply:
        for line in reply.iter_lines():
            if line.startswith("data:"):
                event: dict[str, Any] = json.loads(line[5:])
                if event.get("key") == key:
                    return event
    raise AssertionError(f"no event {key}")


def intervals_of(tx: Any, row: Environment) -> list[Any]:
    return list(tx.execute(select(usage_intervals).where(usage_intervals.c.noun_id == row.run_id)).mappings())


def assert_nothing_left(database: Database, row: Environment) -> None:
    """No reservation is held or waits, no usage interval is open."""
    with database.reading() as tx:
        assert tenancy.find_open(tx, "environment", row.run_id) is None
        assert all(interval["ended_at"] for interval in intervals_of(tx, row))
