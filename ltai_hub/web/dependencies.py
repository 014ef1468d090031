"""FastAPI dependencies of all routes: who calls, whether they may at all, which page of a list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request

from ltai_hub.domain.lists import Part
from ltai_hub.domain.permissions import ACTIONS, may
from ltai_hub.errors import Denied
from ltai_hub.tenancy import store
from ltai_hub.web.callers import Caller, bearer_token, check_service

T = TypeVar("T")
# what the database and files take for a number
LARGEST = 2**63 - 1


async def logged_in(request: Request) -> Caller:
    """Whoever holds a valid token for this service, whatever their roles."""
    token = bearer_token(request.headers.get("Authorization", ""))
    caller: Caller = await request.app.state.resolver.caller(token)
    check_service(caller, request.app.state.service_name)
    return caller


def require(action: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who holds ``action`` in at least one tenant. The verb itself still asks ``permit`` for its tenant."""
    if action not in ACTIONS:
        raise KeyError(f"{action} is not in the permission table")

    async def dependency(request: Request) -> Caller:
        caller = await logged_in(request)
        if not caller.admin and not await asyncio.to_thread(_holds, request, caller, action):
            raise Denied(f"{caller.name} may not {ACTIONS[action].help} in any tenant; ask a teacher or administrator for a role that may")
        return caller

    dependency.action = action  # type: ignore[attr-defined]  # read by the test that every route names one
    return dependency


def _holds(request: Request, caller: Caller, action: str) -> bool:
    with request.app.state.platform.database.reading() as tx:
        return any(may(role, action) for role in store.roles_of(tx, caller.name).values())


@dataclass(frozen=True)
class Paging:
    limit: Annotated[int, Query(ge=1, le=1000, description="rows at most")] = 100
    offset: Annotated[int, Query(ge=0, le=LARGEST, description="rows to leave out at the beginning")] = 0
    q: Annotated[str, Query(max_length=200, description="text to search")] = ""
    sort: Annotated[str, Query(max_length=60, description='field to sort by; "-" in front: the largest first')] = ""

    @property
    def part(self) -> Part:
        return Part(self.limit, self.offset, self.q, self.sort)


Page = Annotated[Paging, Depends(Paging)]


def whose(caller: Caller, user: str | None) -> str | None:
    """The query parameter ``user`` of a list: "me" is the caller; nothing or "all" is everybody the caller may see."""
    return caller.name if user == "me" else None if user in (None, "", "all") else user


def page(items: list[T], total: int | None = None) -> dict[str, Any]:
    """The shape of every list reply."""
    return {"items": items, "total": len(items) if total is None else total}
