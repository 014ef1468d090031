"""The file tree a confined process sees: a fresh root with an allow-list of binds. Runs in a new mount namespace."""

from __future__ import annotations

import errno
import os
import stat

from ltai_hub.backends.local.plan import Grant, Plan
from ltai_hub.backends.local.syscalls import BIND, NODEV, NOEXEC, NOSUID, PRIVATE, RDONLY, REC, mount, pivot_root, set_mount_flags, unmount

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
OLD = "/.old"
DEV_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


def build_root(plan: Plan) -> None:
    """Replace ``/``; afterwards nothing of the machine is reachable but what ``plan`` grants."""
    mount(None, "/", flags=REC | PRIVATE)  # without a user namespace this line protects the machine: keep it first
    grants = sorted(plan.grants, key=lambda grant: grant.target)
    hidden = covers(plan.data, grants)
    handles = [(grant, open_source(grant.source, "" if grant.trusted else plan.data)) for grant in grants]
    tmp = open_source(plan.tmp, plan.data)
    _enter_new_root()
    _show_system()
    _write_identity(plan)
    _make_devices(plan)
    mount("proc", _folder("/proc"), "proc", NOSUID | NODEV | NOEXEC)  # EPERM where a container masks parts of the outer /proc
    _bind(tmp, "/tmp")
    writable = ["/tmp", "/dev/shm", "/dev/pts", "/proc"]
    own = [os.stat("/").st_dev]
    for grant, handle in handles:
        hidden = _cover(hidden, grant.target, own)
        _make_mount_point(grant, handle, ["/tmp", *(other.target for other in grants if other.writable)], own)
        _bind(handle, grant.target)
        if grant.writable:
            writable.append(grant.target)
    _cover(hidden, "\U0010ffff", own)
    unmount(OLD)
    os.rmdir(OLD)
    _protect(writable)


def covers(data: str, grants: list[Grant]) -> list[str]:
    """Paths inside at which a grant, or a folder of the system, would show the data folder."""
    shown = [(os.path.realpath(grant.source), grant.target) for grant in grants] + [(folder, folder) for folder in SYSTEM]
    return sorted({target + data[len(source.rstrip("/")) :] for source, target in shown if is_below(data, [source])})


def _cover(hidden: list[str], before: str, own: list[int]) -> list[str]:
    """Cover the hidden paths that come before ``before``: after what shows them, and under what is granted inside. Returns the rest."""
    for path in hidden:
        if path < before:
            mount("tmpfs", path, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
            own.append(os.stat(path).st_dev)
    return [path for path in hidden if path >= before]


def is_below(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def open_source(path: str, data: str) -> int:
    """O_PATH handle. Inside ``data`` no part may be a symlink: people can plant them there to be followed by us."""
    if not data or not is_below(path, [data]):
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    handle = os.open(data, os.O_PATH | os.O_CLOEXEC)
    for part in filter(None, path[len(data) :].split("/")):
        try:
            following = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        finally:
            os.close(handle)
        handle = following
        if stat.S_ISLNK(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.ELOOP, f"{path} contains a symbolic link")
    return handle


def _enter_new_root() -> None:
    mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, "size=4m,mode=755")
    os.mkdir("/tmp" + OLD)
    os.chdir("/tmp")
    pivot_root(".", OLD[1:])
    os.chdir("/")


def _show_system() -> None:
    for path in SYSTEM:
        if os.path.islink(OLD + path):
            os.symlink(os.readlink(OLD + path), path)
        elif os.path.isdir(OLD + path):
            mount(OLD + path, _folder(path), flags=BIND | REC)
    if os.path.isdir("/sys/fs/cgroup"):  # it names the other workloads
        mount("tmpfs", "/sys/fs/cgroup", "tmpfs", NOSUID | NODEV | NOEXEC, "size=4k,mode=555")
    _folder("/run")
    _folder("/var")
    os.symlink("/tmp", "/var/tmp")
    if os.path.islink(OLD + "/etc/resolv.conf"):  # with systemd-resolved a link into /run
        real = os.path.normpath(os.path.join("/etc", os.readlink(OLD + "/etc/resolv.conf")))
        if real.startswith("/run/") and os.path.exists(OLD + real):
            mount(OLD + real, _file(real), flags=BIND)


def _write_identity(plan: Plan) -> None:
    """Private passwd, group and hosts: ssh takes the home from passwd, not from $HOME; libraries look their host name up."""
    uid = os.getuid() if plan.uid is None else plan.uid
    gid = os.getgid() if plan.uid is None else plan.uid
    _replace("passwd", f"{plan.user}:x:{uid}:{gid}::{plan.home}:/bin/bash\n" + _others("passwd", plan.user, uid))
    _replace("group", f"{plan.user}:x:{gid}:\n" + _others("group", plan.user, gid))
    _replace("hosts", f"127.0.0.1 localhost {plan.hostname}\n::1 localhost\n")


def _others(name: str, user: str, number: int) -> str:
    with open(f"{OLD}/etc/{name}") as file:
        rows = [line for line in file if line.count(":") >= 2]
    return "".join(row for row in rows if row.split(":")[0] != user and row.split(":")[2] != str(number))


def _replace(name: str, text: str) -> None:
    if os.path.exists(f"/etc/{name}"):
        with open(f"/run/{name}", "w") as file:
            file.write(text)
        mount(f"/run/{name}", f"/etc/{name}", flags=BIND)


def _make_devices(plan: Plan) -> None:
    _folder("/dev/pts")
    for name in (*DEVICES, *plan.devices):
        if os.path.isdir(f"{OLD}/dev/{name}"):
            mount(f"{OLD}/dev/{name}", _folder(f"/dev/{name}"), flags=BIND | REC)
        elif os.path.exists(f"{OLD}/dev/{name}"):
            mount(f"{OLD}/dev/{name}", _file(f"/dev/{name}"), flags=BIND)
    # gid=5 (tty) is not mapped in a user namespace, so the option is left out
    mount("devpts", "/dev/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    mount("tmpfs", _folder("/dev/shm"), "tmpfs", NOSUID | NODEV, f"size={plan.shm_size},mode=1777")
    for link, target in DEV_LINKS.items():
        os.symlink(target, f"/dev/{link}")


def _make_mount_point(grant: Grant, handle: int, writable: list[str], own: list[int]) -> None:
    """Only in our own tmpfs or in a writable grant: never create a folder of the machine just to mount on it."""
    if os.path.lexists(grant.target):
        if os.path.realpath(grant.target) != grant.target:
            raise OSError(errno.ELOOP, f"{grant.target} is or contains a symbolic link")
        return
    parent = grant.target
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if os.stat(parent).st_dev not in own and not is_below(parent, writable):
        raise OSError(errno.EROFS, f"nothing can be shown at {grant.target}: {parent} belongs to the machine")
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        _folder(grant.target)
    else:
        _file(grant.target)


def _bind(handle: int, target: str) -> None:
    mount(f"{OLD}/proc/self/fd/{handle}", _folder(target) if not os.path.exists(target) else target, flags=BIND | REC)
    os.close(handle)


def _protect(writable: list[str]) -> None:
    set_mount_flags("/", RDONLY | NOSUID, recursive=True)
    for path in writable:
        set_mount_flags(path, 0 if path == "/dev/pts" else NODEV, RDONLY)


def _folder(path: str) -> str:
    os.makedirs(path, exist_ok=True)
    return path


def _file(path: str) -> str:
    _folder(os.path.dirname(path))
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    return path
