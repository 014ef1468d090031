"""Load the model, then listen: an instance that accepts connections is ready (the backend relies on it)."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING

from ltai_lab.serving.settings import Settings, load_settings

if TYPE_CHECKING:
    from ltai_lab.serving.loading import Model

log = logging.getLogger("ltai.serving")


def main() -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    for noisy in ("mlflow", "urllib3", "alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")
    settings = load_settings(sys.argv[1:], os.environ)
    began = perf_counter()
    log.info("loading %s", settings.model_uri)
    from ltai_lab.serving.loading import load_model

    try:
        model = load_model(settings.model_uri)
    except Exception as error:  # whatever the model's own code or the download raises: one line, the traceback below it
        log.error("%s could not be loaded: %s: %s", settings.model_uri, type(error).__name__, " ".join(str(error).split())[:500])
        log.debug("traceback", exc_info=True)
        return 3
    log.info("%s %s loaded in %.1f s", model.flavor, model.flavor_version, perf_counter() - began)
    serve(settings, model)
    return 0


def serve(settings: Settings, model: Model) -> None:
    """Blocks until SIGTERM or SIGINT; answers what was asked before it leaves."""
    from ltai_lab.serving.app import Application
    from ltai_lab.serving.server import run

    listener = make_listener(settings)
    name = listener.getsockname()
    log.info("ready on %s%s", f"{name[0]}:{name[1]}" if isinstance(name, tuple) else name, settings.prefix or "/")
    run(Application(settings, model), listener)
    log.info("stopped")


def make_listener(settings: Settings) -> socket.socket:
    """The inherited socket, else a new one; several instances may bind the same port (SO_REUSEPORT)."""
    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with suppress(AttributeError, OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((settings.host, settings.port))
    return listener


if __name__ == "__main__":
    sys.exit(main())
