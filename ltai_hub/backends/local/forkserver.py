"""``python -m ltai_hub.backends.local.forkserver --data DIR``: starts every process of every person, confined.

Start it with an empty environment: /proc/PID/environ shows for ever what a process was exec'ed with. Single-threaded
and lean: a start costs it one fork of a small process. It may be killed and started again at any time; what runs
goes on and is found again in the run folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ltai_hub.backends.local import records
from ltai_hub.backends.local.cgroups import Cgroups, Group, find_cgroups, remove_empty_groups, remove_groups
from ltai_hub.backends.local.connection import Connection, is_trusted, listen
from ltai_hub.backends.local.devices import Device, find_devices
from ltai_hub.backends.local.full import FULL, FULL_SECONDS, is_full
from ltai_hub.backends.local.launch import Launch, Machine, exec_command, run_child
from ltai_hub.backends.local.notebooks import send_launch, start_notebook_parent
from ltai_hub.backends.local.plan import Mode
from ltai_hub.backends.local.probe import Isolation, probe_isolation
from ltai_hub.backends.local.records import Record, Spec
from ltai_hub.backends.local.request import LENGTH, Answer, Header, unpack_header
from ltai_hub.backends.local.shares import Shares
from ltai_hub.backends.local.syscalls import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, name_process, prctl
from ltai_hub.backends.local.uids import Uids
from ltai_hub.backends.local.visible import environment_grants
from ltai_hub.errors import BadWorkload, Problem, TryLater

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


@dataclass
class Start:
    """A child on its way; it reports through a pipe."""

    spec: Spec
    connection: Connection
    report: int
    said: bytes = b""


class ForkServer:
    def __init__(self, data: Path, isolation: Isolation, devices: list[Device], cgroups: Cgroups | None, machine: Machine) -> None:
        self.workloads = data / "run" / "workloads"
        self.trash = data / "run" / "trash"
        self.isolation = isolation
        self.cgroups = cgroups
        self.machine = machine
        self.running: dict[str, Spec] = {}
        uids = Uids(data / "run" / "uids.json") if os.geteuid() == 0 else None
        self.shares = Shares(self.workloads, devices, cgroups, machine, uids, self.running)
        self.selector = selectors.DefaultSelector()
        self.notebooks: socket.socket | None = None
        self.notebooks_pid = 0

    def run(self, listener: socket.socket, wakeup: int) -> None:
        """Never returns but by SIGTERM."""
        self.start_notebooks()
        self.find_running()
        self.watch(listener, lambda: self.on_connect(listener))
        self.watch(wakeup, lambda: self.on_child(wakeup))
        while True:
            for key, _ in self.selector.select():
                handler: Callable[[], None] = key.data
                handler()

    def watch(self, file: socket.socket | int, handler: Callable[[], None]) -> None:
        self.selector.register(file, selectors.EVENT_READ, handler)

    # what runs already

    def find_running(self) -> None:
        for left in self.trash.iterdir():
            self.discard(left)
        for record in records.all_records(self.workloads):
            if record.process and record.is_running:
                self.running[record.spec.name] = record.spec
                self.watch_process(record.spec, record.process.pid)
            elif record.is_starting:
                self.running[record.spec.name] = record.spec
            else:
                self.clean_up(record)

    def watch_process(self, spec: Spec, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return self.on_end(spec)
        self.watch(pidfd, lambda: self.on_pidfd(spec, pidfd))

    def on_pidfd(self, spec: Spec, pidfd: int) -> None:
        self.selector.unregister(pidfd)
        os.close(pidfd)
        self.reap()
        if self.running.get(spec.name) is spec:  # else it was replaced by a new one of the same name
            self.on_end(spec)

    def on_end(self, spec: Spec) -> None:
        self.running.pop(spec.name, None)
        record = records.find_record(self.workloads / spec.name)
        if record:
            self.clean_up(record)
        else:
            self.clean_up(Record(self.workloads / spec.name, spec))

    def clean_up(self, record: Record) -> None:
        if record.exit is None and record.folder.exists():
            records.write_lost_exit(record)
        remove_groups(record.spec.cgroups, self.cgroups)
        self.discard(Path(record.spec.scratch))

    def discard(self, path: Path) -> None:
        """Gone at once; the deleting is a child's work, for a large folder takes its time."""
        if not os.path.lexists(path):
            return
        with contextlib.suppress(OSError):  # another file system: deleted in place
            path = path.rename(self.trash / os.urandom(8).hex())
        if os.fork() == 0:
            records.remove(path)
            os._exit(0)

    def on_child(self, wakeup: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wakeup, 4096)
        self.reap()

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                if pid == self.notebooks_pid and self.notebooks:
                    self.notebooks.close()
                    self.notebooks = None

    # requests

    def on_connect(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.setblocking(False)
        if not is_trusted(sock, {*self.alive_pids()}):
            Connection(sock).answer(Answer(error=Problem.code, message="only the platform may start processes"))
            return
        connection = Connection(sock)
        self.watch(sock, lambda: self.on_data(connection))

    def alive_pids(self) -> list[int]:
        found = (records.find_record(self.workloads / name) for name in self.running) if self.machine.mode is not Mode.NAMESPACES else ()
        return [record.process.pid for record in found if record and record.process]

    def on_data(self, connection: Connection) -> None:
        try:
            chunk = connection.sock.recv(connection.missing())
        except BlockingIOError:
            return
        connection.received += chunk
        if chunk and connection.missing() > 0:
            return
        self.selector.unregister(connection.sock)
        if not chunk:
            connection.sock.close()
            return
        self.on_header(connection)

    def on_header(self, connection: Connection) -> None:
        name = ""
        try:
            header = unpack_header(bytes(connection.received[LENGTH.size :]))
            name = header.name
            if header.op == "status":
                details = {**self.isolation.as_json(), "notebooks": self.notebooks is not None, "running": len(self.running)}
                return connection.answer(Answer(details=details))
            self.on_start(header, connection)
        except Problem as problem:
            connection.answer(Answer(name, 0, problem.code, problem.message, getattr(problem, "after", 0.0), problem.details))
        except Exception as problem:
            print(f"start of {name} failed: {problem!r}", file=sys.stderr, flush=True)
            if is_full(problem):
                return connection.answer(Answer(name, 0, TryLater.code, FULL, FULL_SECONDS))
            connection.answer(Answer(name, 0, TryLater.code, f"the fork server could not start {name}: {problem}", 5.0))

    def on_start(self, header: Header, connection: Connection) -> None:
        check_header(header)
        folder = self.workloads / header.name
        known = records.find_record(folder)
        lives = known and not known.exit and (known.is_running or known.is_starting or header.name in self.running)
        if known and (lives or not header.replace_ended):
            return connection.answer(Answer(header.name, known.spec.port))
        if known and header.name in self.running:  # its end is written, but we have not been told yet
            self.on_end(known.spec)
        self.discard(folder)
        devices = self.shares.take_devices(header)
        listening = self.shares.bind_port(header) if header.port else None
        folder.mkdir(mode=0o700, parents=True)
        group = self.shares.make_group(header)
        spec = self.shares.make_spec(header, devices, listening, group)
        self.running[spec.name] = spec
        try:
            records.write_spec(folder, spec)
            self.launch(spec, header.main, connection, listening, group)
        except OSError:
            self.on_end(spec)
            self.discard(folder)
            raise

    def launch(self, spec: Spec, main: str, connection: Connection, listening: socket.socket | None, group: Group) -> None:
        read, write = os.pipe()
        inherited = listening.fileno() if listening else -1
        launch = Launch(self.machine, spec, main, connection.sock.fileno(), write, inherited, group.procs, group.oom_counters)
        try:
            if main == "notebook":
                self.send_to_notebooks(launch)
            elif os.fork() == 0:
                run_child(launch, lambda body, launch: exec_command(body, launch))
        finally:
            for fd in (write, *group.procs, *group.oom_counters):
                os.close(fd)
            if listening:
                listening.close()
        start = Start(spec, connection, read)
        self.watch(read, lambda: self.on_report(start))

    def on_report(self, start: Start) -> None:
        chunk = os.read(start.report, 4096)
        start.said += chunk
        lines = start.said.decode(errors="replace").splitlines()
        if chunk and "ok" not in lines:
            return
        self.selector.unregister(start.report)
        os.close(start.report)
        pids = [int(line[4:]) for line in lines if line.startswith("pid ")]
        if pids:
            self.watch_process(start.spec, pids[0])
        if "ok" in lines:
            return start.connection.answer(Answer(start.spec.name, start.spec.port))
        full = any(line.startswith("full ") for line in lines)
        reason = next((line.removeprefix("error ") for line in lines if line.startswith("error ")), "its process ended while starting")
        print(f"start of {start.spec.name} failed: {reason}", file=sys.stderr, flush=True)
        self.on_end(start.spec)
        self.discard(self.workloads / start.spec.name)
        if full:
            return start.connection.answer(Answer(start.spec.name, 0, TryLater.code, FULL, FULL_SECONDS))
        start.connection.answer(Answer(start.spec.name, 0, BadWorkload.code, f"{start.spec.name} cannot be started: {reason}"))

    # the child with Jupyter in memory

    def start_notebooks(self) -> None:
        self.notebooks_pid, self.notebooks = start_notebook_parent(self.machine)

    def send_to_notebooks(self, launch: Launch) -> None:
        if self.notebooks is None:
            self.start_notebooks()
        assert self.notebooks is not None
        try:
            send_launch(self.notebooks, launch)
        except BrokenPipeError:  # it died a moment ago
            self.start_notebooks()
            send_launch(self.notebooks, launch)


def check_header(header: Header) -> None:
    """Raises BadWorkload: the names become paths."""
    if not NAME.fullmatch(header.name):
        raise BadWorkload(f"{header.name!r} cannot be a workload's name: use letters, digits, '.', '_', '-'")
    if not NAME.fullmatch(header.user):
        raise BadWorkload(f"{header.user!r} cannot be a user's name")
    if header.home and not os.path.isabs(header.home):
        raise BadWorkload(f"the home {header.home!r} is no absolute path")


def make_folders(data: Path) -> None:
    root = os.geteuid() == 0
    data.mkdir(mode=0o711 if root else 0o700, parents=True, exist_ok=True)
    for folder, mode in (("run", 0o700), ("run/workloads", 0o700), ("run/trash", 0o700), ("homes", 0o711 if root else 0o700)):
        (data / folder).mkdir(mode=mode, exist_ok=True)


def find_devices_apart(simulated: int) -> list[Device]:
    """In a child: NVML starts threads and keeps the driver open, which nobody forked from here may inherit."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, json.dumps([asdict(device) for device in find_devices(simulated)]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.wait()
    return [Device(**raw) for raw in json.loads(text or "[]")]


def raise_descriptor_limit() -> None:
    """One descriptor a workload is held; programs get the usual limit back (launch.become_program)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 16)), hard))


def make_wakeup() -> int:
    """A pipe that becomes readable when a child ends."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def leave(cgroups: Cgroups | None) -> None:
    """What runs goes on; cgroups without processes are tidied away."""
    if cgroups:
        remove_empty_groups(cgroups)
    os._exit(0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ltai-forkserver", description="Starts people's processes, confined.")
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--network", choices=("private", "shared"), default="private")
    parser.add_argument("--simulated-gpus", type=int, default=0)
    parser.add_argument(
        "--isolation", type=Mode, choices=list(Mode), default=Mode.NAMESPACES, help="the best kind to try; weaker ones are for one person"
    )
    parser.add_argument("--no-cgroups", action="store_true", help="limit memory by watching, CPU by affinity")
    parser.add_argument("--path", action="append", default=[], help="folder put first on sys.path; may be repeated")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    sys.path[:0] = options.path
    data = options.data.resolve()
    make_folders(data)
    name_process("ltai-forkserver")
    raise_descriptor_limit()
    records.boot_id()  # kept: /proc is another one after the midwife's root changed
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    platform = tuple(environment_grants(Path(sys.prefix), str(data), sys.path))
    cgroups = None if options.no_cgroups else find_cgroups(str(data))
    limits = cgroups.describe() if cgroups else "watchdog"
    isolation = probe_isolation(str(data), options.network, platform, limits, options.isolation)
    records.write_atomically(data / "run" / "isolation.json", isolation.as_json())
    devices = find_devices_apart(options.simulated_gpus)
    records.write_atomically(data / "run" / "devices.json", [asdict(device) for device in devices])
    machine = Machine(str(data), isolation.mode, isolation.network == "private", isolation.pasta, platform)
    wakeup = make_wakeup()
    signal.signal(signal.SIGTERM, lambda *_: leave(cgroups))
    server = ForkServer(data, isolation, devices, cgroups, machine)
    print(f"ready: {isolation.mode}, {isolation.network} network, {limits}; {len(devices)} accelerators", flush=True)
    for sentence in isolation.missing:
        print(f"missing: {sentence}", flush=True)
    server.run(listen(data / "run" / "fork.sock"), wakeup)


if __name__ == "__main__":
    main()
