"""The two ways in which a probe ends early. Neither leaves `appliance.health.probes`' callers."""

from __future__ import annotations

import errno
import os

from appliance.model import Outcome


class ProbeFailed(Exception):
    """The probe is over: `outcome` and `diagnostic` are its result."""

    def __init__(self, outcome: Outcome, diagnostic: str) -> None:
        self.outcome = outcome
        self.diagnostic = diagnostic
        super().__init__(diagnostic)


class ProbeNotSent(Exception):
    """Nothing reached the network, for a reason on our side (no port, no descriptor, no route): there is no result."""


NO_ANSWER = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTDOWN: "host down",
    errno.ENOPROTOOPT: "protocol unreachable",
    errno.EPROTO: "protocol error",
    errno.EACCES: "prohibited",
}
"""What the network says of a backend (the errors of tcp(7) and the ICMP table of the kernel), in words."""


def describe(code: int, phase: str) -> str:
    """Return the words for an errno that a socket reported in `phase` (`connect`, `TLS`, ...)."""
    words = NO_ANSWER.get(code) or os.strerror(code).lower()
    return words if phase == "connect" else f"{words} ({phase})"
