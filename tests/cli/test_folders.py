"""The folder a job takes along to another cluster."""

from __future__ import annotations

import base64
import io
import random
import zipfile
from pathlib import Path

import pytest

from ltai_hub.client.folders import LARGEST, pack_folder
from ltai_hub.errors import BadInput
from tests.cli.conftest import Run
from tests.cli.fake import State


def unpacked(text: str) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(text))) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train.py", "lib/net.py", ".git/config", "__pycache__/train.pyc", ".secret"):
        path = tmp_path / "digits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "digits"


def test_hidden_files_and_caches_stay_behind(folder: Path) -> None:
    assert unpacked(pack_folder(folder)) == {"train.py": "train.py", "lib/net.py": "lib/net.py"}


def test_what_is_too_large_is_refused_with_the_largest_file(folder: Path) -> None:
    (folder / "data.bin").write_bytes(random.Random(1).randbytes(LARGEST))
    with pytest.raises(BadInput, match=r"its largest file is data\.bin \(256 KiB\)"):
        pack_folder(folder)


def test_an_empty_folder_takes_nothing(tmp_path: Path) -> None:
    assert pack_folder(tmp_path) == ""


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no folder"):
        pack_folder(tmp_path / "none")


def test_anywhere_takes_this_folder_along(run: Run, state: State, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run("job", "submit", "--anywhere", "--", "python", "train.py").code == 0
    body = state.last()[3]
    assert body["anywhere"] is True
    assert "train.py" in unpacked(body["folder"])


def test_a_named_folder_goes_along_and_only_with_anywhere(run: Run, state: State, folder: Path) -> None:
    assert run("job", "submit", "--anywhere", "--folder", str(folder / "lib"), "--", "true").code == 0
    assert unpacked(state.last()[3]["folder"]) == {"net.py": "lib/net.py"}
    done = run("job", "submit", "--folder", str(folder), "--", "true")
    assert done.code != 0
    assert "--folder goes with --anywhere" in done.err
