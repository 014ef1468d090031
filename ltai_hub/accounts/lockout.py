"""How long an account is closed after wrong passwords: nothing at first, then doubling, at most a quarter of an hour."""

from __future__ import annotations

from datetime import timedelta

FREE_ATTEMPTS = 4
FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=15)


def lock_time(failed_attempts: int) -> timedelta:
    """0 for the first four wrong passwords, then 5 s, 10 s, 20 s, …, 15 min."""
    if failed_attempts <= FREE_ATTEMPTS:
        return timedelta(0)
    doublings = min(failed_attempts - FREE_ATTEMPTS - 1, 10)
    return min(FIRST * (1 << doublings), LONGEST)
