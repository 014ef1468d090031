"""What the console reads from its environment; the hub gives the JUPYTERHUB_… part to every service of its own."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import ltai_hub

BUNDLE = Path(ltai_hub.__file__).parent / "_web" / "console"


@dataclass(frozen=True)
class ConsoleSettings:
    """``prefix`` and ``base_url`` end with a slash. ``services_url`` is where the services answer, without one."""

    address: str
    port: int
    prefix: str
    base_url: str
    services_url: str
    cookie_secret: bytes = field(repr=False)
    bundle: Path = BUNDLE

    @staticmethod
    def from_environ(environ: Mapping[str, str] = os.environ) -> ConsoleSettings:
        listen = urlsplit(environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8002/services/console/"))
        key = environ.get("LTAI_SIGNING_KEY", "").encode() or os.urandom(32)
        return ConsoleSettings(
            address=listen.hostname or "127.0.0.1",
            port=listen.port or 80,
            prefix=environ.get("JUPYTERHUB_SERVICE_PREFIX", "/services/console/"),
            base_url=environ.get("JUPYTERHUB_BASE_URL", "/"),
            # services of several addresses are found by the proxy
            services_url=environ.get("LTAI_INSIDE_URL") or f"http://{environ.get('LTAI_SERVICES_BIND', '127.0.0.1:8001')}",
            # Derived, so that a restart logs nobody out.
            cookie_secret=hmac.new(key, b"console-cookie", hashlib.sha256).digest(),
        )
