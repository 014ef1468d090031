"""Every error a person may read, one tree.

    Problem
    ├── BadInput 400          the request itself is wrong
    ├── NotLoggedIn 401
    ├── Denied 403            permission table says no
    ├── NotFound 404
    ├── Conflict 409          wrong state, or the name is taken
    │   └── OverQuota 409     asks for more than the tenant can ever have
    ├── Unavailable 503       try again later
    │   └── TryLater 503      a backend is not ready; carries the seconds to wait
    ├── NoCapacity 409        nothing free now: queue it
    ├── BadWorkload 400       the backend refuses it for good
    └── ConfigProblem 500     set-up is wrong: CLI prints it in one line and leaves with code 2

The class carries status and code; a message names what, whose, how much, and what to do.
Translated to ``application/problem+json`` (RFC 9457) once, in ``ltai_hub.web.problems``.
"""

from __future__ import annotations


class Problem(Exception):
    """Base of all errors that are shown to people."""

    status = 500
    code = "problem"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class BadInput(Problem):
    status, code = 400, "bad-input"


class NotLoggedIn(Problem):
    status, code = 401, "not-logged-in"


class Denied(Problem):
    status, code = 403, "denied"


class NotFound(Problem):
    status, code = 404, "not-found"


class Conflict(Problem):
    status, code = 409, "conflict"


class OverQuota(Conflict):
    code = "over-quota"


class Unavailable(Problem):
    status, code = 503, "unavailable"


class TryLater(Unavailable):
    """A backend cannot do it now; ask again after ``after`` seconds."""

    code = "try-later"

    def __init__(self, message: str, after: float = 5.0) -> None:
        super().__init__(message)
        self.after = after


class NoCapacity(Problem):
    """Nothing is free now; the caller queues the workload and says why."""

    status, code = 409, "no-capacity"


class BadWorkload(Problem):
    """The user's fault, final: starting it again cannot help."""

    status, code = 400, "bad-workload"


class ConfigProblem(Problem):
    """Set-up is wrong; the command line prints the message and exits with 2."""

    code = "config"
