"""A disk without room, as people are told of it: what was to be started is started when there is room again."""

from __future__ import annotations

import ctypes
import errno
import os

from ltai_hub.backends.local.syscalls import libc
from ltai_hub.errors import TryLater

FULL = "the disk of the data folder is full; it is tried again when some space was freed"
FULL_SECONDS = 10.0
FALLOC_FL_KEEP_SIZE = 1  # linux/falloc.h


def is_full(problem: BaseException) -> bool:
    return isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_is_full() -> TryLater:
    return TryLater(FULL, FULL_SECONDS)


def reserve(file: int, size: int) -> None:
    """Room for ``size`` bytes of an empty file, which stays empty: they can be written when the disk is full. Raises OSError when it is.

    Where the file system cannot, nothing is reserved.
    """
    if libc.fallocate(file, FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)) < 0:
        number = ctypes.get_errno()
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(number, os.strerror(number))


def written(file: int, content: bytes) -> bool:
    """False where the disk is full; then nothing of it is there."""
    try:
        if os.pwrite(file, content, 0) == len(content):
            return True
        os.ftruncate(file, 0)
    except OSError as problem:
        if not is_full(problem):
            raise
    return False
