"""Passwords: argon2id hashes, rules, random ones. Slow on purpose (about 40 ms): call from a thread, never from an event loop."""

from __future__ import annotations

import secrets
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ltai_hub.errors import BadInput

# OWASP password storage cheat sheet, first choice for argon2id: 46 MiB, one pass, one lane
HASHER = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
SHORTEST, LONGEST = 8, 1024
# no 0/O, 1/l/I: people copy these from a screen
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def hash_password(password: str) -> str:
    return HASHER.hash(password)


def verify_password(password_hash: str, password: str) -> bool:
    """Takes the same time for an unknown user (``password_hash`` empty) as for a wrong password."""
    try:
        matches = HASHER.verify(password_hash or _dummy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and bool(password_hash)


def check_new_password(password: str, name: str) -> str:
    """The password if it may be used by ``name``. Raises BadInput."""
    if len(password) < SHORTEST:
        raise BadInput(f"the password is too short; use at least {SHORTEST} characters")
    if len(password) > LONGEST:
        raise BadInput(f"the password is too long; use at most {LONGEST} characters")
    if password.lower() == name.lower():
        raise BadInput("the password is the user name; choose another one")
    if len(set(password)) < 4:
        raise BadInput("the password repeats the same few characters; choose another one")
    return password


def make_password() -> str:
    """Random, about 60 bits, in groups that can be read out: "k7mwx-r2n9a-pq"."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(12))
    return "-".join((letters[:4], letters[4:8], letters[8:]))


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    return hash_password(secrets.token_hex(16))
