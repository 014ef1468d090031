"""What a freshly forked child does: read its request, open its files, confine itself, become the program."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from ltai_hub.backends.local import records
from ltai_hub.backends.local.full import is_full, reserve
from ltai_hub.backends.local.guard import SIGNALS, Guard, GuardFiles, GuardLimits
from ltai_hub.backends.local.homes import make_home
from ltai_hub.backends.local.isolate import confine
from ltai_hub.backends.local.plan import Grant, Mode, Plan
from ltai_hub.backends.local.request import Body, receive_frame, unpack_body
from ltai_hub.backends.local.syscalls import close_all_but
from ltai_hub.backends.local.visible import environment_grants, without_nested

BODY_SECONDS = 10.0
NICE = {"job": 5, "endpoint": 1, "environment": 1}
USUAL_DESCRIPTORS = 4096
PER_ACCOUNT = 3
"""As root the limit counts a person's environments, jobs and endpoints together, not each alone."""
DEVICE_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps", "dri", "kfd")
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
Program = Callable[[Body, "Launch"], NoReturn]


@dataclass(frozen=True)
class Machine:
    """What the fork server found out about this machine, the same for every start."""

    data: str
    mode: Mode
    private_net: bool
    pasta: str
    platform: tuple[Grant, ...]
    """Folders of the platform's own environment, read-only in every workload."""


@dataclass(frozen=True)
class Launch:
    """One start, as the fork server decided it. The descriptors are open in the child."""

    machine: Machine
    spec: records.Spec
    main: str
    connection: int
    report: int
    listening: int = -1
    cgroup_procs: tuple[int, ...] = ()
    oom_counters: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        return Path(self.machine.data) / "run" / "workloads" / self.spec.name

    def descriptors(self) -> list[int]:
        listening = [self.listening] if self.listening >= 0 else []
        return [self.connection, self.report, *listening, *self.cgroup_procs, *self.oom_counters]


def run_child(launch: Launch, program: Program) -> NoReturn:
    """Never returns; every failure before the program runs is reported to the fork server."""
    code = 70
    try:
        reset_signals()
        body = read_body(launch.connection)
        enter(launch, body)
        program(body, launch)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            os.write(launch.report, f"{'full' if is_full(problem) else 'error'} {problem}\n".encode())
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def reset_signals() -> None:
    """pid 1 waits for these with sigtimedwait, so they must be blocked before it exists."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def read_body(connection: int) -> Body:
    with socket.socket(fileno=os.dup(connection)) as sock:
        sock.settimeout(BODY_SECONDS)
        return unpack_body(receive_frame(sock))


def enter(launch: Launch, body: Body) -> None:
    """Returns in the confined program, with its log as stdout and stderr."""
    make_home(launch.spec.home, launch.spec.uid)
    scratch = make_scratch(launch)
    files = open_files(launch)
    plan = make_plan(launch, body, scratch)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    process_file = os.open(launch.folder / "process.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    reserve(process_file, records.ORDER_BYTES)

    def report(text: str) -> None:
        if text.startswith("pid "):
            record_process(process_file, proc, int(text[4:]))
        os.write(launch.report, f"{text}\n".encode())

    keep: set[int] = set()
    guard = Guard(files, guard_limits(launch))
    confine(plan, keep, report, lambda program: guard.run(program, keep), lambda pid: join_cgroups(launch.cgroup_procs, pid))


def join_cgroups(procs: tuple[int, ...], pid: int) -> None:
    for file in procs:
        with contextlib.suppress(ProcessLookupError):
            os.write(file, str(pid).encode())


def make_scratch(launch: Launch) -> str:
    """The folder that becomes /tmp: on disk, so that it does not count as memory."""
    scratch = launch.spec.scratch
    os.makedirs(scratch, 0o700, exist_ok=True)
    os.chmod(scratch, 0o700)
    if launch.spec.uid is not None:
        os.chown(scratch, launch.spec.uid, launch.spec.uid)
    return scratch


def open_files(launch: Launch) -> GuardFiles:
    """stdin, stdout and stderr of the workload, and the files pid 1 writes to when all else is gone."""
    log = os.open(launch.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if launch.spec.uid is not None:
        os.fchown(log, launch.spec.uid, launch.spec.uid)  # programs reopen /dev/stderr
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    ended, control, notice = (os.open(launch.folder / f"{name}.json", flags, 0o600) for name in ("exit", "stop", "notice"))
    for file in (ended, control, notice):
        reserve(file, records.ORDER_BYTES)
    return GuardFiles(ended, control, notice, launch.oom_counters)


def guard_limits(launch: Launch) -> GuardLimits:
    own = launch.machine.mode is Mode.NAMESPACES
    return GuardLimits(launch.spec.memory, launch.spec.grace_seconds, "/dev/shm" if own else "", own)


def make_plan(launch: Launch, body: Body, scratch: str) -> Plan:
    machine, spec = launch.machine, launch.spec
    grants = [*machine.platform, *environment_grants(Path(body.prefix), machine.data)]
    people = [Grant(spec.home, spec.home, writable=True)] if spec.home else []
    return Plan(
        mode=machine.mode,
        user=spec.user,
        home=spec.home or "/tmp",
        cwd=body.cwd or spec.home or "/tmp",
        data=machine.data,
        tmp=scratch,
        grants=tuple([*without_nested(dict.fromkeys(grants)), *people, *body.mounts]),
        devices=device_nodes() if spec.devices else (),
        shm_size=max(spec.memory // 2, 1 << 26),
        private_net=machine.private_net,
        forward=body.forward,
        pasta=machine.pasta,
        hostname=spec.name[:63],
        processes=process_limit(spec.memory) * (1 if spec.uid is None else PER_ACCOUNT),
        uid=spec.uid,
    )


def process_limit(memory: int) -> int:
    """Processes and threads: 400, and more for large workloads (one a 8 MiB)."""
    return max(400, memory >> 23)


def device_nodes() -> tuple[str, ...]:
    """Every card's node: CUDA counts the visible ones, and CUDA_VISIBLE_DEVICES names them by the machine's numbers."""
    cards = tuple(name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit())
    return (*DEVICE_NODES, *cards)


def record_process(file: int, proc: int, pid: int) -> None:
    process = records.describe_process(pid, proc)
    os.write(file, records.to_json(asdict(process)))


def become_program(launch: Launch, body: Body, keep: set[int]) -> None:
    """The last steps in the program's process: descriptors, signals, priority, environment, folder."""
    close_all_but({0, 1, 2, *keep})
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(USUAL_DESCRIPTORS, hard), hard))
    with contextlib.suppress(OSError):
        os.nice(NICE.get(launch.spec.kind, 1))
    with contextlib.suppress(OSError):
        if launch.spec.cpus:
            os.sched_setaffinity(0, launch.spec.cpus)
    os.environ.clear()
    os.environ.update(make_environment(launch, body))
    os.umask(0o022)
    cwd = body.cwd or launch.spec.home or "/tmp"
    try:
        os.chdir(cwd)
    except OSError as problem:
        leave(f"the working folder {cwd} cannot be entered: {problem.strerror}")


def make_environment(launch: Launch, body: Body) -> dict[str, str]:
    spec = launch.spec
    threads = str(max(1, math.ceil(spec.cpu)))
    devices = ",".join(spec.devices)
    defaults = {
        "LANG": "C.UTF-8",
        "SHELL": "/bin/bash",
        "TERM": "xterm-256color",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    fixed = {
        "PATH": f"{body.prefix}/bin:{SYSTEM_PATH}",
        "VIRTUAL_ENV": body.prefix,
        "HOME": spec.home or "/tmp",
        "USER": spec.user,
        "LOGNAME": spec.user,
        "LTAI_WORKLOAD": spec.name,
        "CUDA_VISIBLE_DEVICES": devices or "-1",
        "NVIDIA_VISIBLE_DEVICES": devices or "void",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    private_tmp = launch.machine.mode is Mode.NAMESPACES
    fixed["TMPDIR"] = "/tmp" if private_tmp else spec.scratch
    if launch.listening >= 0:
        fixed |= {"LTAI_LISTEN_FD": str(launch.listening), "LTAI_LISTEN_HOST": "127.0.0.1", "LTAI_LISTEN_PORT": str(spec.port)}
    return {**defaults, **body.env, **fixed}


def exec_command(body: Body, launch: Launch) -> NoReturn:
    """The program of jobs and endpoints; the listening socket, if any, stays open across exec."""
    keep = {launch.listening} if launch.listening >= 0 else set()
    become_program(launch, body, keep)
    for fd in keep:
        os.set_inheritable(fd, True)
    try:
        os.execvpe(body.argv[0], list(body.argv), os.environ)
    except FileNotFoundError:
        leave(f"{body.argv[0]}: not found in image {launch.spec.image or 'of the platform'} nor in {SYSTEM_PATH}")
    except OSError as problem:
        leave(f"{body.argv[0]}: {problem.strerror}")


def leave(sentence: str) -> NoReturn:
    os.write(2, f"[ltai] {sentence}\n".encode())
    os._exit(127)
