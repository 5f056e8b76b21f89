"""Why a probe failed, as one word of a few: what a metric is split by, and what one searches the log for. Pure.

A probe says in words what it saw (health/diagnostic.py), and those words are a contract with people. Here they are read
back: the table is in the order in which it is asked, and a test holds every text of a probe against it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from appliance.model import Outcome

OTHER = "other"
_PATTERNS = (
    ("certificate", r"TLS: .*certificate"),
    ("status", r"HTTP [0-9]{3}, expected|gRPC |[A-Z0-9_]+, expected |status [0-9]+, expected SERVING"),
    ("content", r"HTTP [0-9]{3}, but the body|the answer begins with|packets of full size"),
    ("timeout", r"timeout"),
    ("refused", r"connection refused"),
    ("reset", r"connection reset|the server reset the call"),
    ("unreachable", r"(?:host|network|protocol) unreachable|host down|prohibited"),
    ("closed", r"connection closed|the server ended the connection"),
    ("protocol", r"not |no final response|more than|protocol error|HTTP .*, and not gRPC"),
    ("tls", r"TLS|the name .* cannot be used for TLS"),
)
"""Each class with how its texts begin."""
FAILURES = (*(name for name, _ in _PATTERNS), OTHER)
"""All classes."""
_TABLE = tuple((name, re.compile(pattern)) for name, pattern in _PATTERNS)
_PATH = re.compile(r"(?:.* at \S+, )?path \S+: ")
"""What stands before the words of a probe that looked at the way alone (health/sharing.py)."""


@lru_cache(maxsize=4096)
def failure(outcome: Outcome, diagnostic: str) -> str:
    """Return the class of a failed probe; nothing for a good one."""
    if outcome is Outcome.OK:
        return ""
    words = diagnostic[found.end() :] if (found := _PATH.match(diagnostic)) else diagnostic
    return next((name for name, pattern in _TABLE if pattern.match(words)), OTHER)
