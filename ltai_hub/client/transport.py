"""One HTTP connection to one hub; the only file of the SDK that sends requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

import ltai_hub
from ltai_hub.client.problems import make_problem
from ltai_hub.client.types import Page
from ltai_hub.errors import Unavailable
from ltai_hub.trust import certificates

T = TypeVar("T")
PAGE = 200
USER_AGENT = f"ltai/{ltai_hub.__version__}"
# Building an image or the first prediction may take its time; connecting may not.
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
# A followed log is silent as long as the program is.
STREAM_TIMEOUT = httpx.Timeout(None, connect=10.0)


class Transport:
    """Sends ``METHOD service/path`` with the token; refused answers become ``ltai_hub.errors``."""

    def __init__(self, url: str, token: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self.sleep = sleep
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT}, timeout=TIMEOUT, verify=certificates()
        )

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, service: str, path: str, **request: Any) -> Any:
        """The answer's JSON, or None when it is empty."""
        response = self._send(method, service, path, request)
        return response.json() if response.content else None

    def text(self, service: str, path: str, params: Mapping[str, Any]) -> str:
        return self._send("GET", service, path, {"params": dropped(params)}).text

    def page(self, service: str, path: str, params: Mapping[str, Any], limit: int | None = None, offset: int = 0) -> Page[Any]:
        """``limit`` items from ``offset``, or all of them (None), in as many requests as it takes."""
        items: list[Any] = []
        total = 0
        while limit is None or len(items) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(items))
            window = {"limit": size, "offset": offset + len(items)}
            body = self.call("GET", service, path, params=dropped({**params, **window}))
            items += body["items"]
            total = body.get("total", len(items))
            if not body["items"] or offset + len(items) >= total:
                break
        return Page(items, total)

    def stream(self, service: str, path: str, params: Mapping[str, Any]) -> Iterator[bytes]:
        """The body as it arrives. A connection cut in the middle raises Unavailable."""
        request = self._http.build_request("GET", self._address(service, path), params=dropped(params), timeout=STREAM_TIMEOUT)
        with self._told(), self._opened(request) as response:
            yield from response.iter_bytes()

    @contextmanager
    def _opened(self, request: httpx.Request) -> Iterator[httpx.Response]:
        response = self._http.send(request, stream=True)
        try:
            if response.status_code >= 300:
                response.read()
                raise make_problem(response)
            yield response
        finally:
            response.close()

    def _send(self, method: str, service: str, path: str, request: Mapping[str, Any]) -> httpx.Response:
        with self._told():
            response = self._http.request(method, self._address(service, path), **request)
        if response.status_code >= 300:
            raise make_problem(response)
        return response

    def _address(self, service: str, path: str) -> str:
        return f"{self.url}/services/{service}/api/v1{path}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        with connection_errors(self.url):
            yield


@contextmanager
def connection_errors(url: str) -> Iterator[None]:
    """httpx's errors → Unavailable with what to do."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unavailable(f"{url} took too long to answer; try again") from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        raise Unavailable(f"nothing answers at {url} ({error}); is LtAI running there, and is the address right?") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Unavailable(f"{url} is no address of a hub ({error}); write for example http://127.0.0.1:8000") from error
    except httpx.TransportError as error:
        raise Unavailable(f"the connection to {url} broke ({error or type(error).__name__}); try again") from error


def dropped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not asked for."""
    return {key: value for key, value in values.items() if value is not None}


def whose(user: str | None) -> str | None:
    """For services that list everybody's, as far as the caller may see, unless a name (or "me") is given."""
    return None if user == "all" else user


def part(value: object) -> str:
    """A name as one part of a path: slashes, spaces, question marks and Chinese included."""
    return quote(str(value), safe="")


def wait_until(look: Callable[[], T], done: Callable[[T], bool], sleep: Callable[[float], None], timeout: float | None, what: str) -> T:
    """Asks again and again, soon at first and every two seconds later. Raises Unavailable after ``timeout`` seconds."""
    waited, pause = 0.0, 0.1
    while True:
        seen = look()
        if done(seen):
            return seen
        if timeout is not None and waited >= timeout:
            raise Unavailable(f"{what} did not get there in {timeout:g} seconds; it goes on, look again later")
        sleep(pause)
        waited += pause
        pause = min(pause * 1.5, 2.0)


def follow_log(read: Callable[[int], Iterator[bytes]], ended: Callable[[], bool], sleep: Callable[[float], None]) -> Iterator[bytes]:
    """A growing log from byte 0 to its end, over broken connections and pauses.

    ``read(offset)`` streams from there; ``ended()`` says that nothing is written any more, asked before the last read.
    """
    offset, failures = 0, 0
    while True:
        is_last = ended()
        try:
            for chunk in read(offset):
                offset += len(chunk)
                failures = 0
                yield chunk
        except Unavailable:
            failures += 1
            if failures > 5:
                raise
        else:
            if is_last:
                return
        sleep(min(0.3 * 2**failures, 5.0))


def is_final(phase: str) -> bool:
    return phase in ("stopped", "succeeded", "failed", "cancelled")
