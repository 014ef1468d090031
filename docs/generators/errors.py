"""reference/errors.md from the error tree."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

from generators.markdown import code, sentence, table
from ltai_hub import errors
from ltai_hub.errors import Problem

HEAD = """# Errors

Whatever is refused is answered with `application/problem+json` (RFC 9457):

```json
{
  "type": "about:blank",
  "title": "Conflict",
  "status": 409,
  "detail": "ml-101 asked for 2 accelerators but each user may have 1; choose a smaller flavor",
  "code": "over-quota",
  "request_id": "5f0c9a3be1d2"
}
```

`detail` is the sentence to show. Programs look at `code`, which stays the same; sentences may change. `errors` lists
`{"field", "message"}` for each field that is wrong. `request_id` finds the request in the services' log; tell it to an
administrator when the status is 500. The Python SDK raises the class, the command line prints the sentence and leaves with the exit code.

"""
TAIL = """
Exit codes of `ltai`: 0 done · 1 refused or failed · 2 the command or the set-up is wrong · 130 interrupted.
`ltai job submit --wait`, `--follow` and `ltai job wait` leave with the job's own exit code, 128 + n when signal n ended it.
"""
# where classes are derived outside of ltai_hub.errors
ELSEWHERE = ("ltai_hub.accounts.service",)


def make_page() -> str:
    rows = [[code(k.code), str(k.status), code(k.__name__), meaning(k), exit_code(k)] for k in kinds()]
    return HEAD + table(["code", "status", "class", "meaning", "exit code"], rows) + TAIL


def kinds() -> list[type[Problem]]:
    for name in ELSEWHERE:
        importlib.import_module(name)
    return sorted((k for k in _below(Problem) if k.__module__.startswith("ltai_hub.")), key=lambda k: (k.status, k.code))


def _below(kind: type[Problem]) -> Iterator[type[Problem]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def meaning(kind: type[Problem]) -> str:
    """The class's own words, or those of the tree drawn at the top of ``errors.py``."""
    if kind.__doc__ and kind.__doc__ != Problem.__doc__ and "__doc__" in vars(kind):
        return sentence(kind.__doc__.split("\n\n")[0].replace("``", "`"))
    drawn = re.search(rf"── {kind.__name__} \d+ +(.+)", errors.__doc__ or "")
    return sentence(drawn[1]) if drawn else WORDS.get(kind.__name__, "")


def exit_code(kind: type[Problem]) -> str:
    return "2" if issubclass(kind, errors.ConfigProblem) else "1"


WORDS = {
    "NotLoggedIn": "No token was sent, or it is unknown or has expired.",
    "NotFound": "It is not there, or the caller may not see it.",
    "WrongPassword": "The user name or the password is wrong.",
    "AccountDisabled": "The account is disabled.",
}
