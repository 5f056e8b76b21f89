"""Which events of the log store somebody wants to see."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.model import Address, EventKind, ServiceKey

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])(?: ago)?", re.ASCII)


@dataclass(frozen=True)
class LogFilter:
    """What an event must be to pass; what is None or empty asks for nothing. Times are wall-clock seconds."""

    service: ServiceKey | None = None
    backend: Address | None = None
    since: float | None = None
    until: float | None = None
    kinds: frozenset[EventKind] = frozenset()
    outcome: str = ""
    peer: Address | None = None

    def passes(self, event: dict[str, Any]) -> bool:
        """Return whether an event, as read from its line, passes."""
        at = event.get("at")
        return (
            (self.service is None or event.get("service") == str(self.service))
            and (self.backend is None or event.get("backend") == str(self.backend))
            and (self.peer is None or event.get("peer") == str(self.peer))
            and (not self.outcome or event.get("outcome") == self.outcome)
            and (not self.kinds or event.get("kind") in self.kinds)
            and (self.since is None or (isinstance(at, (int, float)) and at >= self.since))
            and (self.until is None or (isinstance(at, (int, float)) and at <= self.until))
        )

    def needles(self) -> tuple[bytes, ...]:
        """Return texts that every line that passes contains: looking for them is ten times cheaper than parsing."""
        words = [str(word) for word in (self.service, self.backend, self.peer) if word is not None]
        if self.outcome:
            words.append(self.outcome)
        return tuple(json.dumps(word).encode("ascii") for word in words)


def parse_since(text: str, now: float) -> float:
    """Read a moment and return it in wall-clock seconds; raises ValueError that says what can be written.

    `90s`, `10m`, `2h`, `3d`, `1w` (with or without ` ago`) count back from `now`; `@1700000000` are seconds since the
    epoch; ISO 8601 such as `2025-06-01 12:00` is local time where it names no zone.
    """
    text = text.strip()
    ago = AGO.fullmatch(text)
    try:
        if ago:
            return now - float(ago[1]) * UNITS[ago[2]]
        if text.startswith("@"):
            return datetime.fromtimestamp(float(text[1:])).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is no moment; write how long ago (90s, 10m, 2h, 3d), a date and time (2025-06-01T12:00), "
            "or @ and seconds since the epoch"
        ) from None
