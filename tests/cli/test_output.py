from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from ltai_hub.cli.output import Column, Format, View, age, column, duration, money, plain, print_object, print_table

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_on_a_terminal_columns_line_up_and_nothing_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table([{"name": "手写数字", "phase": "running"}, {"name": "x" * 70, "phase": "[red]"}], [column("name"), column("phase")])
    out = capsys.readouterr().out
    assert out.count("x") == 70
    assert "手写数字" in out
    assert "[red]" in out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in out.splitlines()) <= 60


def test_empty_fields_of_one_thing_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_object({"id": 1, "reason": ""}, [column("id"), column("reason")], "id", View(Format.TABLE))
    assert capsys.readouterr().out == "id:      1\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (-3, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 d"), (None, "")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_ages() -> None:
    assert age((NOW - timedelta(minutes=5)).isoformat(), NOW) == "5 min"
    assert age("2026-11-24T11:55:00Z", NOW) == "5 min"
    assert age("2026-11-24T11:55:00", NOW) == "5 min"
    assert age(None, NOW) == ""
    assert age("soon", NOW) == "soon"


def test_values() -> None:
    assert plain({"a": 0.123456789, "b": [True, None]}) == "a=0.123457, b=yes, "
    assert money(4_800_000, "CNY") == "4.80 CNY"
    assert money(None, "CNY") == ""
    assert Column("x", lambda row: "y").show({}) == "y"
