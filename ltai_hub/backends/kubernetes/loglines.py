"""What the kubelet sends of a log, with times → what the program wrote. Pure.

The times tell two things a plain stream does not: where to go on after a break, and which words are not the program's but the
kubelet's own ("failed to create fsnotify watcher: too many open files"), which it writes into the stream as if they were.
"""

from __future__ import annotations

import re
from datetime import datetime

STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
# longer ones are handed on in pieces
LONGEST_LINE = 1 << 20


class NotTheProgram(Exception):
    """The kubelet said something itself; what is missing must be read again."""


class LogLines:
    """Takes a stream piece by piece. ``last`` is the time of the newest line taken, which a later stream goes on after."""

    def __init__(self, last: str = "") -> None:
        self.last = last
        self._after = parse(last) if last else None
        self._rest = b""
        # inside of a line that is handed on in pieces: whether it is wanted
        self._wanted: bool | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Of whole lines what the program wrote; raises NotTheProgram with what came before in its argument."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        written = bytearray()
        for line in lines:
            written += self._take(line, b"\n", written)
            self._wanted = None
        if len(self._rest) > LONGEST_LINE:
            written += self._take(self._rest, b"", written)
            self._rest = b""
        return bytes(written)

    def finish(self) -> bytes:
        """What stood at the end of the stream without an end of line. Raises NotTheProgram."""
        rest, self._rest = self._rest, b""
        return self._take(rest, b"", bytearray()) if rest else b""

    def _take(self, line: bytes, end: bytes, before: bytearray) -> bytes:
        if self._wanted is not None:
            return line + end if self._wanted else b""
        stamp = STAMP.match(line)
        if not stamp:
            raise NotTheProgram(bytes(before), line.decode(errors="replace")[:200])
        said = stamp[0][:-1].decode()
        if self._after is not None and parse(said) > self._after:
            self._after = None
        self._wanted = self._after is None
        if not self._wanted:
            return b""
        self.last = said
        return line[stamp.end() :] + end


def parse(stamp: str) -> tuple[datetime, int]:
    """The moment to the second, and its nanoseconds: more digits than Python's own times have."""
    match = STAMP.fullmatch(stamp.encode() + b" ")
    if not match:
        raise ValueError(f"{stamp!r} is no time of a log")
    zone = "+00:00" if match[3] == b"Z" else match[3].decode()
    return datetime.fromisoformat(match[1].decode() + zone), int((match[2] or b"0").ljust(9, b"0"))
