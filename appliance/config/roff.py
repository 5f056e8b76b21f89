"""Text to the language of manual pages (groff_man(7)). Pure.

What is between backticks is set in bold, as it is to be typed. Output is ASCII in lines of at most 78 characters, so
that `mandoc -T lint` has nothing to say about it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

_MARKS = {"\\": r"\e", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
_CODE = re.compile(r"`([^`]+)`")
_WIDTH = 78


def escaped(text: str, *, typed: bool = False) -> str:
    """Return a text as roff prints it; where it is to be `typed`, a hyphen is a minus sign and can be copied."""
    marks = {**_MARKS, "-": r"\-"} if typed else _MARKS
    return "".join(marks.get(one) or (one if one.isascii() else f"\\[u{ord(one):04X}]") for one in text)


def prose(text: str) -> list[str]:
    """Return the lines of a paragraph; what is between backticks is bold."""
    lines = textwrap.wrap(_bold(" ".join(text.split())), _WIDTH, break_long_words=False, break_on_hyphens=False)
    # A line that begins with a dot or an apostrophe would be a request; apostrophes are escaped already.
    return [rf"\&{line}" if line.startswith(".") else line for line in lines]


def _bold(text: str) -> str:
    parts = _CODE.split(text)
    return "".join(
        rf"\fB{escaped(part, typed=True)}\fR" if index % 2 else escaped(part) for index, part in enumerate(parts)
    )


def heading(page: str, section: int, date: str, source: str, title: str) -> list[str]:
    """Return how a page begins; `date` as 2025-06-01."""
    return [f'.TH {page.upper()} {section} {date} "{source}" "{title}"', ".nh", ".ad l"]


def part(title: str) -> list[str]:
    """Return the heading of a section."""
    return [f'.SH "{escaped(title)}"' if " " in title else f".SH {escaped(title)}"]


def item(term: str, *paragraphs: str) -> list[str]:
    """Return a term, which must fit in one line, with what there is to say of it, each text on lines of its own."""
    lines = prose(term)
    if len(lines) != 1:
        raise ValueError(f"{term!r} is too long for a term")
    found = [".TP", *lines]
    for number, text in enumerate(paragraphs):
        found += [*([".br"] if number else []), *prose(text)]
    return found


def verbatim(lines: Iterable[str]) -> list[str]:
    """Return lines that stand as they are. Where one is longer than those of a page may be, the next one goes on."""
    shown = [part for line in lines for part in _continued(escaped(line, typed=True))]
    return [".PP", ".nf", ".RS", *(rf"\&{line}" if line.startswith(".") else line for line in shown), ".RE", ".fi"]


def _continued(line: str) -> list[str]:
    """Return a line in parts, all but the last one ending in a backslash, which joins it to the next (groff(7))."""
    parts = []
    while len(line) > _WIDTH and (at := line.rfind(" ", 0, _WIDTH - 1)) > 0:
        parts.append(line[: at + 1] + "\\")
        line = line[at + 1 :]
    return [*parts, line]


def paragraph(text: str) -> list[str]:
    """Return a paragraph."""
    return [".PP", *prose(text)]


def page(lines: Iterable[str]) -> str:
    """Return the whole text. A paragraph right after a heading needs no request, and mandoc says so."""
    found: list[str] = []
    for line in lines:
        if line == ".PP" and found and found[-1].startswith(".SH"):
            continue
        found.append(line)
    return "\n".join(found) + "\n"
