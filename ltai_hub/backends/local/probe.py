"""What confinement this machine allows: tried out, not guessed, and said in sentences people can act on."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import which
from typing import Any, NoReturn

from ltai_hub.backends.local.isolate import confine
from ltai_hub.backends.local.landlock import landlock_abi
from ltai_hub.backends.local.plan import Grant, Mode, Plan
from ltai_hub.backends.local.syscalls import PR_SET_CHILD_SUBREAPER, prctl

NOBODY = 65534


@dataclass(frozen=True)
class Isolation:
    """``missing``: sentences about what this machine cannot do, each with what would help."""

    mode: Mode
    network: str
    limits: str
    missing: tuple[str, ...] = ()
    pasta: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "mode": str(self.mode),
            "missing": list(self.missing),
            "internet": bool(self.pasta) or self.network == "shared",
        }


def probe_isolation(data: str, network: str, platform: tuple[Grant, ...], limits: str, best: Mode = Mode.NAMESPACES) -> Isolation:
    """Best mode that really works, in this order: namespaces with a private net, with the shared net, Landlock, none.

    ``best`` leaves out what is better, for people who need that and for tests.
    """
    plan = _trial_plan(data, platform)
    missing: list[str] = []
    private_reason = shared_reason = ""
    if network == "private" and best is Mode.NAMESPACES:
        private_reason = try_confinement(replace(plan, private_net=True))
        if not private_reason:
            pasta = find_pasta()
            return Isolation(Mode.NAMESPACES, "private", limits, tuple(_about_internet(pasta) + _about_limits(limits)), pasta)
    shared_reason = try_confinement(plan) if best is Mode.NAMESPACES else "switched off"
    if not shared_reason:
        if network == "private":
            missing.append(
                f"No private network ({private_reason}): people's processes share the machine's loopback and can reach each other's ports."
            )
        return Isolation(Mode.NAMESPACES, "shared", limits, tuple(missing + _about_limits(limits)))
    missing += _why_no_namespaces(shared_reason) if best is Mode.NAMESPACES else ["Namespaces are switched off (--isolation)."]
    abi = landlock_abi()
    landlock_reason = (
        try_confinement(replace(plan, mode=Mode.LANDLOCK)) if abi and best is not Mode.NONE else "not in this kernel, or switched off"
    )
    if not landlock_reason:
        missing.append("Landlock hides files only: people see each other's process names, /dev/shm and ports.")
        if abi < 6 and os.geteuid() != 0:
            missing.append(
                f"Landlock of this kernel (ABI {abi}, 6 needed) lets people signal each other's processes: let one person use this machine."
            )
        return Isolation(Mode.LANDLOCK, "shared", limits, tuple(missing + _about_limits(limits)))
    missing.append(f"No Landlock ({landlock_reason}).")
    if reason := try_confinement(replace(plan, mode=Mode.NONE)):
        missing.append(f"Nothing can be started: {reason}.")
    missing.append("Nothing keeps people's processes apart on this machine: let one person use it.")
    return Isolation(Mode.NONE, "shared", limits, tuple(missing + _about_limits(limits)))


def try_confinement(plan: Plan) -> str:
    """'' when a process can be confined so, else the kernel's reason. Runs in throw-away children."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            if os.fork() == 0:
                _confine_and_leave(plan, write)
            os.close(write)
            while True:
                os.wait()
        except BaseException:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    if "program" in said:
        return ""
    return next((line.removeprefix("error ") for line in said.splitlines() if line.startswith("error ")), "it ended without a reason")


def _confine_and_leave(plan: Plan, write: int) -> NoReturn:
    def guard(program: int) -> NoReturn:
        os.waitpid(program, 0)
        os._exit(0)

    try:
        confine(plan, set(), lambda text: None, guard)
        if not os.access(sys.executable, os.X_OK):
            raise PermissionError(f"people's accounts cannot reach {sys.executable}; install Python where everybody may read it")
        os.write(write, b"program\n")
    except BaseException as problem:
        os.write(write, f"error {problem}\n".encode())
    os._exit(0)


def _trial_plan(data: str, platform: tuple[Grant, ...]) -> Plan:
    tmp = Path(data) / "run" / "probe"
    tmp.mkdir(mode=0o755, exist_ok=True)
    root = os.geteuid() == 0
    return Plan(
        mode=Mode.NAMESPACES,
        user="probe",
        home="/tmp",
        cwd="/tmp",
        data=data,
        tmp=str(tmp),
        grants=platform,
        shm_size=1 << 16,
        uid=NOBODY if root else None,
    )


def find_pasta() -> str:
    """Path of pasta (package passt) when it can work here, else ''."""
    return (which("pasta") or "") if os.access("/dev/net/tun", os.R_OK | os.W_OK) else ""


def _about_internet(pasta: str) -> list[str]:
    if pasta:
        return []
    if which("pasta"):
        return ["No internet inside notebooks and jobs: pasta needs /dev/net/tun to be writable (mode 0666); or use --network shared."]
    return ["No internet inside notebooks and jobs: install pasta (package passt), or use --network shared."]


def _about_limits(limits: str) -> list[str]:
    missing = []
    if "memory" not in limits:
        missing.append("No memory cgroup: memory is watched ten times a second, so a fast program can go past its limit for a moment.")
    if "cpu" not in limits:
        missing.append("No CPU cgroup: CPU limits are by core affinity and priority, which a program can undo.")
    return missing


def _why_no_namespaces(reason: str) -> list[str]:
    advice = ""
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        advice = (
            " Ubuntu: allow 'userns' for the interpreter in an AppArmor profile, or set kernel.apparmor_restrict_unprivileged_userns=0."
        )
    elif _sysctl("kernel/unprivileged_userns_clone") == "0":
        advice = " Debian: set kernel.unprivileged_userns_clone=1."
    elif _sysctl("user/max_user_namespaces") == "0":
        advice = " Set user.max_user_namespaces=15000."
    elif "/proc" in reason:
        advice = " /proc is masked, as in a container: run the container with an unmasked /proc."
    elif Path("/.dockerenv").exists():
        advice = " In a container the seccomp profile forbids it: use the Kubernetes mode there."
    return [f"No namespaces ({reason}).{advice}"]


def _sysctl(name: str) -> str:
    try:
        return (Path("/proc/sys") / name).read_text().strip()
    except OSError:
        return ""
