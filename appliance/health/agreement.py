"""For how long nodes that check the same backends may think differently of one of them. Pure.

Two nodes see the same change, each by its own probes. One may find out just after it, the other just before its next
round: that is an interval, with its jitter, and the jitter of the rounds that confirm. Where nodes tell each other, the
second one asks at once (schedule.py), and needs as long as its confirmation takes: as many answers as `rise` or `fall`
want, each of which may take the whole `timeout`. The shorter of the two counts, and what it takes until others hear.
docs/agreement.md says the same to operators.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.health.schedule import CONFIRM_LEAST, CONFIRM_SHARE, JITTER, PROMPT_WITHIN
from appliance.model import Check

HEARD = 0.7
"""Seconds, at most, from the moment at which one node knows to that at which another one has taken it in, on a network
that works: a datagram that is lost once, and a look of each."""
ALONE = 1.0
"""Seconds for services without checks, whose backends are up for everybody."""


def untold(check: Check) -> float:
    """Seconds between the first and the last node to find out by a check, if none hears of the others."""
    pace = min(check.interval, max(CONFIRM_LEAST, check.interval * CONFIRM_SHARE))
    return (1 + JITTER) * check.interval + 2 * JITTER * pace * (_answers(check) - 1)


def confirmed(check: Check) -> float:
    """Seconds from the moment at which a node hears of it until it has found out itself, if nothing is answered."""
    pace = min(check.interval, CONFIRM_LEAST * (1 + JITTER))
    return PROMPT_WITHIN + (_answers(check) - 1) * max(pace, check.timeout) + check.timeout


def patience(checks: Iterable[Check]) -> float:
    """Seconds after which nodes that still think differently will go on to do so: it is no matter of time."""
    return max((HEARD + min(untold(check), confirmed(check)) for check in checks), default=ALONE)


def _answers(check: Check) -> int:
    return max(check.rise, check.fall)
