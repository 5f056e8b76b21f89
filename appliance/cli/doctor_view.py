"""The text of `vc5 doctor`: sections, in each the worst first. A command is never cut off: long lines are wrapped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from appliance.cli.tables import GAP, Screen, Style, printable, screen, width
from appliance.control.nic import Finding, Severity

HOST, INTERFACES, UNITS, BACKENDS = "HOST", "INTERFACES", "UNITS", "BACKENDS"
FINE = {
    HOST: "nothing speaks against this host",
    INTERFACES: "nothing speaks against XDP",
    UNITS: "nothing speaks against it",
    BACKENDS: "answers as it should",
}
STYLES = {Severity.PROBLEM: Style.BAD, Severity.WARNING: Style.WORRY, Severity.NOTE: Style.FAINT}
LABELS = max(len(severity) for severity in Severity)
LEAST, COMFORTABLE = 40, 64
"""Columns that a text gets at least, however narrow the terminal; and with which names still stand beside it."""
_STEP = re.compile(r"((?:[^;']|'[^']*'|;(?! ))+)(?:; )?")
"""A step of what is to be done: up to a semicolon and a space that are in no quotes."""
Found = Mapping[str, Sequence[Finding]]


def lines(
    sections: Mapping[str, Found], to: Screen | None = None, *, unasked: str = "", every: bool = False
) -> list[str]:
    """Return the whole text; `unasked`: why no daemon was asked, `every`: whether all of its backends were examined."""
    to = to or screen()
    text: list[str] = []
    for title, found in sections.items():
        text += [to.paint(title, Style.HEAD), *_section(title, found, to, every=every), ""]
    if unasked:
        text += [*_wrapped(f"backends were not examined: {unasked}", to.width), ""]
    return [*text, _sum(sections, to)]


def _section(title: str, found: Found, to: Screen, *, every: bool) -> Iterator[str]:
    if not found:
        nothing = {INTERFACES: "no interfaces are configured", UNITS: "systemd does not run here"}
        yield GAP + nothing.get(title, "there are none" if every else "all are up, as far as their checks tell")
        return
    order = list(Severity)
    rows = [(name, one) for name, each in found.items() for one in each]
    rows.sort(key=lambda row: order.index(row[1].severity))
    fine = [name for name, each in found.items() if not each]
    column = max(width(printable(name)) for name in found)
    for name, one in rows:
        yield from _finding(name, one, column, to)
    for name in fine:
        yield f"{GAP}{_left(name, column)}{GAP}{to.paint('fine'.ljust(LABELS), Style.GOOD)}{GAP}{FINE[title]}"


def _finding(name: str, one: Finding, column: int, to: Screen) -> Iterator[str]:
    indent = len(GAP) * 2 + LABELS
    # Names that leave no room for anything else stand on a line of their own.
    alone = to.width is not None and column + len(GAP) + indent + COMFORTABLE > to.width
    if alone:
        yield f"{GAP}{printable(name)}"
    start = GAP * 2 if alone else f"{GAP}{_left(name, column)}{GAP}"
    rest = " " * (width(start) + LABELS + len(GAP))
    room = None if to.width is None else max(LEAST, to.width - len(rest))
    label = to.paint(str(one.severity).ljust(LABELS), STYLES[one.severity])
    for number, line in enumerate(_wrapped(one.what, room)):
        yield f"{start}{label}{GAP}{line}" if number == 0 else f"{rest}{line}"
    for line in _wrapped(one.why, room):
        yield f"{rest}{to.paint(line, Style.FAINT)}"
    for step in steps(one.remedy):
        for number, line in enumerate(_wrapped(step, None if room is None else room - 2)):
            yield f"{rest}{'> ' if number == 0 else '  '}{line}"


def steps(remedy: str) -> list[str]:
    """Return what is to be done, one thing after the other; a shell's quotes stay whole."""
    found = [step.strip() for step in _STEP.findall(remedy)]
    # An odd quote belongs to a word: then nothing is taken apart.
    return found if found and "; ".join(found) == remedy else [remedy]


def _left(name: str, column: int) -> str:
    text = printable(name)
    return text + " " * (column - width(text))


def _wrapped(text: str, room: int | None) -> list[str]:
    safe = printable(text)
    if room is None:
        return [safe]
    return textwrap.wrap(safe, room, break_long_words=False, break_on_hyphens=False) or [""]


def _sum(sections: Mapping[str, Found], to: Screen) -> str:
    found = [one.severity for section in sections.values() for each in section.values() for one in each]
    parts = []
    for severity in Severity:
        count = found.count(severity)
        if count:
            parts.append(to.paint(f"{count} {severity}{'' if count == 1 else 's'}", STYLES[severity]))
    return ", ".join(parts) if parts else to.paint("nothing found", Style.GOOD)
