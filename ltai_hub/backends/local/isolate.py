"""Confines a process tree. Process tree of one workload:

    fork server → midwife (makes the namespaces, ends) → pid 1 inside (guard.py) → the program
                └ relay (outside, private net only)

The caller is a freshly forked, single-threaded child; ``confine`` returns only in the program's process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable
from typing import NoReturn

from ltai_hub.backends.local import landlock, relay, rootfs
from ltai_hub.backends.local.plan import Mode, Plan
from ltai_hub.backends.local.syscalls import (
    NEWIPC,
    NEWNET,
    NEWNS,
    NEWPID,
    NEWUSER,
    NEWUTS,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    close_all_but,
    drop_capabilities,
    name_process,
    prctl,
    raise_loopback,
    set_hostname,
    unshare,
)

Report = Callable[[str], None]
Guard = Callable[[int], NoReturn]
Join = Callable[[int], None]
READABLE_WITH_LANDLOCK = (*rootfs.SYSTEM, "/proc", "/dev", "/run/systemd/resolve")
WRITABLE_WITH_LANDLOCK = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm")


def confine(plan: Plan, keep: set[int], report: Report, guard: Guard, join: Join = lambda pid: None) -> None:
    """Return in the program's process, confined. ``report`` gets "pid N" (pid 1's pid outside), then "ok".

    ``keep`` are descriptors pid 1 and the program both hold; ``guard(program's pid)`` is what pid 1 does from then on;
    ``join(pid)`` puts a process into its cgroups, before it has children.
    Raises OSError where the kernel refuses.
    """
    prctl(PR_SET_DUMPABLE, 1)  # the fork server is not, and then nobody may write our /proc/self/uid_map
    if plan.mode is Mode.NAMESPACES:
        _enter_namespaces(plan, keep, report, join)
    else:
        report(f"pid {os.getpid()}")
        join(os.getpid())
        os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans stay below the guard, as they would below a pid 1
    _set_limits(plan)
    program = os.fork()
    if program:
        prctl(PR_SET_DUMPABLE, 0)
        name_process("ltai-init")
        report("ok")
        guard(program)
    os.setsid()
    _lower_for_oom(plan)
    if plan.mode is Mode.LANDLOCK:  # before the account changes: its rules open folders that only we may reach
        grants = [(grant.source, grant.writable) for grant in plan.grants]
        landlock.restrict_self(
            (*WRITABLE_WITH_LANDLOCK, plan.tmp, *(path for path, writable in grants if writable)),
            (*READABLE_WITH_LANDLOCK, *(path for path, writable in grants if not writable)),
            landlock.SCOPE_ABSTRACT_SOCKETS | landlock.SCOPE_SIGNALS,
        )
    if plan.mode is not Mode.NAMESPACES:
        _become(plan.uid)
        drop_capabilities()
    prctl(PR_SET_DUMPABLE, 1)  # cleared by setuid; without it the program cannot open its own /proc files


def _enter_namespaces(plan: Plan, keep: set[int], report: Report, join: Join) -> None:
    uid, gid = os.getuid(), os.getgid()
    link = _start_relay(plan) if plan.private_net and (plan.forward or plan.pasta) else None
    unshare(NEWNS | NEWPID | NEWIPC | NEWUTS | (NEWNET if plan.private_net else 0) | (NEWUSER if plan.uid is None else 0))
    if plan.uid is None:
        _map_self(uid, gid)
    joined, joining = os.pipe()
    init = os.fork()
    if init:
        report(f"pid {init}")
        join(init)  # the kernel takes its time over cgroups; pid 1 builds its root meanwhile
        os._exit(0)  # pid 1 is adopted by the fork server, a subreaper
    os.close(joining)
    set_hostname(plan.hostname or "ltai")
    if plan.private_net:
        raise_loopback()
    if link:
        relay.offer_ports(link, plan.forward)
        os.set_inheritable(link.fileno(), False)
        keep.add(link.detach())  # the relay ends when pid 1 does
    rootfs.build_root(plan)
    os.read(joined, 1)  # until the midwife has ended
    os.close(joined)
    if plan.uid is None:
        # no nested user namespaces: less kernel to attack. With root it would be the machine's own setting.
        with contextlib.suppress(OSError), open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("0")
    _become(plan.uid)
    drop_capabilities()
    if not plan.private_net and landlock.landlock_abi() >= 6:
        landlock.restrict_self(scope=landlock.SCOPE_ABSTRACT_SOCKETS)  # abstract sockets belong to the shared net namespace


def _start_relay(plan: Plan) -> socket.socket:
    inside, outside = relay.make_link()
    if os.fork() == 0:
        try:
            os.setsid()
            prctl(PR_SET_DUMPABLE, 0)
            name_process("ltai-relay")
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            close_all_but({0, 1, 2, outside.fileno()})
            relay.run_relay(outside, plan.pasta, plan.uid)
        finally:
            os._exit(0)
    outside.close()
    return inside


def _map_self(uid: int, gid: int) -> None:
    """Map the account to itself: files keep their owner, and no tool believes to be root."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _become(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        prctl(PR_SET_DUMPABLE, 1)


def _set_limits(plan: Plan) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Counted per user namespace or per account; where people share one account it would count the platform's processes too.
    if plan.processes and (plan.mode is Mode.NAMESPACES or plan.uid is not None):
        resource.setrlimit(resource.RLIMIT_NPROC, (plan.processes, plan.processes))


def _lower_for_oom(plan: Plan) -> None:
    """The kernel should kill people's processes before the platform's."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(plan.oom_score_adj))
