"""Settings of one instance; the only file here that reads the environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """``listen_fd`` is an inherited, bound socket; without it ``host:port`` is bound with SO_REUSEPORT.

    ``token_hashes``: sha256 hex digests of the tokens that are let in; empty lets everybody in (a folder served by hand).
    ``prefix``: path all routes lie below, because the platform's proxy does not strip it.
    """

    model_uri: str
    model_name: str = "model"
    model_version: str = ""
    prefix: str = ""
    token_hashes: tuple[str, ...] = ()
    listen_fd: int | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    max_body: int = 64 * MEBIBYTE
    max_batch_rows: int = 512
    batch: str = "auto"


def load_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Arguments win over the environment. Exits with 2 when no model is named."""
    options = _parser(environ).parse_args(argv)
    if not options.model_uri:
        raise SystemExit("say which model to serve: MODEL_URI or --model-uri, e.g. models:/digits/1 or a folder with an MLmodel file")
    fd = environ.get("LTAI_LISTEN_FD", "")
    return Settings(
        model_uri=options.model_uri,
        model_name=options.name,
        model_version=options.version,
        prefix=options.prefix.rstrip("/"),
        token_hashes=tuple(part.strip().lower() for part in environ.get("LTAI_TOKEN_HASHES", "").split(",") if part.strip()),
        listen_fd=int(fd) if fd else None,
        host=options.host,
        port=options.port,
        max_body=int(environ.get("LTAI_MAX_BODY", 64 * MEBIBYTE)),
        max_batch_rows=int(environ.get("LTAI_MAX_BATCH_ROWS", 512)),
        batch=environ.get("LTAI_BATCH", "auto"),
    )


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ltai_lab.serving", description="Serve one MLflow model (Open Inference Protocol v2).")
    parser.add_argument("--model-uri", default=environ.get("MODEL_URI", ""), help="models:/NAME/VERSION, runs:/…, or a folder")
    parser.add_argument("--name", default=environ.get("MODEL_NAME", "model"), help="name in /v2/models/NAME")
    parser.add_argument("--version", default=environ.get("MODEL_VERSION", ""), help="version shown to callers")
    parser.add_argument("--prefix", default=environ.get("LTAI_PREFIX", ""), help="path in front of every route")
    parser.add_argument("--host", default=environ.get("LTAI_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(environ.get("LTAI_PORT", "8080")))
    return parser
