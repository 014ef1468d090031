"""What the fork server and the models' runtime rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).parents[2] / "labextensions" / "ltai_lab"


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        env={"PYTHONPATH": str(LAB)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_package_alone_imports_next_to_nothing() -> None:
    loaded = modules_after("import ltai_lab")
    assert not loaded & {"jupyter_server", "tornado", "asyncio", "httpx", "nbclient"}


def test_the_handlers_add_nothing_heavy_to_a_notebook_server() -> None:
    before = modules_after("import jupyter_server.serverapp, jupyter_server.base.handlers, tornado.tcpclient, tornado.http1connection")
    after = modules_after(
        "import jupyter_server.serverapp, jupyter_server.base.handlers, tornado.tcpclient, tornado.http1connection, ltai_lab.handlers"
    )
    assert {name for name in after - before if not name.startswith("ltai_lab")} == set()
