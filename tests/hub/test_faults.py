"""The platform stopped, killed, or started where it cannot start. Each test has an instance of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from ltai_hub.accounts.service import Accounts
from ltai_hub.backends.local.records import all_records
from ltai_hub.db.engine import Database
from ltai_hub.db.tables import usage_intervals
from ltai_hub.domain.workloads import Phase
from ltai_hub.environments import store
from ltai_hub.environments.store import Environment
from ltai_hub.paths import DataFolder
from ltai_hub.units import utc_now
from tests.bench.peers import wait_for
from tests.fixtures import Browser, RunningPlatform, free_port, launch, start_platform
from tests.hub.kernel import run_code

pytestmark = pytest.mark.hub


@dataclass
class Own:
    """An instance that is stopped and killed; every test leaves it running. It takes the images the session's instance has built."""

    now: RunningPlatform

    @property
    def data(self) -> Path:
        return self.now.data

    def start_again(self) -> RunningPlatform:
        port = int(self.now.url.rpartition(":")[2])
        self.now = start_platform(self.data, "--demo", "--simulated-gpus", "2", port=port)
        return self.now

    def kill(self) -> None:
        process_of(self.now).kill()
        process_of(self.now).wait()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, platform: RunningPlatform) -> Iterator[Own]:
    data = tmp_path_factory.mktemp("own") / "data"
    data.mkdir()
    borrow_images(platform, data)
    own = Own(start_platform(data, "--demo", "--simulated-gpus", "2"))
    yield own
    if process_of(own.now).poll() is None:
        own.now.stop()
    end(data)


def build_image(platform: RunningPlatform) -> None:
    """The demo's own, unless that was done."""
    with platform.session("student1") as browser:
        browser.api("POST", "/users/student1/servers/builder", json={"profile": "digits"})
        browser.wait_for_server("student1", "builder")
        browser.api("DELETE", "/users/student1/servers/builder", json={"remove": True})


def borrow_images(platform: RunningPlatform, data: Path) -> None:
    """Building one takes seconds; files are linked, so nothing is copied."""
    build_image(platform)
    subprocess.run(["cp", "-al", str(platform.data / "images"), str(data / "images")], check=True)


def end(data: Path) -> None:
    """Whatever the test left running of this data folder."""
    for record in all_records(data / "run" / "workloads"):
        if record.is_running and record.process:
            os.kill(record.process.pid, signal.SIGKILL)


def process_of(running: RunningPlatform) -> subprocess.Popen[bytes]:
    assert running.process is not None
    return running.process


def processes_of(data: Path) -> list[str]:
    """Command lines of everything that still knows the data folder, or has a file of it open as its output."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            output = os.readlink(folder / "fd" / "1")
            if str(data) in command or output.startswith(str(data) + "/"):
                found.append(f"{folder.name} {command}")
    return found


def wait_until_alone(data: Path, seconds: float = 10) -> list[str]:
    until = time.monotonic() + seconds
    while (left := processes_of(data)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def row_of(data: Path, user: str, server: str = "") -> Environment:
    database = Database(DataFolder(data).database_url)
    with database.reading() as tx:
        row = store.find(tx, user, server)
    database.close()
    assert row is not None
    return row


def intervals_of(data: Path, row: Environment) -> list[tuple[object, object]]:
    database = Database(DataFolder(data).database_url)
    with database.reading() as tx:
        query = select(usage_intervals).where(usage_intervals.c.noun_id == row.run_id)
        found = [(r["started_at"], r["ended_at"]) for r in tx.execute(query).mappings()]
    database.close()
    return found


def start_environment(running: RunningPlatform, user: str, server: str) -> None:
    """Running already is fine."""
    with running.session(user) as browser:
        browser.api("POST", f"/users/{user}/servers/{server}", json={"profile": "digits"})
        assert browser.wait_for_server(user, server)["ready"]


def test_secrets_are_files_of_the_owner_only(platform: RunningPlatform) -> None:
    for name in ("ready.json", "secrets.json", "ltai.sqlite", "demo.json", "ports.json"):
        assert stat.S_IMODE((platform.data / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((platform.data / "hub").stat().st_mode) == 0o700
    ready = json.loads((platform.data / "ready.json").read_text())
    assert (ready["url"], ready["pid"]) == (platform.url, process_of(platform).pid)
    assert {a["role"] for a in ready["accounts"]} == {"admin", "teacher", "assistant", "student"}


def test_no_token_is_in_a_command_line(platform: RunningPlatform) -> None:
    keys = json.loads((platform.data / "secrets.json").read_text()).values()
    commands = "\n".join(processes_of(platform.data))
    assert commands
    assert not any(key in commands for key in keys)


def test_after_kill_minus_nine_the_environment_goes_on_and_is_found_again(own: Own) -> None:
    start_environment(own.now, "student1", "lab")
    before = row_of(own.data, "student1", "lab")
    own.kill()
    assert [r.spec.name for r in all_records(own.data / "run" / "workloads") if r.is_running] == [f"environment-{before.id}-1"]
    with own.start_again().session("student1") as browser:
        assert browser.api("GET", "/users/student1").json()["servers"]["lab"]["ready"]
        assert run_code(browser, "/user/student1/lab/", "print(6 * 7)").strip() == "42"
    after = row_of(own.data, "student1", "lab")
    assert (after.phase, after.started_at) == (Phase.RUNNING, before.started_at)
    assert intervals_of(own.data, after) == [(before.started_at, None)]


def test_what_ended_while_the_platform_was_down_is_metered_to_its_end(own: Own) -> None:
    start_environment(own.now, "student1", "lab")
    own.kill()
    (record,) = [r for r in all_records(own.data / "run" / "workloads") if r.is_running]
    assert record.process
    os.kill(record.process.pid, signal.SIGTERM)
    ended = exit_of(own.data, record.spec.name)
    own.start_again()
    row = row_of(own.data, "student1", "lab")
    assert row.phase.is_final
    assert row.ended_at is not None
    assert row.ended_at.isoformat() == ended
    assert intervals_of(own.data, row)[-1][1] == row.ended_at


def test_a_start_cut_off_by_kill_minus_nine_is_ended(own: Own) -> None:
    database = Database(DataFolder(own.data).database_url)
    with database.transaction() as tx:
        choice = store.Choice("ml-101", "digits", "scikit-learn", "cpu-small")
        store.begin(tx, "student2", "cut-off", choice, "/user/x", utc_now(), None)
    database.close()
    own.kill()
    own.start_again()
    row = row_of(own.data, "student2", "cut-off")
    assert (row.phase, row.reason) == (Phase.FAILED, "the platform was stopped while it started")


def test_a_part_that_dies_comes_back(own: Own) -> None:
    for name in ("ltai_hub.local.child hub", "chp.mjs"):
        os.kill(pid_of(own.now, name), signal.SIGKILL)
        wait_for_sign_in(own.now)


def test_a_hub_that_says_it_is_ready_has_given_every_route(own: Own) -> None:
    for name in ("chp.mjs", "ltai_hub.local.child hub"):
        os.kill(pid_of(own.now, name), signal.SIGKILL)
    wait_for(f"{own.now.url}/hub/ready")
    # what the hub says without a route: the address does not exist
    assert httpx.get(f"{own.now.url}/services/tenancy/api/v1/me").status_code == 401


def pid_of(running: RunningPlatform, name: str) -> int:
    (pid,) = [int(line.split()[0]) for line in children_of(process_of(running).pid) if name in line]
    return pid


def test_ctrl_c_leaves_nothing_and_everything_is_there_again(own: Own) -> None:
    start_environment(own.now, "student1", "lab")
    accounts = own.now.accounts
    assert own.now.stop() == 0
    assert wait_until_alone(own.data) == []
    assert not (own.data / "ready.json").exists()
    stopped = row_of(own.data, "student1", "lab")
    assert stopped.phase is Phase.STOPPED
    assert all(end for _, end in intervals_of(own.data, stopped))
    with own.start_again().session("student1") as browser:
        assert "lab" in browser.api("GET", "/users/student1", params={"include_stopped_servers": ""}).json()["servers"]
    assert own.now.accounts == accounts


def test_a_second_ctrl_c_kills_everything(own: Own) -> None:
    start_environment(own.now, "student1", "lab")
    process_of(own.now).send_signal(signal.SIGINT)
    time.sleep(0.1)
    process_of(own.now).send_signal(signal.SIGINT)
    process_of(own.now).wait(10)
    assert wait_until_alone(own.data) == []


def exit_of(data: Path, name: str, seconds: float = 20) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        (record,) = [r for r in all_records(data / "run" / "workloads") if r.spec.name == name]
        if record.exit:
            return record.exit.ended_at
        time.sleep(0.05)
    raise AssertionError(f"{name} did not end")


def wait_for_sign_in(running: RunningPlatform, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(AssertionError, httpx.HTTPError), running.session("student2") as browser:
            if browser.get("/services/tenancy/api/v1/me").status_code == 401:
                return
        time.sleep(0.2)
    raise AssertionError("nobody can sign in any more")


def children_of(pid: int) -> list[str]:
    return subprocess.run(["ps", "--ppid", str(pid), "-o", "pid=,args="], capture_output=True, text=True).stdout.splitlines()


# ---- exit code 2: one line that says what to do


def refused(data: Path, tmp_path: Path, *options: str) -> str:
    output = tmp_path / "refused.out"
    code = launch(data, output, *options).wait(60)
    said = output.read_text().strip()
    assert code == 2, said
    assert len(said.splitlines()) == 1, said
    return said


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(tmp_path / "data", tmp_path, "--port", str(port))
    assert f"port {port} is in use" in said
    assert "--port" in said


def test_a_data_folder_in_use_is_refused(platform: RunningPlatform, tmp_path: Path) -> None:
    said = refused(platform.data, tmp_path, "--port", str(free_port()))
    assert f"in use by another ltai start (process {process_of(platform).pid})" in said


@pytest.mark.parametrize("data", ["/proc/ltai", "/dev/null/data"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, data: str) -> None:
    assert "cannot be written" in refused(Path(data), tmp_path, "--port", str(free_port()))


def test_a_folder_whose_sockets_would_have_too_long_paths_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("数" * 20)
    said = refused(deep, tmp_path, "--port", str(free_port()))
    assert "choose a shorter one with --data" in said
    assert not deep.parent.exists()


def test_a_broken_catalogue_is_refused_and_nothing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    for name in ("flavors", "images", "profiles"):
        (catalog / f"{name}.yaml").write_text(f"{name}: {{}}\n")
    (catalog / "flavors.yaml").write_text("flavors:\n  tiny:\n    cpuu: 1\n")
    monkeypatch.setenv("LTAI_CATALOG", str(catalog))
    output = tmp_path / "refused.out"
    assert launch(tmp_path / "data", output, "--port", str(free_port())).wait(60) == 2
    assert "flavors.yaml:3" in output.read_text()
    assert not (tmp_path / "data" / "ready.json").exists()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with sqlite3.connect(data / "ltai.sqlite") as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    database.close()
    before = (data / "ltai.sqlite").read_bytes()
    assert "newer version" in refused(data, tmp_path, "--port", str(free_port()))
    assert (data / "ltai.sqlite").read_bytes() == before


def test_demo_listens_on_loopback_only(tmp_path: Path) -> None:
    assert "loopback only" in refused(tmp_path / "data", tmp_path, "--demo", "--host", "0.0.0.0", "--port", str(free_port()))


def test_without_demo_the_first_admin_gets_a_link(tmp_path: Path) -> None:
    running = start_platform(tmp_path / "data")
    try:
        said = running.output.read_text()
        assert f"{running.url}/hub/invite/" in said
        assert said.strip().splitlines()[-1] == f"Ready: {running.url}"
        assert running.accounts == {}
        link = re.search(r"/hub/invite/\S+", said)
        assert link
        fields = {"display_name": "First", "password": "the first secret", "again": "the first secret"}
        with Browser(running.url) as admin:
            landed = admin.submit(link[0], username="first", **fields)
            assert (landed.url.path, landed.status_code) == ("/services/console/", 200)
        accounts = Accounts(Database(DataFolder(running.data).database_url))
        with Browser(running.url) as student:
            landed = student.submit(f"/hub/invite/{accounts.invite().token}", username="second", **fields)
            assert landed.url.path == "/hub/spawn"
    finally:
        assert running.stop() == 0
