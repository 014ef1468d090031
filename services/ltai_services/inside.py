"""The platform's address as jobs and endpoint instances see it from inside."""

from __future__ import annotations

from urllib.parse import urlsplit

from ltai_hub.settings import Settings


def inside_url(settings: Settings) -> str:
    """Where nothing else is set, a plain http address is this machine's own proxy, reached by loopback whatever name people
    type; https goes by its name."""
    if settings.inside_url:
        return settings.inside_url
    parts = urlsplit(settings.public_url)
    if parts.scheme != "http":
        return settings.public_url
    return f"http://127.0.0.1:{parts.port or 80}"
