"""The last events, for who looks at the console: a bounded list, each line with a number that grows. Pure.

The number is that of the record in the log store, so it stays the same when this process is replaced.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from appliance.model_event import EventKind

KEPT = 5000
MOST = KEPT
"""Lines that one may ask for."""
FIRST = 200
"""Lines that one gets who has had none."""
QUIET = frozenset({str(EventKind.TRAFFIC), str(EventKind.PROBE)})
"""What is written down all the time, and is no event."""
MEMBERS = ("kind", "message", "service", "backend", "vip", "peer", "interface", "outcome", "before", "reason")

Line = Mapping[str, Any]


def line_of(event: Mapping[str, Any], severity: object) -> dict[str, Any] | None:
    """Return an event, as the log store tells it, as a line; None for what is told elsewhere."""
    if event["kind"] in QUIET:
        return None
    told: dict[str, Any] = {"id": event["sequence"], "at": event["at"]}
    told["severity"] = severity if isinstance(severity, int) and 0 <= severity <= 7 else 6
    return told | {name: event[name] for name in MEMBERS if event.get(name)}


class History:
    """The lines, oldest first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lines: deque[Line] = deque(maxlen=kept)
        self.told: Callable[[Line], None] = lambda line: None
        """Hears of each new line."""

    def add(self, line: Line) -> None:
        """Take a line in; one that is not newer than the last one was there before."""
        if not self._lines or line["id"] > self._lines[-1]["id"]:
            self._lines.append(line)
            self.told(line)

    def after(self, number: int | None, limit: int | None = None) -> list[Line]:
        """Return the lines behind a number, at most `limit` of them; the last FIRST for None."""
        lines = list(self._lines)
        if number is None:
            return lines[-(limit or FIRST) :]
        first = bisect_right(lines, number, key=lambda line: int(line["id"]))
        return lines[first : first + limit] if limit else lines[first:]

    def chosen(self, number: int | None, limit: int, kind: str, text: str) -> tuple[list[Line], int]:
        """Return lines of a kind (empty: any) that contain a text, and the number behind which to go on."""
        looked = self.after(number, None) if number is not None else list(self._lines)
        lines = [line for line in looked if _passes(line, kind, text.casefold())]
        chosen = lines[:limit] if number is not None else lines[-limit:]
        if len(chosen) < len(lines) and number is not None:
            return chosen, int(chosen[-1]["id"])
        return chosen, int(looked[-1]["id"]) if looked else number or 0


def _passes(line: Line, kind: str, text: str) -> bool:
    return (not kind or line.get("kind") == kind) and (not text or any(text in word for word in _words(line)))


def _words(line: Line) -> Iterable[str]:
    return (value.casefold() for value in line.values() if isinstance(value, str))
