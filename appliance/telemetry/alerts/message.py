"""A message for people, before it has any format: a title that counts, and lines that name, the gravest first. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from appliance.model import EventKind, Severity
from appliance.telemetry.alerts.grouping import Batch, Entry, Standing
from appliance.telemetry.alerts.notice import clock, plain

NAMED = 12
"""Lines of one message."""
LINE_CHARACTERS = 300
TITLE_CHARACTERS = 140
"""Below what a header of Slack takes (150)."""
NOUNS = {
    EventKind.BACKEND: ("backend", "backends"),
    EventKind.SERVICE: ("service", "services"),
    EventKind.VIP: ("VIP", "VIPs"),
    EventKind.INTERFACE: ("interface", "interfaces"),
    EventKind.BGP: ("BGP session", "BGP sessions"),
    EventKind.BFD: ("BFD session", "BFD sessions"),
    EventKind.FLEET: ("balancer", "balancers"),
    EventKind.ALARM: ("alarm", "alarms"),
    EventKind.RELOAD: ("reload", "reloads"),
    EventKind.OPERATOR: ("operator's action", "operators' actions"),
    EventKind.DAEMON: ("message of the daemon", "messages of the daemon"),
}
ORDER = (
    *(EventKind.VIP, EventKind.SERVICE, EventKind.BACKEND, EventKind.INTERFACE, EventKind.BGP, EventKind.BFD),
    *(EventKind.FLEET, EventKind.ALARM, EventKind.RELOAD, EventKind.OPERATOR, EventKind.DAEMON),
)
"""How kinds follow each other where nothing is graver."""
FLAPPING = "flapping"
NUMBERS = re.compile("([0-9]+)")


@dataclass(frozen=True)
class Row:
    """One line: a thing, or a backend with all its services. `headline` is its beginning."""

    severity: Severity
    standing: Standing
    kind: EventKind
    word: str
    headline: str
    text: str
    events: int


@dataclass(frozen=True)
class Message:
    """What is told. `rows` are the named ones; `more` counts things, `more_events` the events of those."""

    severity: Severity
    standing: Standing
    title: str
    rows: tuple[Row, ...]
    more: int
    more_events: int
    events: int
    footer: str

    def fitting(self, cost: Callable[[str], int], room: int) -> tuple[Sequence[Row], str]:
        """Return the rows that have room, where `cost` tells what a text takes; and what is said of the others.

        The text about the others is not counted: it has less than 40 characters.
        """
        shown = 0
        for row in self.rows:
            room -= cost(row.text)
            if room < 0:
                break
            shown += 1
        more = self.more + len(self.rows) - shown
        return self.rows[:shown], f"and {more} more" if more else ""


def compose(batch: Batch, name: str) -> Message:
    """Return the message of a batch; `name` is what the balancer calls itself. The batch has an event at least."""
    rows = sorted(_rows(batch.entries.values()), key=_order)
    counts: Counter[tuple[EventKind, str]] = Counter()
    for row in rows:
        counts[row.kind, row.word] += 1
    counts.update(batch.counted)
    titles = [_counted(kind, word, number) for (kind, word), number in counts.items()]
    whole = rows[0].headline if len(rows) == 1 and not batch.counted else ", ".join(titles)
    named = tuple(rows[:NAMED])
    events = sum(row.events for row in named)
    return Message(
        severity=batch.gravest,
        standing=min((row.standing for row in rows), default=Standing.SAID),
        title=plain(f"{name}: {whole}" if name else whole, TITLE_CHARACTERS),
        rows=named,
        more=len(rows) - len(named) + batch.counted.total(),
        more_events=batch.events - events,
        events=batch.events,
        footer=_footer(batch, name),
    )


def _order(row: Row) -> tuple[int, int, int, list[tuple[int, str]]]:
    kind = ORDER.index(row.kind) if row.kind in ORDER else len(ORDER)
    # 10.1.10.9 comes before 10.1.10.10: of two numbers the one with fewer digits is the lesser.
    parts = [(len(part) if part.isdigit() else 0, part) for part in NUMBERS.split(row.headline)]
    return row.severity, row.standing, kind, parts


def _rows(entries: Iterable[Entry]) -> list[Row]:
    """A row for each thing; the same backend of several services is one, if the same became of it."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        last = entry.last
        alike = (last.backend, entry.standing.name, last.outcome)
        key = alike if last.kind is EventKind.BACKEND and last.subject else (*last.key[:2], f"={last.key[2]}")
        found.setdefault(key, []).append(entry)
    return [_row(group) for group in found.values()]


def _row(group: list[Entry]) -> Row:
    entry = min(group, key=lambda one: one.severity)
    last, standing, events = entry.last, entry.standing, sum(one.events for one in group)
    subject = last.subject
    if len(group) > 1:
        subject = f"backend {last.backend} in {len(group)} services"
    word = FLAPPING if standing is Standing.FLAPPING else last.outcome
    headline = f"{subject} {word}" if subject else last.text
    text = headline
    if standing is Standing.FLAPPING:
        text += f": {last.outcome} again after {events} changes"
    elif subject:
        why = last.reason or last.message
        text += (f" ({events} changes)" if events > len(group) else "") + (f": {why}" if why else "")
    elif events > 1:
        text += f" ({events} times)"
    return Row(entry.severity, standing, last.kind, word, headline, plain(text, LINE_CHARACTERS), events)


def _counted(kind: EventKind, word: str, number: int) -> str:
    one, many = NOUNS.get(kind, (str(kind), str(kind)))
    return f"{number} {one if number == 1 else many}{f' {word}' if word else ''}"


def _footer(batch: Batch, name: str) -> str:
    began, ended = clock(batch.began, "%Y-%m-%d %H:%M:%S"), clock(batch.ended, "%Y-%m-%d %H:%M:%S")
    when = f"{began} UTC" if began == ended else f"{began} to {ended.removeprefix(began[:11])} UTC"
    events = f"{batch.events} event{'s' if batch.events != 1 else ''}"
    return " · ".join(part for part in (name, when if began else "", events) if part)
