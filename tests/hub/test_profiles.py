"""A catalogue of its own: a profile with a time limit, and flavors no machine can give."""

from __future__ import annotations

import os
import platform as machine
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from ltai_hub.db.engine import Database
from ltai_hub.domain.workloads import Phase
from ltai_hub.environments import store
from ltai_hub.paths import DataFolder, shipped
from ltai_hub.units import utc_now
from tests.fixtures import RunningPlatform, start_platform
from tests.hub.test_environments import assert_nothing_left, intervals_of, row_of, start, wait_for_phase
from tests.hub.test_faults import borrow_images

pytestmark = pytest.mark.hub
# the least a profile may say
SECONDS = 15
# JupyterHub polls every five
LATE = timedelta(seconds=15)
OTHER = "arm64" if machine.machine() == "x86_64" else "amd64"
FLAVORS = {
    "huge": {"cpu": 4096, "memory": "2Gi"},
    "vast": {"cpu": 1, "memory": "900Ti"},
    "foreign": {"cpu": 1, "memory": "1Gi", "architecture": OTHER},
}


def make_catalog(folder: Path) -> Path:
    """The shipped one with ``FLAVORS``, offered by "digits", and the profiles "short" and "titan"."""
    shutil.copytree(shipped("spawner_profiles"), folder)
    flavors, profiles = (yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in ("flavors", "profiles"))
    for name, row in FLAVORS.items():
        flavors["flavors"][name] = {"title": {"en": name, "zh-CN": name}, "disk": "1Gi", "price": 36.0, **row}
    digits = profiles["profiles"]["digits"]
    digits["flavors"] += list(FLAVORS)
    profiles["profiles"]["short"] = {**digits, "title": {"en": "Short", "zh-CN": "短"}, "max_seconds": SECONDS}
    profiles["profiles"]["titan"] = {**digits, "title": {"en": "Titan", "zh-CN": "泰坦"}, "flavor": "huge"}
    for name, rows in (("flavors", flavors), ("profiles", profiles)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(rows, allow_unicode=True), "utf-8")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, platform: RunningPlatform) -> Iterator[RunningPlatform]:
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "data").mkdir()
    borrow_images(platform, folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "LTAI_CATALOG", str(make_catalog(folder / "catalog")))
        running = start_platform(folder / "data", "--demo", "--simulated-gpus", "1")
    with running.client("admin") as admin:
        for name in ("short", "titan"):
            admin.put(f"/services/tenancy/api/v1/tenants/ml-101/profiles/{name}").raise_for_status()
    with running.session("student1") as browser:  # its time passes while the other tests run
        assert start(browser, "student1", profile="short").status_code in (201, 202)
    yield running
    running.stop()


@pytest.fixture
def database(own: RunningPlatform) -> Iterator[Database]:
    database = Database(DataFolder(own.data).database_url)
    yield database
    database.close()


NEVER = {
    "huge": "this machine has {cores} CPU and this needs 4096; choose another flavor",
    "vast": "of memory and this needs 900 TiB; choose another flavor",
    "foreign": f"and this needs {OTHER}; choose another flavor",
}


@pytest.mark.parametrize("flavor", NEVER)
def test_a_flavor_this_machine_cannot_give_is_refused_with_the_reason_everywhere(
    own: RunningPlatform, database: Database, flavor: str
) -> None:
    said = NEVER[flavor].format(cores=os.cpu_count())
    with own.session("student2") as browser:
        refused = browser.api("POST", "/users/student2/servers/never", json={"profile": "digits", "flavor": flavor})
    assert (refused.status_code, said in refused.json()["message"]) == (400, True), refused.text
    with own.client("student2") as client:
        for service, noun, body in (
            ("environments", "environments", {"name": "never", "profile": "digits", "flavor": flavor}),
            ("training", "jobs", {"name": "never", "profile": "digits", "flavor": flavor, "command": ["true"]}),
        ):
            answer = client.post(f"/services/{service}/api/v1/{noun}", json=body)
            assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.text
        rows = client.get("/services/catalog/api/v1/flavors", params={"limit": 100}).json()["items"]
    assert {row["name"]: row["available_now"] for row in rows if row["name"] in (flavor, "cpu-small")} == {flavor: False, "cpu-small": True}
    with database.reading() as tx:
        assert store.find(tx, "student2", "never") is None


def test_the_spawn_page_says_what_cannot_run_here(own: RunningPlatform) -> None:
    with own.session("student2") as browser:
        page = browser.view("/hub/spawn/student2").text
        titan = page.split('value="titan"')[1].split("</label>")[0]
        assert 'data-state="never">cannot run here' in titan
        assert NEVER["huge"].format(cores=os.cpu_count()) in titan
        digits = page.split('value="digits"')[0].rpartition("data-ltai-card=")[2]
        assert "4096 CPU" in digits
        assert digits.count("cannot run here") == len(FLAVORS)
    with own.session("student2", language="zh-CN") as browser:
        assert "此处无法运行" in browser.view("/hub/spawn/student2").text


def test_an_environment_ends_with_the_time_of_its_profile_and_so_does_its_bill(own: RunningPlatform, database: Database) -> None:
    with own.session("student1") as browser:
        started = row_of(database, "student1").started_at
        assert started
        row = wait_for_phase(database, "student1", "", Phase.STOPPED, seconds=SECONDS + 30)
        assert row.reason == "the time its profile allows is over"
        assert browser.wait_for_server("student1").get("stopped") is True
    assert row.ended_at
    assert timedelta(seconds=SECONDS) <= row.ended_at - started <= timedelta(seconds=SECONDS) + LATE
    with database.reading() as tx:
        (interval,) = intervals_of(tx, row)
    assert (interval["started_at"], interval["ended_at"]) == (started, row.ended_at)
    assert_nothing_left(database, row)
    seconds = (row.ended_at - started).total_seconds()
    with own.client("student1") as client:
        month = f"{utc_now():%Y-%m}"
        (line,) = client.get("/services/billing/api/v1/bills", params={"month": month, "user": "student1"}).json()["lines"]
        shown = client.get("/services/environments/api/v1/environments", params={"user": "me"}).json()["items"][0]
    assert (line["seconds"], line["running"]) == (pytest.approx(seconds, abs=0.01), False)
    assert (shown["phase"], shown["reason"]) == ("stopped", "the time its profile allows is over")
    time.sleep(1.5)
    with own.client("student1") as client:
        again = client.get("/services/billing/api/v1/bills", params={"month": month, "user": "student1"}).json()
    assert again["lines"][0]["cost_micro"] == line["cost_micro"]
