"""From a bearer token to the person behind it: asked at the hub, or one of the platform's own; remembered for a short time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from ltai_hub.domain.tenants import Person
from ltai_hub.errors import Denied, NotLoggedIn, Unavailable
from ltai_hub.hubapi import hub_problem
from ltai_hub.trust import certificates

REMEMBER_SECONDS = 60.0
FORGET_UNKNOWN_SECONDS = 5.0
LARGEST_MEMORY = 10_000


@dataclass(frozen=True)
class Caller(Person):
    """A person with the token they came with; ``admin`` only when the token itself carries the hub's admin scope."""

    scopes: frozenset[str] = frozenset()
    token: str = field(default="", repr=False)

    def may_use(self, service: str) -> bool:
        return bool(self.scopes & {"access:services", f"access:services!service={service}"})


class OwnTokens(Protocol):
    """Tokens the hub does not know (``ltai_hub.web.workload_tokens``)."""

    def is_one(self, token: str) -> bool: ...

    def caller(self, token: str) -> Caller | None: ...


class TokenResolver:
    """Asks who a token belongs to; answers are kept ≤ 60 s, keyed by the token's hash.

    Revoked tokens therefore work for up to a minute more. Simultaneous questions for one token are asked once.
    """

    def __init__(self, hub_api_url: str, own: OwnTokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._client = httpx.AsyncClient(base_url=hub_api_url.rstrip("/"), timeout=15, verify=certificates())
        self._clock = clock
        self._known: dict[str, tuple[float, Caller | None]] = {}
        self._asking: dict[str, asyncio.Task[Caller | None]] = {}

    async def caller(self, token: str) -> Caller:
        """Raises NotLoggedIn for a token the hub does not know, Unavailable when the hub does not answer."""
        key = hashlib.sha256(token.encode()).hexdigest()
        until, caller = self._known.get(key, (0.0, None))
        if self._clock() >= until:
            caller = await self._ask_once(key, token)
        if caller is None:
            raise NotLoggedIn("the token is unknown or has expired; log in again, or make a new token on the hub's token page")
        return caller

    async def _ask_once(self, key: str, token: str) -> Caller | None:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key, token))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: str, token: str) -> Caller | None:
        if self._own.is_one(token):
            caller = await asyncio.to_thread(self._own.caller, token)
        else:
            caller = await self._ask_hub(token)
        if len(self._known) >= LARGEST_MEMORY:
            self._known.clear()
        self._known[key] = (self._clock() + (REMEMBER_SECONDS if caller else FORGET_UNKNOWN_SECONDS), caller)
        return caller

    async def _ask_hub(self, token: str) -> Caller | None:
        try:
            reply = await self._client.get("/user", headers={"Authorization": f"token {token}"})
        except httpx.HTTPError as error:
            raise Unavailable(f"the hub does not answer ({error.__class__.__name__}); try again in a moment") from error
        if reply.status_code >= 500:
            raise hub_problem(reply)
        return make_caller(reply.json(), token) if reply.status_code == 200 else None

    async def close(self) -> None:
        await self._client.aclose()


def make_caller(model: dict[str, object], token: str) -> Caller | None:
    """The hub's user model → Caller; None for a token of a service."""
    if model.get("kind") != "user":
        return None
    raw = model.get("scopes")
    scopes = frozenset(raw) if isinstance(raw, list) else frozenset()
    return Caller(name=str(model["name"]), admin="admin-ui" in scopes, scopes=scopes, token=token)


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header ("Bearer x" or "token x"). Raises NotLoggedIn."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() not in ("bearer", "token") or not token.strip():
        raise NotLoggedIn("no token was sent; send the header 'Authorization: Bearer TOKEN'")
    return token.strip()


def check_service(caller: Caller, service: str) -> None:
    if not caller.may_use(service):
        raise Denied(f"this token of {caller.name} may not use the service {service}; it lacks the scope access:services!service={service}")
