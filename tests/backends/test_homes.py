"""The platform writes into people's homes without being led astray by what they planted there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ltai_hub.backends.local.homes import copy_into_home, make_home


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    (folder / "data").mkdir(parents=True)
    (folder / "lesson.ipynb").write_text("lesson")
    (folder / "data" / "digits.csv").write_text("1,2")
    return folder


def test_a_home_is_private(tmp_path: Path) -> None:
    make_home(str(tmp_path / "homes" / "alice"), None)
    assert (tmp_path / "homes" / "alice").stat().st_mode & 0o777 == 0o700


def test_a_folder_is_copied_and_what_exists_is_kept(tmp_path: Path, course: Path) -> None:
    home = tmp_path / "alice"
    assert copy_into_home(course, str(home), "ml/course", None) == 2
    (home / "ml/course/lesson.ipynb").write_text("my work")
    (course / "new.txt").write_text("new")
    assert copy_into_home(course, str(home), "ml/course", None) == 1
    assert (home / "ml/course/lesson.ipynb").read_text() == "my work"
    assert (home / "ml/course/data/digits.csv").read_text() == "1,2"


def test_a_single_file_is_copied(tmp_path: Path, course: Path) -> None:
    assert copy_into_home(course / "lesson.ipynb", str(tmp_path / "alice"), "first.ipynb", None) == 1
    assert (tmp_path / "alice" / "first.ipynb").read_text() == "lesson"


def test_no_planted_link_is_followed(tmp_path: Path, course: Path) -> None:
    home, elsewhere = tmp_path / "alice", tmp_path / "elsewhere"
    elsewhere.mkdir()
    make_home(str(home), None)
    (home / "ml").symlink_to(elsewhere)
    with pytest.raises(OSError, match="ml"):
        copy_into_home(course, str(home), "ml", None)
    (home / "lesson.ipynb").symlink_to(elsewhere / "planted")
    copy_into_home(course, str(home), "", None)
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(NotADirectoryError):
        copy_into_home(course, str(home), "../bob", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_as_root_everything_belongs_to_the_person(tmp_path: Path, course: Path) -> None:
    home = tmp_path / "alice"
    copy_into_home(course, str(home), "ml", 234567)
    assert {path.stat().st_uid for path in (home, *home.rglob("*"))} == {234567}
