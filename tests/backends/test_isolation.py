"""One person against another, and against the platform: everything must be refused. Then limits, and what survives a crash."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.backends.local import records
from ltai_hub.backends.local.client import PORT_GROUP
from ltai_hub.backends.local.memory import descendants
from ltai_hub.domain.workloads import Mount, Phase
from ltai_hub.errors import BadWorkload, NoCapacity, TryLater
from tests.backends.support import MIB, RunningForkServer, a_workload, log_of, numbers, until, until_ended

ATTACK = (Path(__file__).parent / "attack.py").read_text()
KEY = 0x17A1
VICTIM = f"""
import contextlib, ctypes, functools, http.server, os, socket, sys
marker = sys.argv[1]
open(os.path.expanduser("~/secret.txt"), "w").write("a secret")
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0" + marker); abstract.listen()
for folder in ("/dev/shm/", "/tmp/"):
    with contextlib.suppress(OSError):
        open(folder + marker, "w").write("left here")
ctypes.CDLL(None).shmget({KEY}, 4096, 0o1666)
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=os.path.expanduser("~"))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print("port", server.server_address[1], flush=True)
server.serve_forever()
"""
Starter = Callable[..., RunningForkServer]
ONLY_WITH_NAMESPACES = {
    "see the other's processes",
    "/dev/shm file of the other",
    "System V shared memory of the other",
    "capabilities",
    "new user namespace",
}
ONLY_WITH_PRIVATE_NET = {"TCP server of the other", "TCP port of the platform"}


async def attack(forks: RunningForkServer, argv: Callable[[dict[str, Any]], list[str]] | None = None) -> dict[str, Any]:
    """Alice works, Bob attacks; {attack: what he got, or None}. With ``argv`` the platform itself attacks, unconfined."""
    marker = f"victim-{next(numbers)}-{os.getpid()}"
    backend = forks.backend
    for name in ("ltai.sqlite", "secrets.json"):
        (forks.data / name).write_text("of the platform")
    platform = socket.create_server(("127.0.0.1", 0))
    mlflow = listening_socket(forks.folder.mlflow_socket)
    victim = await backend.start(a_workload(("python", "-c", VICTIM, marker), home=forks.home("alice"), env={"TOKEN": "of alice"}))
    line = await anext(aiter(backend.logs(victim, follow=True)))
    record = forks.client.find(victim["replicas"][0])
    assert record
    assert record.process
    target = {
        "home": forks.home("alice"),
        "mine": ["bob"],
        "data": str(forks.data),
        "marker": marker,
        "key": KEY,
        "port": int(line.split()[1]),
        "platform_port": platform.getsockname()[1],
        "pids": {
            "the other's program": descendants(record.process.pid)[0],
            "the other's pid 1": record.process.pid,
            "the fork server": forks.pid,
            "the platform": os.getpid(),
        },
    }
    if argv:
        out = subprocess.run(argv(target), capture_output=True, text=True, env={"HOME": str(forks.data)}, check=True).stdout
    else:
        state = await backend.start(a_workload(("python", "-c", ATTACK, json.dumps(target)), user="bob", home=forks.home("bob")))
        out = await log_of(backend, state)
    platform.close()
    mlflow.close()
    await backend.stop(victim, 0)
    await until_ended(backend, victim)
    assert out.startswith("{"), out
    results: dict[str, Any] = json.loads(out)
    return results


def listening_socket(path: Path) -> socket.socket:
    """As MLflow's server opens it."""
    path.unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(path))
    path.chmod(0o600)
    opened.listen()
    return opened


def got(results: dict[str, Any]) -> dict[str, Any]:
    return {name: result for name, result in results.items() if result}


async def test_nothing_of_another_person_or_the_platform_can_be_reached(forks: RunningForkServer) -> None:
    if forks.mode != "namespaces":
        pytest.skip(f"this machine allows no namespaces: {forks.backend.isolation()['missing']}")
    results = await attack(forks)
    assert len(results) > 40
    nested = {"new user namespace"} if os.geteuid() == 0 else set()  # as root the limit would be the machine's own setting
    assert set(got(results)) <= nested, got(results)


async def test_the_same_attack_gets_everywhere_without_confinement(make_forks: Starter) -> None:
    """The control: what the test above calls refused is not refused by accident."""
    forks = make_forks("--isolation", "none", "--network", "shared")
    expected = {
        "read the other's file",
        "environment of the other's program",
        "platform database",
        "fork server's socket",
        "MLflow's socket",
        "run folder",
    }
    if "Nothing can be started" in str(forks.backend.isolation()["missing"]):
        forks = make_forks()  # without a mount namespace people's accounts cannot reach this interpreter: only the attacker is unconfined
    else:
        expected |= {"TCP server of the other", "abstract socket of the other", "/dev/shm file of the other", "/tmp file of the other"}
    results = got(await attack(forks, lambda target: [sys.executable, "-c", ATTACK, json.dumps(target)]))
    assert expected <= set(results)


async def test_with_a_shared_network_only_ports_are_open(make_forks: Starter) -> None:
    forks = make_forks("--network", "shared")
    if forks.mode != "namespaces":
        pytest.skip(f"this machine allows no namespaces: {forks.backend.isolation()['missing']}")
    results = await attack(forks)
    nested = {"new user namespace"} if os.geteuid() == 0 else set()
    assert set(got(results)) <= ONLY_WITH_PRIVATE_NET | nested, got(results)


async def test_landlock_hides_files_and_stops_signals(make_forks: Starter) -> None:
    forks = make_forks("--isolation", "landlock")
    if forks.mode != "landlock":
        pytest.skip(f"no Landlock here: {forks.backend.isolation()['missing']}")
    results = await attack(forks)
    assert set(got(results)) <= ONLY_WITH_NAMESPACES | ONLY_WITH_PRIVATE_NET, got(results)


async def test_a_person_keeps_their_home_and_sees_only_what_is_granted(forks: RunningForkServer) -> None:
    course = forks.data / "courses" / "ml"
    course.mkdir(parents=True, exist_ok=True)
    (course / "lesson.txt").write_text("lesson")
    home = forks.home("carol")
    code = f"""
import os, pathlib
print(pathlib.Path("{course}/lesson.txt").read_text(), os.listdir("{forks.data}"), os.listdir("{forks.data}/homes"))
pathlib.Path("kept.txt").write_text(os.environ["HOME"])
try: pathlib.Path("{course}/lesson.txt").write_text("changed")
except OSError as problem: print(problem.strerror)
"""
    mounts = (Mount(str(course), str(course)), Mount(str(course), f"{home}/course"))
    state = await forks.backend.start(a_workload(code=code, user="carol", home=home, mounts=mounts))
    log = await log_of(forks.backend, state)
    assert "lesson" in log
    assert "Read-only file system" in log
    assert "secrets" not in log
    assert Path(home, "kept.txt").read_text() == home
    assert Path(home).stat().st_mode & 0o777 == 0o700
    assert (course / "lesson.txt").read_text() == "lesson"


@pytest.mark.parametrize("target", ["", "/mnt/elsewhere"])
async def test_a_granted_folder_never_shows_the_data_folder_inside_it(forks: RunningForkServer, target: str) -> None:
    if forks.mode != "namespaces":
        pytest.skip("folders are covered with namespaces only")
    (forks.data / "secrets.json").write_text("of the platform")
    forks.data.parent.chmod(0o755)
    parent = str(forks.data.parent)
    target = target or parent
    code = f"import os; print(os.listdir('{target}'), os.listdir('{target}/data'), os.path.isdir(os.environ['HOME']))"
    state = await forks.backend.start(a_workload(code=code, home=forks.home("alice"), mounts=(Mount(parent, target),)))
    inside = ["homes"] if target == parent else []
    assert await log_of(forks.backend, state) == f"['data'] {inside} True\n"


async def test_stopping_what_is_just_starting_is_not_lost(forks: RunningForkServer) -> None:
    workload = a_workload(code="import time; time.sleep(60)", home=forks.home("alice"))
    starting = asyncio.create_task(forks.client.start_command(workload, workload.name))
    state = {"name": workload.name}
    while not (forks.folder.workloads / workload.name / "spec.json").exists():
        await asyncio.sleep(0.0005)
    await forks.client.stop(state, grace_seconds=0.2)
    await starting
    assert await forks.client.wait(state, 5) is not None


async def test_a_symlink_planted_in_a_home_is_not_followed_into_the_data_folder(forks: RunningForkServer) -> None:
    home = Path(forks.home("dave"))
    await until_ended(forks.backend, await forks.backend.start(a_workload(user="dave", home=str(home))))
    (home / "shared").symlink_to(forks.data / "run")
    with pytest.raises(BadWorkload, match="symbolic link"):
        await forks.backend.start(a_workload(user="dave", home=str(home), mounts=(Mount(f"{home}/shared", "/tmp/shared"),)))


async def test_nothing_of_the_machine_is_created_just_to_mount_on_it(forks: RunningForkServer) -> None:
    if forks.mode != "namespaces":
        pytest.skip("mount points exist with namespaces only")
    home = forks.home("dave")
    with pytest.raises(BadWorkload, match="belongs to the machine"):
        await forks.backend.start(a_workload(user="dave", home=home, mounts=(Mount(home, "/usr/ltai-test-mount"),)))
    assert not Path("/usr/ltai-test-mount").exists()


async def test_a_program_inherits_no_descriptor_of_the_platform(forks: RunningForkServer) -> None:
    state = await forks.backend.start(a_workload(code="import os; print(len(os.listdir('/proc/self/fd')))", home=forks.home("alice")))
    assert (await log_of(forks.backend, state)).strip() == "4"  # 0, 1, 2 and the folder being listed


async def test_the_platform_s_environment_is_not_passed_on(forks: RunningForkServer) -> None:
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    workload = a_workload(code=code, home=forks.home("alice"), env={"MINE": "1", "HOME": "/elsewhere"})
    seen = json.loads(await log_of(forks.backend, await forks.backend.start(workload)))
    assert seen["MINE"] == "1"
    assert seen["HOME"] == forks.home("alice")
    assert seen["CUDA_VISIBLE_DEVICES"] == "-1"
    assert seen["PATH"].startswith(sys.prefix + "/bin:")
    assert not {"PYTEST_CURRENT_TEST", "VIRTUAL_ENV_PROMPT", "SSH_AUTH_SOCK"} & set(seen)


async def test_an_accelerator_s_number_is_in_the_environment(forks: RunningForkServer) -> None:
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['NVIDIA_VISIBLE_DEVICES'])"
    state = await forks.backend.start(a_workload(code=code, home=forks.home("alice"), accelerators=2))
    assert await log_of(forks.backend, state) == "0,1 0,1\n"


async def test_only_forwarded_ports_of_the_machine_are_reachable(forks: RunningForkServer) -> None:
    if forks.backend.isolation()["network"] != "private":
        pytest.skip("this machine allows no private network")
    with socket.create_server(("127.0.0.1", 0)) as open_server, socket.create_server(("127.0.0.1", 0)) as closed_server:
        open_port, closed_port = open_server.getsockname()[1], closed_server.getsockname()[1]
        code = f"""
import socket
s = socket.create_connection(("127.0.0.1", {open_port})); s.sendall(b"x" * 3_000_000); s.shutdown(1); print(s.recv(9))
try: socket.create_connection(("127.0.0.1", {closed_port}))
except OSError as problem: print(problem.strerror)
"""
        client = replace(forks.client, forward=(open_port,))
        state = await client.start_command(a_workload(code=code, home=forks.home("alice")), f"job-relay-{next(numbers)}")
        received = await asyncio.to_thread(answer_once, open_server)
        assert received == 3_000_000
        assert await log_of(forks.backend, state) == "b'thanks'\nConnection refused\n"


async def test_with_pasta_a_private_network_has_the_internet_but_not_the_machine(forks: RunningForkServer) -> None:
    if not forks.backend.isolation().get("pasta"):
        pytest.skip("pasta is not installed, or /dev/net/tun is not writable")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import socket, time
until = time.time() + 5
while len(open("/proc/net/route").readlines()) < 2 and time.time() < until: time.sleep(0.01)
print(len(open("/proc/net/route").readlines()) >= 2)
try: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}))
except OSError as problem: print(problem.strerror)
"""
        state = await forks.backend.start(a_workload(code=code, home=forks.home("alice")))
        assert await log_of(forks.backend, state) == "True\nConnection refused\n"


def answer_once(server: socket.socket) -> int:
    connection, _ = server.accept()
    with connection:
        count = 0
        while chunk := connection.recv(1 << 16):
            count += len(chunk)
        connection.sendall(b"thanks")
    return count


# limits


@pytest.fixture(params=["cgroups", "watchdog"])
def limited(request: pytest.FixtureRequest, make_forks: Starter) -> RunningForkServer:
    forks = make_forks(*(["--no-cgroups"] if request.param == "watchdog" else []))
    if request.param == "cgroups" and "memory" not in forks.backend.isolation()["limits"]:
        pytest.skip("no memory cgroup may be made here")
    return forks


async def test_a_program_over_its_memory_is_killed_with_the_reason(limited: RunningForkServer) -> None:
    code = "import time\nkept = []\nfor i in range(80): kept.append(b'x' * (10 << 20)); time.sleep(0.02)"
    state = await limited.backend.start(a_workload(code=code, home=limited.home("alice"), memory=256 * MIB))
    seen = await until_ended(limited.backend, state, seconds=20)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 137, "killed: over its memory limit of 256 MiB")
    assert "over its memory limit of 256 MiB" in await log_of(limited.backend, state)


async def test_the_largest_process_is_killed_and_the_rest_goes_on(limited: RunningForkServer) -> None:
    code = """
import subprocess, sys
hungry = "import time\\nkept = []\\nfor i in range(80): kept.append(b'x' * (10 << 20)); time.sleep(0.02)"
print(subprocess.run([sys.executable, "-c", hungry]).returncode, flush=True)
import time; time.sleep(30)
"""
    state = await limited.backend.start(a_workload(code=code, home=limited.home("alice"), memory=256 * MIB))
    stream = aiter(limited.backend.logs(state, follow=True))
    text = b""
    while b"-9\n" not in text:
        text += await asyncio.wait_for(anext(stream), 20)
    seen = await until(limited.backend, state, Phase.RUNNING)
    for _ in range(100):
        if "over its memory limit" in seen.reason:
            break
        await asyncio.sleep(0.05)
        seen = await until(limited.backend, state, Phase.RUNNING)
    assert "over its memory limit of 256 MiB" in seen.reason
    await limited.backend.stop(state, 0)


async def test_shared_memory_counts(limited: RunningForkServer) -> None:
    code = "import mmap, time\nm = mmap.mmap(-1, 800 << 20)\nfor i in range(80): m.write(b'x' * (10 << 20)); time.sleep(0.02)"
    state = await limited.backend.start(a_workload(code=code, home=limited.home("alice"), memory=256 * MIB))
    assert "over its memory limit" in (await until_ended(limited.backend, state, seconds=20)).reason


async def test_a_fork_bomb_stops_at_the_limit(forks: RunningForkServer) -> None:
    if forks.mode != "namespaces" and os.geteuid() != 0:
        pytest.skip("without namespaces people share one account's count with the platform")
    code = """
import os, time
count = 0
try:
    while count < 2000:
        if os.fork() == 0: time.sleep(30); os._exit(0)
        count += 1
except BlockingIOError: pass
print(count)
"""
    state = await forks.backend.start(a_workload(code=code, user="erin", home=forks.home("erin"), memory=2048 * MIB))
    most = 400 if os.geteuid() else 1200  # as root all of a person's workloads are counted together
    assert 100 < int((await log_of(forks.backend, state)).split()[0]) <= most


async def test_core_dumps_are_off_and_the_kernel_prefers_people_s_processes(forks: RunningForkServer) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/oom_score_adj').read())"
    state = await forks.backend.start(a_workload(code=code, home=forks.home("alice")))
    assert await log_of(forks.backend, state) == "(0, 0) 300\n\n"


# ends and crashes


async def test_ends_are_told_in_words(forks: RunningForkServer) -> None:
    for code, exit_code, reason in (
        ("import os; os.abort()", 134, "ended by SIGABRT"),
        ("raise SystemExit(7)", 7, "exit code 7"),
        ("import os, signal; os.kill(1, signal.SIGKILL); print('still here')", 0, ""),
    ):
        seen = await until_ended(forks.backend, await forks.backend.start(a_workload(code=code, home=forks.home("alice"))))
        assert (seen.exit_code, seen.reason) == (exit_code, reason)


async def test_what_cannot_be_run_is_said_in_the_log(forks: RunningForkServer) -> None:
    state = await forks.backend.start(a_workload(("no-such-program",), home=forks.home("alice")))
    assert (await until_ended(forks.backend, state)).exit_code == 127
    assert "no-such-program: not found" in await log_of(forks.backend, state)
    state = await forks.backend.start(replace(a_workload(home=forks.home("alice")), cwd=forks.home("alice") + "/nowhere"))
    assert (await until_ended(forks.backend, state)).exit_code == 127
    assert "nowhere cannot be entered" in await log_of(forks.backend, state)


async def test_a_stubborn_program_is_killed_after_the_grace(forks: RunningForkServer) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    state = await forks.backend.start(a_workload(code=code, home=forks.home("alice")))
    await anext(aiter(forks.backend.logs(state, follow=True)))
    began = time.monotonic()
    await forks.backend.stop(state, grace_seconds=0.5)
    seen = await until_ended(forks.backend, state)
    assert (seen.exit_code, seen.reason) == (137, "stopped")
    assert 0.4 < time.monotonic() - began < 3


async def test_nothing_a_program_left_behind_outlives_it(forks: RunningForkServer) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(77.125)'], start_new_session=True)"
    await until_ended(forks.backend, await forks.backend.start(a_workload(code=code, home=forks.home("alice"))))
    await asyncio.sleep(0.2)
    assert "77.125" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


async def test_exit_code_log_and_time_are_kept_when_the_fork_server_is_killed(make_forks: Starter) -> None:
    forks = make_forks()
    code = "import time; print('before', flush=True); time.sleep(1); print('after', flush=True); raise SystemExit(5)"
    state = await forks.backend.start(a_workload(code=code, home=forks.home("alice")))
    await until(forks.backend, state, Phase.RUNNING)
    forks.kill()
    with pytest.raises(TryLater, match="fork server"):
        await forks.backend.start(a_workload(home=forks.home("alice")))
    seen = await until_ended(forks.backend, state)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 5, "exit code 5")
    assert seen.started_at
    assert seen.ended_at
    assert 0.9 < (seen.ended_at - seen.started_at).total_seconds() < 3
    assert await log_of(forks.backend, state) == "before\nafter\n"
    forks.start()


async def test_a_new_fork_server_knows_what_still_holds_accelerators(make_forks: Starter) -> None:
    forks = make_forks("--simulated-gpus", "1")
    held = await forks.backend.start(a_workload(code="import time; time.sleep(60)", home=forks.home("alice"), accelerators=1))
    await until(forks.backend, held, Phase.RUNNING)
    forks.kill()
    forks.start()
    with pytest.raises(NoCapacity):
        await forks.backend.start(a_workload(home=forks.home("alice"), accelerators=1))
    await forks.backend.stop(held, 0)
    await until_ended(forks.backend, held)
    await asyncio.sleep(0.2)
    state = await forks.backend.start(a_workload(home=forks.home("alice"), accelerators=1))
    assert (await until_ended(forks.backend, state)).phase is Phase.SUCCEEDED


async def test_a_workload_whose_pid_1_was_killed_has_ended_with_a_reason(forks: RunningForkServer) -> None:
    state = await forks.backend.start(a_workload(code="import time; time.sleep(60)", home=forks.home("alice")))
    record = forks.client.find(state["replicas"][0])
    assert record
    assert record.process
    os.kill(record.process.pid, 9)
    seen = await until_ended(forks.backend, state)
    assert (seen.exit_code, seen.reason, seen.ended_at) == (137, "killed from outside", None)


async def test_a_machine_that_was_restarted_does_not_pretend_to_know_when_it_went_down(forks: RunningForkServer) -> None:
    state = await forks.backend.start(a_workload(home=forks.home("alice")))
    await until_ended(forks.backend, state)
    folder = forks.client.workload_folder(state["replicas"][0])
    process = json.loads((folder / "process.json").read_text())
    (folder / "process.json").write_text(json.dumps({**process, "boot_id": "another"}))
    (folder / "exit.json").write_text("")
    for _ in range(2):
        (seen,) = await forks.backend.observe([state])
        assert (seen.phase, seen.exit_code, seen.reason, seen.ended_at) == (Phase.FAILED, 137, "the machine was restarted", None)


async def test_a_reused_pid_is_never_taken_for_ours(forks: RunningForkServer) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        name = f"job-old-{next(numbers)}"
        folder = forks.folder.workloads / name
        folder.mkdir()
        records.write_spec(folder, records.Spec(name, "job", "alice"))
        real = records.describe_process(stranger.pid)
        old = {"pid": stranger.pid, "start_ticks": real.start_ticks - 1, "boot_id": real.boot_id, "started_at": real.started_at}
        (folder / "process.json").write_text(json.dumps(old))
        (folder / "stop.json").touch()
        await forks.client.stop({"name": name}, now=True)
        assert await forks.client.poll({"name": name}) == 137
        assert stranger.poll() is None
        stranger.kill()


async def test_after_a_restart_of_the_machine_nothing_runs(forks: RunningForkServer) -> None:
    mine = records.describe_process(os.getpid())
    assert records.is_alive(mine)
    assert not records.is_alive(replace(mine, boot_id="another boot"))


# ports


SERVES = """
import http.server, os, socket, sys
class Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[1].encode())
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Says, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["LTAI_LISTEN_FD"])); server.server_activate(); server.serve_forever()
"""


async def ask(address: str) -> str:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n")[2].decode()


async def test_instances_of_one_group_share_an_address(forks: RunningForkServer) -> None:
    group = {PORT_GROUP: f"endpoint-{next(numbers)}"}
    first, second = [
        await forks.backend.start(a_workload(("python", "-c", SERVES, name), home=forks.home("alice"), env=group, port=True))
        for name in "ab"
    ]
    addresses = {(await until(forks.backend, state, Phase.RUNNING)).addresses for state in (first, second)}
    assert len(addresses) == 1
    ((address,),) = addresses
    answers = Counter([await ask(address) for _ in range(60)])
    assert set(answers) == {"a", "b"}
    await forks.backend.stop(first, 0)
    await until_ended(forks.backend, first)
    assert {await ask(address) for _ in range(20)} == {"b"}


async def test_a_port_is_not_ready_before_the_program_listens(forks: RunningForkServer) -> None:
    code = (
        "import os, socket, time; time.sleep(0.5); s = socket.socket(fileno=int(os.environ['LTAI_LISTEN_FD'])); s.listen(); time.sleep(60)"
    )
    state = await forks.backend.start(a_workload(code=code, home=forks.home("alice"), port=True))
    (seen,) = await forks.backend.observe([state])
    assert (seen.phase, seen.addresses) == (Phase.STARTING, ())
    assert len((await until(forks.backend, state, Phase.RUNNING)).addresses) == 1


# speed


async def test_the_first_line_of_a_job_comes_soon_after_a_bare_python_s(
    forks: RunningForkServer, record_property: Callable[[str, object], None]
) -> None:
    """Figure P7 wants 50 ms above a bare start; here only a gross regression fails, as other tests may keep the cores busy."""
    code = "import time; print(time.time())"
    above = []
    for _ in range(5):
        began = time.time()
        bare = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) - began
        began = time.time()
        state = await forks.backend.start(a_workload(code=code, home=forks.home("alice")))
        above.append(float(await log_of(forks.backend, state)) - began - bare)
    record_property("milliseconds above a bare start", round(sorted(above)[2] * 1000, 1))
    print([round(one * 1000, 1) for one in above])
    assert sorted(above)[2] < 0.4
