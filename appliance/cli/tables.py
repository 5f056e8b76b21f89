"""Text for people: aligned columns, colour where it is wanted, short numbers, nothing that a terminal obeys."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TextIO

ELLIPSIS = "…"
GAP = "  "
SGR = re.compile(r"\x1b\[[0-9;]*m")
"""What paints text (ECMA-48, 8.3.117)."""
SGR_OR_CHARACTER = re.compile(rf"{SGR.pattern}|.", re.DOTALL)


class Style(Enum):
    """What a piece of text means; the value is its SGR code (ECMA-48, 8.3.117)."""

    PLAIN = ""
    GOOD = "32"
    BAD = "1;31"
    WORRY = "33"
    FAINT = "2"
    HEAD = "1"


@dataclass(frozen=True)
class Cell:
    """A text of a table with its meaning."""

    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True)
class Column:
    """A column: its title, on which side its cells stand, and what becomes of it on a narrow terminal.

    Where a table does not fit, columns with `least` are cut down to that width, and if that is not enough columns with
    `drop` are left out, the highest first. Columns with neither are always shown whole: an address cut in half is none.
    """

    title: str
    right: bool = False
    least: int = 0
    drop: int = 0


@dataclass(frozen=True)
class Screen:
    """Where the text goes: its width in columns (None where lines may have any length), and whether in colour."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, style: Style) -> str:
        """Return `text` with its style, as far as this screen shows any."""
        return f"\x1b[{style.value}m{text}\x1b[0m" if self.colour and style.value and text else text


def screen(stream: TextIO | None = None) -> Screen:
    """Return what is known of a stream: files and pipes have no width and no colour; NO_COLOR is obeyed."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return Screen()
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(_columns(stream), colour)


def _columns(stream: TextIO) -> int:
    """Return the terminal's width; COLUMNS overrides it. (shutil knows this too, and costs a fifth of the start.)"""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 and int(wanted):
        return int(wanted)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def printable(text: str) -> str:
    """Return `text` with everything that a terminal would obey written as an escape.

    Control characters, and those of Unicode that reorder or hide text (categories Cc, Cf, Cs, Zl, Zp): backends and
    their answers are not trusted to write on an operator's terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def width(text: str) -> int:
    """Return how many columns a printable text fills: wide and full-width characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def cut(text: str, columns: int) -> str:
    """Return `text` in at most `columns` columns, with an ellipsis where something is missing."""
    if width(text) <= columns:
        return text
    if columns < 1:
        return ""
    kept, room = "", columns - 1
    for character in text:
        room -= width(character)
        if room < 0:
            break
        kept += character
    return kept + ELLIPSIS


def fold(line: str, to: Screen, more: str = "  ") -> list[str]:
    """Return a line that was made for this screen in as many lines as it needs; `more` is before all but the first.

    It is broken at blanks, and inside a word only where that alone is too long; what paints it is left as it is.
    """
    room = to.width
    lines = []
    while room is not None and room > width(more) + 8 and width(SGR.sub("", line)) > room:
        at = _break(line, room, room - width(more))
        lines.append(line[:at].rstrip(" "))
        line = more + line[at:].lstrip(" ")
    return [*lines, line]


def _break(line: str, room: int, later: int) -> int:
    """Return where to break a line that is too long for `room` columns: after a blank, or else where the room ends.

    So is a word broken that would be too long for the `later` columns of the next line as well.
    """
    used = at = blank = 0
    words = width(line) - width(line.lstrip(" "))  # a break in the indent would be none
    for match in SGR_OR_CHARACTER.finditer(line):
        wide = 0 if match[0].startswith("\x1b") else width(match[0])
        if used + wide > room:
            break
        used, at = used + wide, match.end()
        if match[0] == " " and used > words:
            blank = at
    # A blank that follows the room counts as well.
    if not blank or line[at : at + 1] == " ":
        return at
    return at if width(SGR.sub("", line[blank:].partition(" ")[0])) > later else blank


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]], to: Screen, indent: str = "") -> list[str]:
    """Return the lines of a table, its titles first; cells are made printable. A column that is empty is left out."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    used = [index for index in range(len(columns)) if any(row[index].text for row in cells)]
    natural = {
        index: max(width(text) for text in (columns[index].title, *(row[index].text for row in cells)))
        for index in used
    }
    widths = _fitted(columns, natural, None if to.width is None else to.width - len(indent))
    shown = [columns[index] for index in widths]
    lines = [[Cell(column.title, Style.HEAD) for column in shown], *([row[index] for index in widths] for row in cells)]
    return [_line(shown, list(widths.values()), row, to, indent) for row in lines] if cells else []


def _cell(cell: Cell | str) -> Cell:
    return Cell(printable(cell)) if isinstance(cell, str) else Cell(printable(cell.text), cell.style)


def _fitted(columns: Sequence[Column], natural: dict[int, int], room: int | None) -> dict[int, int]:
    """Return the columns to show, by index, with their widths."""
    if room is None:
        return natural
    gaps = len(GAP)
    least = {i: min(wide, columns[i].least or wide) for i, wide in natural.items()}
    for index in sorted(natural, key=lambda i: -columns[i].drop):
        if sum(least.values()) + gaps * (len(least) - 1) <= room or not columns[index].drop:
            break
        del least[index]
    spare = room - sum(least.values()) - gaps * (len(least) - 1)
    for index, narrow in least.items():
        more = max(0, min(spare, natural[index] - narrow))
        least[index] += more
        spare -= more
    return least


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell], to: Screen, indent: str) -> str:
    parts = []
    for column, columns_wide, cell in zip(columns, widths, row, strict=True):
        text = cut(cell.text, columns_wide)
        space = " " * (columns_wide - width(text))
        painted = to.paint(text, cell.style)
        parts.append(space + painted if column.right else painted + space)
    return indent + GAP.join(parts).rstrip()


def count(number: object) -> str:
    """Return a count in at most six characters: 999, 12.3k, 4.57M; nothing for what is no number."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return ""
    return _scaled(float(number), 1000.0, ("", "k", "M", "G", "T", "P", "E"))


def octets(number: object) -> str:
    """Return a number of bytes in binary units: 999B, 12.3K, 4.57M (K is 1024); nothing for what is no number."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return ""
    return _scaled(float(number), 1024.0, ("B", "K", "M", "G", "T", "P", "E"))


def _scaled(value: float, step: float, units: Sequence[str]) -> str:
    unit = 0
    # From 999.5 on it would be written as 1000.
    while abs(value) >= 999.5 and unit + 1 < len(units):
        value /= step
        unit += 1
    if unit == 0:
        return f"{value:.0f}{units[0]}"
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}{units[unit]}"


def moment(at: object) -> str:
    """Return a wall-clock time, seconds since the epoch, as local time to the minute; nothing for what is none."""
    if isinstance(at, bool) or not isinstance(at, (int, float)) or at <= 0:
        return ""
    try:
        return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""


def duration(seconds: object) -> str:
    """Return a time span with its two largest units: 42s, 3m12s, 5h07m, 12d03h; nothing for what is no number."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
