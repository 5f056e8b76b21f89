"""How many requests each user may make: a bucket that fills, and empties by one with each of them. Pure.

The rate is far above what people and scripts ask for, and far below what would keep the daemon from its work.
"""

from __future__ import annotations

from dataclasses import dataclass

USERS = 256
"""Buckets that are kept; those that are full again are forgotten first."""


@dataclass(frozen=True)
class Rate:
    """How much a user may ask for."""

    per_second: float = 100.0
    burst: int = 500
    """What may be asked for at once, after a time of silence."""


USUAL = Rate()


class Allowance:
    """The buckets, by user id."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at: dict[int, float] = {}
        """When each bucket will be full again, in monotonic seconds; those that are full are not kept."""

    def take(self, user: int, now: float) -> float:
        """Take one request out of a user's bucket: return 0, or the seconds until there is one where it is empty."""
        full_at = max(now, self._full_at.get(user, now)) + 1 / self._rate.per_second
        short = full_at - now - self._rate.burst / self._rate.per_second
        if short > 1e-9:
            return short
        if len(self._full_at) >= USERS:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
        self._full_at[user] = full_at
        return 0.0
