"""What of the log is told to people: one event as a notice, and who is to hear of it. Pure.

A document is read as something that may be damaged: what is missing or of another type counts as absent, and every text
is made printable and cut here, once, so that whatever shows a notice has nothing to fear from what a backend answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.model import EventKind, Severity
from appliance.model_event import SEVERITY

ELLIPSIS = "…"
LATEST = 2.0**37
"""The year 6325: what is later is no time, and some calendars could not write it in every zone."""
NAME_CHARACTERS = 100
"""Of an address, a service, an interface, a word."""
TEXT_CHARACTERS = 400
"""Of a message, a reason."""
NEVER = frozenset({EventKind.PROBE, EventKind.TRAFFIC})
"""Kinds that come all the time, and are nobody's alert however low `alert` is set."""
GOOD = frozenset({"up", "established", "over", "ended", "end", "joined"})
"""Outcomes after which there is nothing to do."""
NO_STATE = frozenset({"malformed", "synced"})
"""Outcomes that say what happened to something, and leave it as it is."""
SUBJECTS = {
    EventKind.BACKEND: "backend",
    EventKind.SERVICE: "service",
    EventKind.VIP: "VIP",
    EventKind.INTERFACE: "interface",
    EventKind.BGP: "BGP session",
    EventKind.BFD: "BFD session",
    EventKind.FLEET: "balancer",
}
"""Kinds that tell of a state of something that has a name, and what it is called."""


def plain(text: str, most: int) -> str:
    """Return `text` as one printable line of at most `most` characters; what a terminal would obey is escaped."""
    if not (text.isprintable() and len(text) <= most):
        # Long before it is known how long it gets: a message may be megabytes, and an escape has up to ten characters.
        words = " ".join(text[: 4 * most].split())
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in words)
        if len(text) > most:
            text = text[: most - 1] + ELLIPSIS
    return text


@dataclass(frozen=True)
class Notice:
    """An event as it is told. `at` is wall-clock seconds, 0.0 where that is not known; texts are printable."""

    sequence: int
    at: float
    kind: EventKind
    severity: Severity
    message: str
    outcome: str = ""
    before: str = ""
    reason: str = ""
    service: str = ""
    backend: str = ""
    vip: str = ""
    interface: str = ""
    peer: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def subject(self) -> str:
        """What has changed, by its name; empty where the message alone says it."""
        name = {
            EventKind.BACKEND: self.backend,
            EventKind.SERVICE: self.service,
            EventKind.VIP: self.vip,
            EventKind.INTERFACE: self.interface,
            EventKind.BGP: self.peer,
            EventKind.BFD: self.peer,
            EventKind.FLEET: self.peer,
        }.get(self.kind, "")
        if not name or not self.outcome or self.outcome in NO_STATE:
            return ""
        between = " with " if self.kind in (EventKind.BGP, EventKind.BFD) else " "
        where = f" of {self.service}" if self.kind is EventKind.BACKEND and self.service else ""
        return f"{SUBJECTS[self.kind]}{between}{name}{where}"

    @property
    def good(self) -> bool:
        """Whether it came to something good."""
        return self.outcome in GOOD

    @property
    def key(self) -> tuple[str, str, str]:
        """Notices with the same key are about the same: a thing with a state, else a message."""
        subject = self.subject
        return (self.kind, subject, "") if subject else (self.kind, self.outcome, self.message)

    @property
    def text(self) -> str:
        """All of it in one line."""
        if not self.subject:
            place = self.backend or self.service or self.interface or self.peer or self.vip
            return f"{place}: {self.message}" if place and place not in self.message else self.message
        why = self.reason or self.message
        return f"{self.subject} {self.outcome}" + (f": {why}" if why else "")


def notice(document: Mapping[str, Any]) -> Notice | None:
    """Return what a document of the event stream says; None for what is no event."""
    try:
        kind = EventKind(_text(document, "vc5", "kind"))
    except ValueError:
        return None
    severity = _at(document, "event", "severity")
    details = _at(document, "vc5", "details")
    return Notice(
        sequence=sequence_of(document),
        at=moment(_at(document, "@timestamp")),
        kind=kind,
        severity=Severity(severity) if type(severity) is int and 0 <= severity <= 7 else SEVERITY[kind],
        message=_text(document, "message", most=TEXT_CHARACTERS),
        outcome=_text(document, "vc5", "outcome"),
        before=_text(document, "vc5", "before"),
        reason=_text(document, "event", "reason", most=TEXT_CHARACTERS),
        service=_text(document, "service", "name"),
        backend=_text(document, "server", "ip"),
        vip=_text(document, "destination", "ip"),
        interface=_text(document, "vc5", "interface"),
        peer=_text(document, "vc5", "peer"),
        details=details if isinstance(details, Mapping) else {},
    )


def sequence_of(document: Mapping[str, Any]) -> int:
    """Return the number of a document in the log, 0 where it has none."""
    number = _at(document, "event", "sequence")
    return number if type(number) is int and number > 0 else 0


def silent(document: Mapping[str, Any]) -> bool:
    """Whether a document is of a kind that nobody is told of; most are, so this is quick."""
    kind = _at(document, "vc5", "kind")
    return isinstance(kind, str) and kind in NEVER


def alerts(found: Notice, least: int) -> bool:
    """Whether an event is told where `least` (0 to 7) is the least grave severity that is."""
    return found.kind not in NEVER and found.severity <= least


def moment(value: object) -> float:
    """Return seconds since the epoch of a time stamp (RFC 3339), 0.0 for what is none."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        seconds = at.timestamp() if at is not None and at.tzinfo is not None else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return seconds if 0 < seconds < LATEST else 0.0


def clock(at: float, form: str) -> str:
    """Return a moment in UTC, in a form of strftime(3); empty where it is not known."""
    return datetime.fromtimestamp(at, UTC).strftime(form) if at > 0 else ""


def _at(document: Mapping[str, Any], *path: str) -> object:
    value: object = document
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _text(document: Mapping[str, Any], *path: str, most: int = NAME_CHARACTERS) -> str:
    value = _at(document, *path)
    return plain(value, most) if isinstance(value, str) else ""
