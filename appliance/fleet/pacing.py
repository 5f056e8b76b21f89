"""How much may be sent: a token bucket. Pure."""

from __future__ import annotations

BURST = 0.05
"""Seconds' worth of the rate that may be sent at once."""
LEAST_BURST = 16_384
"""Octets; a few datagrams, whatever the rate."""
HEADERS = 48
"""Octets that UDP and IPv6 add to a datagram."""


class Bucket:
    """Octets that may be sent now. What comes first may overdraw it by as much as it holds; all else then waits."""

    def __init__(self, rate: int, now: float) -> None:
        self.retime(rate)
        self._tokens = self._most
        self._at = now

    def retime(self, rate: int) -> None:
        """Fill it at another rate (octets a second) from now on."""
        self.rate = rate
        self._most = float(max(LEAST_BURST, int(rate * BURST)))
        self._tokens = min(getattr(self, "_tokens", self._most), self._most)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self.rate)
            self._at = now

    def allows(self, now: float) -> bool:
        """Return whether anything may be sent at all."""
        self._fill(now)
        return self._tokens > 0

    def urgent(self, now: float) -> bool:
        """Return whether something may be sent that comes first."""
        self._fill(now)
        return self._tokens > -self._most

    def spend(self, octets: int) -> None:
        """A datagram of so many octets is sent."""
        self._tokens -= octets + HEADERS

    def ready_at(self) -> float:
        """When something may be sent again."""
        return self._at + max(0.0, 1 - self._tokens) / self.rate

    def urgent_at(self) -> float:
        """When something may be sent again that comes first."""
        return self._at + max(0.0, 1 - self._most - self._tokens) / self.rate
