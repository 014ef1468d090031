"""Entry of every container: ``python -m ltai_hub.cluster hub|services|console|mlflow|proxy|migrate|demo|courses|check``.

Settings and secrets come by environment variables, so no command line shows any.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from ltai_hub.errors import ConfigProblem


def run_hub() -> None:
    from ltai_hub.hub.app import main
    from ltai_hub.paths import shipped

    sys.argv = ["jupyterhub", "-f", str(shipped("hub_config") / "jupyterhub_config.py")]
    main()


def run_services() -> None:
    """The services named on the command line; all when none is."""
    from ltai_hub.cluster.database import wait_for_tables
    from ltai_hub.service import main
    from ltai_hub.settings import Settings

    wait_for_tables(Settings().database)
    sys.argv = ["ltai-services", *sys.argv[2:]]
    main()


def run_console() -> None:
    from ltai_hub.cluster.console import main

    main()


def run_mlflow() -> None:
    from ltai_hub.cluster.mlflow import main

    main()


def run_proxy() -> None:
    from ltai_hub.cluster.proxy import main

    main()


def run_migrate() -> None:
    from ltai_hub.cluster.database import bring_up_to_date
    from ltai_hub.settings import Settings

    bring_up_to_date(Settings())


def run_demo() -> None:
    from ltai_hub.cluster.demo import main

    main()


def run_courses() -> None:
    from ltai_hub.cluster.demo import put_courses

    put_courses()


def run_check() -> None:
    from ltai_hub.cluster.check import main

    main()


PARTS: dict[str, Callable[[], None]] = {
    "hub": run_hub,
    "services": run_services,
    "console": run_console,
    "mlflow": run_mlflow,
    "proxy": run_proxy,
    "migrate": run_migrate,
    "demo": run_demo,
    "courses": run_courses,
    "check": run_check,
}
# a line for each request or plug-in
NOISY = ("httpx", "tornado.access", "alembic.runtime.plugins")


def main() -> None:
    # it builds a grammar for two seconds at import and is not needed (see ltai_hub.local.child)
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part not in PARTS:
        sys.exit(f"python -m ltai_hub.cluster {'|'.join(PARTS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        PARTS[part]()
    except ConfigProblem as problem:
        sys.exit(problem.message)


if __name__ == "__main__":
    main()
