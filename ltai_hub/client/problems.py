"""A refused answer → the error class the server raised, with the server's sentence (RFC 9457)."""

from __future__ import annotations

from typing import Any

import httpx

from ltai_hub import errors
from ltai_hub.errors import BadInput, Conflict, Denied, NotFound, NotLoggedIn, Problem, TryLater, Unavailable

BY_STATUS: dict[int, type[Problem]] = {
    400: BadInput,
    401: NotLoggedIn,
    403: Denied,
    404: NotFound,
    409: Conflict,
    422: BadInput,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
# Only this tree: what other modules derive from it may want other arguments.
BY_CODE = {c.code: c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Problem) and c is not Problem}
NOT_DETAILS = ("type", "title", "status", "detail", "code", "message", "after")


def make_problem(response: httpx.Response) -> Problem:
    """For any answer with status ≥ 300 whose body has been read."""
    body = _json_object(response)
    kind = _class_of(str(body.get("code", "")), response.status_code)
    message = _sentence(body) or _own_sentence(response)
    problem = _build(kind, message, response, {key: value for key, value in body.items() if key not in NOT_DETAILS})
    if kind is Problem:
        problem.status = response.status_code
        problem.code = str(body.get("code") or Problem.code)
    return problem


def _json_object(response: httpx.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _class_of(code: str, status: int) -> type[Problem]:
    # a hub sends what it has no route for to its own pages
    return BY_CODE.get(code) or BY_STATUS.get(404 if 300 <= status < 400 else status, Problem)


def _build(kind: type[Problem], message: str, response: httpx.Response, details: dict[str, Any]) -> Problem:
    if issubclass(kind, TryLater):
        problem: Problem = kind(message, _seconds(response.headers.get("retry-after", "")))
        problem.details = details
        return problem
    return kind(message, **details)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 5.0


def _sentence(body: dict[str, Any]) -> str:
    """``detail`` of our services or ``message`` of JupyterHub's API, with the fields that were wrong."""
    detail = body.get("detail") or body.get("message") or ""
    fields = [f"{e.get('field')}: {e.get('message')}" for e in body.get("errors", []) if isinstance(e, dict)]
    said = detail if isinstance(detail, str) else ""
    missing = [text for text in fields if text not in said]
    return ": ".join(part for part in (said, "; ".join(missing)) if part)


def _own_sentence(response: httpx.Response) -> str:
    """For answers that do not come from our services: a proxy, a hub without them, another web server."""
    url = response.request.url
    where = f"{url.scheme}://{url.netloc.decode()}"
    location = response.headers.get("location", "")
    if response.is_redirect and "://" in location:
        return f"{where} sends this request on to {location}; use that address"
    if response.is_redirect or response.status_code == 404:
        return f"{where} has no {url.path}; is this the address of an LtAI hub, and do its services run?"
    if response.status_code == 413:
        return "what was sent is larger than the server takes"
    if response.status_code in (502, 503, 504):
        return f"the part of {where} that answers {url.path} does not run now; try again in a few seconds"
    return f"{where} answered {response.status_code} {response.reason_phrase} to {response.request.method} {url.path}"
