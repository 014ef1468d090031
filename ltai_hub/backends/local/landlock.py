"""Landlock: an allow-list of files a process sets on itself; needs no namespaces. Kernel docs: userspace-api/landlock.

ABI 1 (5.13) files · 4 (6.7) TCP ports · 6 (6.12) signals and abstract unix sockets stay inside.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable

from ltai_hub.backends.local.syscalls import PR_SET_NO_NEW_PRIVS, check, libc, prctl

SYS_CREATE, SYS_ADD, SYS_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2


def landlock_abi() -> int:
    """0 when the kernel has none or its lsm= list leaves it out."""
    return max(0, int(libc.syscall(SYS_CREATE, None, 0, 1)))


def known_file_rights(abi: int) -> int:
    rights = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, TRUNCATE), (5, IOCTL_DEV)):
        if abi >= since:
            rights |= right
    return rights


def restrict_self(writable: Iterable[str] = (), readable: Iterable[str] = (), scope: int = 0) -> None:
    """Confine this thread and its children for good; paths that do not exist are left out.

    Without any path only ``scope`` is set and files stay as they are.
    """
    abi = landlock_abi()
    writable, readable = tuple(writable), tuple(readable)
    handled = known_file_rights(abi) if writable or readable else 0
    attributes = struct.pack("QQQ", handled, 0, scope if abi >= 6 else 0)
    ruleset = check(libc.syscall(SYS_CREATE, attributes, 24 if abi >= 6 else 8, 0), "landlock_create_ruleset")
    for paths, rights in ((writable, handled), (readable, READ)):
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _allow(ruleset, path, rights & handled)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    check(libc.syscall(SYS_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if os.path.isdir(path) else rights & FOR_FILES
        check(libc.syscall(SYS_ADD, ruleset, 1, struct.pack("=Qi", allowed, fd), 0), f"landlock_add_rule {path}")
    finally:
        os.close(fd)
