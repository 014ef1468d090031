"""``helm test``: every part answers through the proxy as people reach it, and asks who is there."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import httpx

from ltai_hub.hub.configure import SERVICES
from ltai_hub.settings import Settings

SECONDS = 120.0


def main() -> None:
    url = Settings().inside_url
    with httpx.Client(base_url=url, timeout=10) as client:
        problems = wait_until_right(client)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{url}: sign-in, console and {len(SERVICES)} services answer")


def wait_until_right(client: httpx.Client, seconds: float = SECONDS) -> list[str]:
    """A sentence for each part that is not right, after giving them some time."""
    until = time.monotonic() + seconds
    while (problems := list(find_problems(client))) and time.monotonic() < until:
        time.sleep(2)
    return problems


def find_problems(client: httpx.Client) -> Iterator[str]:
    yield from expect(client, "/hub/login", (200,))
    # to the hub's sign-in
    yield from expect(client, "/services/console/", (302,))
    for name in SERVICES:
        yield from expect(client, f"/services/{name}/api/v1/openapi.json", (200,))
    yield from expect(client, "/services/tenancy/api/v1/me", (401,))
    yield from expect(client, "/services/models/mlflow/", (302, 401))


def expect(client: httpx.Client, path: str, statuses: Sequence[int]) -> Iterator[str]:
    try:
        status = client.get(path).status_code
    except httpx.HTTPError as error:
        yield f"{path} does not answer ({type(error).__name__})"
    else:
        if status not in statuses:
            yield f"{path} answers {status}, not {statuses[0]}"
