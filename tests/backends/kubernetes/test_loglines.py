"""A log as the kubelet sends it, piece by piece."""

from __future__ import annotations

import pytest

from ltai_hub.backends.kubernetes import loglines
from ltai_hub.backends.kubernetes.loglines import LogLines, NotTheProgram, parse

STREAM = b"2026-01-01T00:00:01.000000001Z one\n2026-01-01T00:00:01.000000002Z two\n2026-01-01T00:00:02Z \n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_however_it_is_cut_the_lines_are_the_programs(size: int) -> None:
    lines = LogLines()
    written = b"".join(lines.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size))
    assert written == b"one\ntwo\n\n"
    assert lines.last == "2026-01-01T00:00:02Z"


def test_a_later_stream_goes_on_after_the_newest_line() -> None:
    assert LogLines("2026-01-01T00:00:01.000000001Z").feed(STREAM) == b"two\n\n"
    assert LogLines("2026-01-01T00:00:02Z").feed(STREAM) == b""


def test_times_of_another_zone_are_the_same_moments() -> None:
    assert parse("2026-01-01T08:00:01.5+08:00") == parse("2026-01-01T00:00:01.500000000Z")
    assert LogLines("2026-01-01T08:00:01.000000001+08:00").feed(STREAM) == b"two\n\n"


def test_words_without_a_time_are_not_the_programs() -> None:
    lines = LogLines()
    with pytest.raises(NotTheProgram) as said:
        lines.feed(STREAM[:35] + b"unable to retrieve container logs\n" + STREAM[35:])
    assert said.value.args == (b"one\n", "unable to retrieve container logs")


def test_words_that_stand_at_the_end_are_the_nodes_too() -> None:
    lines = LogLines()
    assert lines.feed(STREAM + b"failed to create fsnotify watcher: too many open files") == b"one\ntwo\n\n"
    with pytest.raises(NotTheProgram):
        lines.finish()


def test_the_last_line_needs_no_end() -> None:
    lines = LogLines()
    assert lines.feed(STREAM + b"2026-01-01T00:00:03Z thr") + lines.feed(b"ee") == b"one\ntwo\n\n"
    assert lines.finish() == b"three"


def test_a_line_without_an_end_is_handed_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loglines, "LONGEST_LINE", 40)
    lines = LogLines()
    written = lines.feed(b"2026-01-01T00:00:01Z " + b"x" * 30) + lines.feed(b"y" * 50) + lines.feed(b"z\n" + STREAM)
    assert written == b"x" * 30 + b"y" * 50 + b"z\none\ntwo\n\n"
