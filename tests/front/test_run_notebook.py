"""A notebook as a job: progress in the log, outputs in a file, an exit code that tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LAB = Path(__file__).parents[2] / "labextensions" / "ltai_lab"


def a_cell(number: int, source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


def a_notebook(folder: Path, *sources: str) -> Path:
    cells = [a_cell(number, source) for number, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "a-kernel-of-another-machine", "display_name": "x"}}
    path = folder / "a b.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def run(notebook: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ltai_lab.run_notebook", notebook.name]
    env = {"PYTHONPATH": str(LAB), "HOME": str(notebook.parent), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=notebook.parent, env=env, capture_output=True, text=True, check=False)


def test_cells_run_in_order_and_what_they_print_is_in_the_log(tmp_path: Path) -> None:
    done = run(a_notebook(tmp_path, "x = 20", "print('sum', x + 22)", "x * 2"))
    assert done.returncode == 0, done.stderr
    assert "[2/3 " in done.stdout
    assert "sum 42" in done.stdout
    executed = json.loads((tmp_path / "a b.executed.ipynb").read_text())
    assert executed["cells"][1]["outputs"][0]["text"] == ["sum 42\n"]


def test_a_failing_cell_fails_the_job_and_its_traceback_is_kept(tmp_path: Path) -> None:
    done = run(a_notebook(tmp_path, "print('before')", "1 / 0", "print('never')"))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "never\n" not in done.stdout
    assert (tmp_path / "a b.executed.ipynb").exists()


def test_a_missing_notebook_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path / "none.ipynb")
    assert (done.returncode, done.stderr) == (2, "none.ipynb: there is no such notebook\n")
