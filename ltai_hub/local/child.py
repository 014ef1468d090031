"""Entry of the platform's own Python processes: ``python -m ltai_hub.local.child hub|services|mlflow``.

Two things come before any import: the process dies with the supervisor, and ``rfc3987_syntax`` is blocked. It builds a
grammar for 2.3 s at import, jsonschema would only use it to check IRIs, and takes its absence as "not installed".
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """The kernel kills this process when ``parent`` ends, however it ends (Linux)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended between the fork and now


def run_hub() -> None:
    from ltai_hub.hub.app import main
    from ltai_hub.paths import shipped

    sys.argv = ["jupyterhub", "-f", str(shipped("hub_config") / "jupyterhub_config.py")]
    main()


def run_services() -> None:
    from ltai_hub.service import main

    sys.argv = ["ltai-services"]
    main()


def run_mlflow() -> None:
    from ltai_hub.local.mlflow_server import main

    main()


CHILDREN: dict[str, Callable[[], None]] = {"hub": run_hub, "services": run_services, "mlflow": run_mlflow}


def main() -> None:
    die_with(os.getppid())
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    CHILDREN[sys.argv[1]]()


if __name__ == "__main__":
    main()
