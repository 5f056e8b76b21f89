"""What the answer to a webhook means, and when to try again. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto

FIRST_DELAY, LONGEST_DELAY = 2.0, 300.0
LONGEST_WISH = 3600.0
"""How long a server may ask us to wait (Retry-After), seconds."""
AGAIN = frozenset({408, 425, 429})
QUIET = re.compile(r"[a-z]+(_[a-z]+){0,5}")
"""What is repeated of an answer: words such as `channel_is_archived`, which tell what to do. Anything else could be the
URL of the request, and that is a secret."""
HIDDEN = re.compile(r"(?i)returned HTTP error (\d{3})")
"""How the connectors of Teams say 200 and mean something else."""


class Next(Enum):
    """What to do now."""

    DONE = auto()
    AGAIN = auto()
    GIVEN_UP = auto()


@dataclass(frozen=True)
class Judgement:
    """What came of a request. `wait` is what the server asked for, seconds; 0.0 if it asked for nothing."""

    next: Next
    reason: str = ""
    wait: float = 0.0


def judge(status: int, body: str = "", retry_after: str = "", wall: float = 0.0) -> Judgement:
    """Return what an answer means; `wall` is the time of day in seconds since the epoch."""
    if 200 <= status < 300:
        hidden = HIDDEN.search(body)
        if hidden is None:
            return Judgement(Next.DONE)
        inner = int(hidden[1])
        return judge(inner, wall=wall) if inner >= 300 else Judgement(Next.DONE)
    said = f"it answered {status}"
    word = body.strip()
    if len(word) <= 60 and QUIET.fullmatch(word):
        said += f" ({word})"
    if status in AGAIN or status >= 500:
        return Judgement(Next.AGAIN, said, wished(retry_after, wall))
    if 300 <= status < 400:
        return Judgement(Next.GIVEN_UP, f"{said}, a redirection, which is not followed; set the URL that it leads to")
    return Judgement(Next.GIVEN_UP, f"{said}; is the URL right, and the webhook still there?")


def wished(retry_after: str, wall: float) -> float:
    """Return the seconds that a Retry-After asks for: a number, or a date (RFC 9110, 10.2.3); 0.0 for nonsense."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_WISH)
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return min(max(0.0, (at - datetime.fromtimestamp(wall, UTC)).total_seconds()), LONGEST_WISH)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
