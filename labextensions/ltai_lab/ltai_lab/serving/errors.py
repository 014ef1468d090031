"""What a caller did wrong, as one sentence and a status."""

from __future__ import annotations


class Refused(Exception):
    """The request cannot be answered; ``message`` is shown to the caller."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NoToken(Refused):
    status = 401


class NoSuchPath(Refused):
    status = 404


class WrongMethod(Refused):
    status = 405


class TooLarge(Refused):
    status = 413


class WrongType(Refused):
    status = 415


class ModelFailed(Refused):
    """The model's own code raised something that does not look like bad input."""

    status = 500
