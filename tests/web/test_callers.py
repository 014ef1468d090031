from __future__ import annotations

import asyncio

import httpx
import pytest

from ltai_hub.errors import NotLoggedIn, Unavailable
from ltai_hub.web.callers import REMEMBER_SECONDS, TokenResolver, bearer_token, make_caller
from tests.services.platform import NoTokens

SAM = {"kind": "user", "name": "sam", "admin": False, "scopes": ["access:services", "read:users:name!user"]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Hub:
    """Answers /user for the token "good"; counts the questions."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.said = b""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.status != 200:
            return httpx.Response(self.status, content=self.said)
        good = request.headers["Authorization"] == "token good"
        return httpx.Response(200, json=SAM) if good else httpx.Response(403, json={"message": "no"})


def a_resolver(hub: Hub, clock: Clock) -> TokenResolver:
    resolver = TokenResolver("http://hub/hub/api", NoTokens(), clock)
    resolver._client = httpx.AsyncClient(base_url="http://hub/hub/api", transport=httpx.MockTransport(hub))
    return resolver


async def test_a_token_is_asked_once_a_minute() -> None:
    hub, clock = Hub(), Clock()
    resolver = a_resolver(hub, clock)
    assert (await resolver.caller("good")).name == "sam"
    await resolver.caller("good")
    assert hub.asked == 1
    clock.now = REMEMBER_SECONDS + 1
    await resolver.caller("good")
    assert hub.asked == 2


async def test_a_hundred_questions_at_once_are_one() -> None:
    hub = Hub()
    resolver = a_resolver(hub, Clock())
    callers = await asyncio.gather(*(resolver.caller("good") for _ in range(100)))
    assert {c.name for c in callers} == {"sam"}
    assert hub.asked == 1


async def test_an_unknown_token_is_not_logged_in_and_soon_asked_again() -> None:
    hub, clock = Hub(), Clock()
    resolver = a_resolver(hub, clock)
    with pytest.raises(NotLoggedIn):
        await resolver.caller("bad")
    with pytest.raises(NotLoggedIn):
        await resolver.caller("bad")
    assert hub.asked == 1
    clock.now = 6
    with pytest.raises(NotLoggedIn):
        await resolver.caller("bad")
    assert hub.asked == 2


async def test_a_hub_that_is_down_is_said_and_not_remembered() -> None:
    hub = Hub()
    hub.status = 503
    resolver = a_resolver(hub, Clock())
    with pytest.raises(Unavailable, match=r"the hub answered 503 \(Service Unavailable\); try again"):
        await resolver.caller("good")
    hub.said = b'{"status": 503, "message": "the platform\'s database does not answer"}'
    with pytest.raises(Unavailable, match="the platform's database does not answer"):
        await resolver.caller("good")
    hub.status = 200
    assert (await resolver.caller("good")).name == "sam"


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer  ", "abc"])
def test_a_header_without_a_token_is_not_logged_in(header: str) -> None:
    with pytest.raises(NotLoggedIn):
        bearer_token(header)


def test_only_a_token_with_the_admin_scope_is_an_administrators() -> None:
    admin = make_caller({**SAM, "admin": True}, "t")
    assert admin is not None
    assert not admin.admin
    full = make_caller({**SAM, "scopes": ["admin-ui", "access:services"]}, "t")
    assert full is not None
    assert full.admin
    assert make_caller({"kind": "service", "name": "x"}, "t") is None


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(make_caller(SAM, "secret"))
