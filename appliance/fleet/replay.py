"""Which datagrams have been seen, and which senders live now. Pure.

A life is a start of some node's daemon, named by 64 random bits. Of each life that is believed, a window of sequence
numbers tells what has been seen (as RFC 4303 section 3.4.3 does for IPsec); what is older than the window counts as
seen.

A window is of no use against datagrams of a life that this node has never met: somebody may have recorded them
yesterday. So a life is believed only once it has *proved* that it lives now, by a HELLO that has in it a nonce of ours.
Nonces are random, renewed every RENEWAL seconds and whenever a member is gone; the current one and the one before are
accepted, but of a life that was here before only such as were made after it had gone. Its window begins with the HELLO
that proves it: what it had sent before counts as seen.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import NamedTuple

WINDOW = 1024
"""Sequence numbers, below the greatest one, of which it is known whether they were seen."""
RENEWAL = 600.0
"""Seconds."""
PENDING = 8
"""Lives that have shown us a nonce, and not yet proved themselves, at most: the oldest one makes room."""
PATIENCE = 5.0
"""Seconds for which the nonce of such a life is echoed."""
DEPARTED = 256
"""Lives that are gone, and remembered, at most."""
MEMORY = 2 * RENEWAL
"""Seconds for which they are; no nonce of that time is accepted any more."""
_MASK = (1 << WINDOW) - 1


class Window:
    """What has been seen of one life. Bit n of `seen` stands for the sequence number `top` - n."""

    __slots__ = ("seen", "top")

    def __init__(self, first: int) -> None:
        """Begin with a datagram that has been seen; all before it count as seen."""
        self.top = first
        self.seen = _MASK

    def knows(self, sequence: int) -> bool:
        """Return whether this number was seen, or is too old to tell."""
        behind = self.top - sequence
        return behind >= WINDOW or (behind >= 0 and bool(self.seen >> behind & 1))

    def add(self, sequence: int) -> None:
        """Remember a number that `knows` does not."""
        ahead = sequence - self.top
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & _MASK if ahead < WINDOW else 1
            self.top = sequence
        else:
            self.seen |= 1 << -ahead


class Nonces:
    """Our own: the current one, and the one before it."""

    def __init__(self, make: Callable[[], int], now: float) -> None:
        self._make = make
        self.current = make()
        self._made = now
        self._former: tuple[int, float] | None = None

    @property
    def renewal_at(self) -> float:
        """When the current one is old."""
        return self._made + RENEWAL

    def renew(self, now: float) -> None:
        """Use another one from now on; the one before the current is not accepted any more."""
        self._former = (self.current, self._made)
        self.current, self._made = self._make(), now

    def accepts(self, nonce: int, since: float = -inf) -> bool:
        """Return whether a nonce is ours, and made at `since` or later."""
        accepted = ((self.current, self._made), self._former or (self.current, self._made))
        return any(nonce == one and made >= since for one, made in accepted)


class Shown(NamedTuple):
    """The nonce that a life has shown which is not believed yet, and when."""

    nonce: int
    at: float


class Strangers:
    """Lives that are not members: those that might become ones, and those that were."""

    def __init__(self) -> None:
        self.shown: dict[int, Shown] = {}
        self._departed: dict[int, tuple[float, float]] = {}
        """When each went, and from when a nonce has to be that proves it again."""

    def show(self, life: int, nonce: int, now: float) -> bool:
        """Remember the nonce of a life that is not proved; returns whether that is news, to be echoed at once."""
        self.expire(now)
        former = self.shown.pop(life, None)
        if former is None and len(self.shown) >= PENDING:
            self.shown.pop(next(iter(self.shown)))
        self.shown[life] = Shown(nonce, now)
        return former is None or former.nonce != nonce

    def expire(self, now: float) -> None:
        """Forget nonces that nobody has shown for long, and lives that no nonce of ours can prove any more."""
        for life in [life for life, shown in self.shown.items() if now - shown.at > PATIENCE]:
            del self.shown[life]
        for life in [life for life, (at, _) in self._departed.items() if now - at > MEMORY]:
            del self._departed[life]

    def depart(self, life: int, now: float, *, for_ever: bool = False) -> None:
        """A member is gone. What proves it again has to be a nonce of later; `for_ever`: nothing does."""
        self._departed.pop(life, None)
        while len(self._departed) >= DEPARTED:
            self._departed.pop(next(iter(self._departed)))
        self._departed[life] = (now, inf if for_ever else now)
        self.shown.pop(life, None)

    def since(self, life: int) -> float:
        """From when a nonce has to be that proves a life; inf: it never comes back."""
        return self._departed[life][1] if life in self._departed else -inf
