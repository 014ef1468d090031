"""The few Linux calls Python has no name for. All raise OSError with the call's name."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
BIND, REC, PRIVATE = 4096, 16384, 1 << 18
DETACH = 2

SYS_PIVOT_ROOT, SYS_CAPSET = {"x86_64": (155, 126), "aarch64": (41, 91)}.get(os.uname().machine, (155, 126))
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_DROP = 1, 4, 15, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """The result, or OSError when it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    check(libc.unshare(flags), "unshare")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    packed = [text.encode() if text else None for text in (source, target, kind, options)]
    check(libc.mount(packed[0], packed[1], packed[2], ctypes.c_ulong(flags), packed[3]), f"mount {target}")


def unmount(target: str) -> None:
    check(libc.umount2(target.encode(), DETACH), f"unmount {target}")


def set_mount_flags(path: str, add: int, remove: int = 0, *, recursive: bool = False) -> None:
    """Change ro, nosuid, nodev of a mount (mount_setattr, Linux 5.12). Unlike a remount it keeps flags locked by the outer namespace."""
    attributes = struct.pack("QQQQ", add, remove, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    check(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, len(attributes)), f"mount_setattr {path}")


def pivot_root(new: str, old: str) -> None:
    check(libc.syscall(SYS_PIVOT_ROOT, new.encode(), old.encode()), "pivot_root")


def prctl(option: int, value: int = 0) -> int:
    return int(libc.prctl(option, value, 0, 0, 0))


def name_process(name: str) -> None:
    """The name shown by ps and top, cut at 15 bytes."""
    libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def drop_capabilities() -> None:
    """A forked, never exec'ed process would keep every capability of its user namespace."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        if prctl(PR_CAPBSET_DROP, capability) < 0:
            break
    check(libc.syscall(SYS_CAPSET, struct.pack("Ii", 0x20080522, 0), bytes(24)), "capset")


def set_hostname(name: str) -> None:
    packed = name.encode()[:64]
    check(libc.sethostname(packed, len(packed)), "sethostname")


def raise_loopback() -> None:
    """Bring ``lo`` up in a fresh net namespace (SIOCSIFFLAGS, IFF_UP | IFF_RUNNING)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor not in ``keep``."""
    low = 0
    for fd in sorted(keep):
        if low < fd:  # os.closerange(0, 0) would close all of them
            os.closerange(low, fd)
        low = max(low, fd + 1)
    os.closerange(low, 1 << 20)
