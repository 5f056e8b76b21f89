"""What keys do in `vc5 top`: from bytes to keys, and from a view and a key to the next view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from appliance.cli.top_rates import Line, Reading

UP, DOWN, ENTER, ESCAPE, BACKSPACE = "up", "down", "enter", "escape", "backspace"
PAGE_UP, PAGE_DOWN, HOME, END, LEFT, RIGHT = "page up", "page down", "home", "end", "left", "right"
SEQUENCES = {
    "A": UP,
    "B": DOWN,
    "C": RIGHT,
    "D": LEFT,
    "H": HOME,
    "F": END,
    "1~": HOME,
    "4~": END,
    "5~": PAGE_UP,
    "6~": PAGE_DOWN,
    "7~": HOME,
    "8~": END,
}
"""What terminals send for keys, behind CSI or SS3 (ECMA-48; xterm's control sequences)."""
KEY = re.compile(r"\x1b[\[O]([0-9;]*)([@-~])|.", re.DOTALL)
CONTROL = {
    "\r": ENTER,
    "\n": ENTER,
    "\x7f": BACKSPACE,
    "\x08": BACKSPACE,
    "\x1b": ESCAPE,
    "\x0c": "redraw",
    "\x04": "q",
}
FILTER_LONGEST = 60
HELP = (
    ("q", "quit"),
    ("up, down, k, j", "move; page up, page down, home, end"),
    ("enter", "the backends of the service; again, or escape: back"),
    ("b", "all backends, of all services; again: the services"),
    ("s", "sort by packets, bits, new flows, active flows, name"),
    ("/", "show only what has this in its address or name; escape ends it"),
    ("space", "stand still, and go on"),
    ("?", "this; any key ends it"),
)


class Sort(Enum):
    """By what lines are sorted; the value is what the footer says."""

    PACKETS = "packets/s"
    BITS = "bit/s"
    FLOWS = "new flows/s"
    ACTIVE = "active flows"
    NAME = "name"


@dataclass(frozen=True)
class View:
    """What somebody wants to see."""

    sort: Sort = Sort.PACKETS
    opened: str = ""
    """The service whose backends are shown."""
    flat: bool = False
    """All backends."""
    selected: tuple[str, str] | None = None
    wanted: str = ""
    """What lines are to contain."""
    typing: bool = False
    help: bool = False
    paused: bool = False
    over: bool = False


def keys(data: bytes) -> list[str]:
    """Return the keys that were pressed: a name of those above, or the character. What is no key is left out."""
    found = []
    for match in KEY.finditer(data.decode("utf-8", "ignore")):
        if match[2]:
            name = SEQUENCES.get((match[1] if match[2] == "~" else "") + match[2], "")
            found += [name] if name else []
        elif match[0] in CONTROL:
            found.append(CONTROL[match[0]])
        elif match[0].isprintable():
            found.append(match[0])
    return found


def listed(found: Reading, view: View) -> list[Line]:
    """Return the lines that a view shows, in their order."""
    if view.opened:
        lines = list(found.backends.get(view.opened, ()))
    elif view.flat:
        lines = [line for lines in found.backends.values() for line in lines]
    else:
        lines = list(found.services)
    if view.wanted:
        names = {line.service: line.name for line in found.services}
        wanted = view.wanted.lower()
        lines = [line for line in lines if wanted in f"{line.service} {line.backend} {names[line.service]}".lower()]
    if view.sort is Sort.NAME:
        return lines  # as the daemon sorts them: by address
    return sorted(lines, key=lambda line: -(measure(line, view.sort) or 0.0))


def measure(line: Line, sort: Sort) -> float | None:
    """Return the number by which a line is sorted, and that its bar shows."""
    if sort is Sort.BITS:
        return line.bits
    if sort is Sort.FLOWS:
        return line.flows
    if sort is Sort.ACTIVE:
        return line.active
    return line.packets


def place(lines: Sequence[Line], view: View) -> int:
    """Return where the selected line is; the first one where it is gone."""
    return next((number for number, line in enumerate(lines) if line.key == view.selected), 0)


def pressed(view: View, key: str, lines: Sequence[Line], page: int) -> View:
    """Return the view after a key; `lines` as listed(), `page` is how many of them a screen shows."""
    if view.help:
        return replace(view, help=False, over=key == "q")
    if view.typing:
        return _typed(view, key)
    moves = {UP: -1, "k": -1, DOWN: 1, "j": 1, PAGE_UP: -page, PAGE_DOWN: page, HOME: -len(lines), END: len(lines)}
    if key in moves:
        if not lines:
            return view
        at = min(max(place(lines, view) + moves[key], 0), len(lines) - 1)
        return replace(view, selected=lines[at].key)
    if key == "s":
        sorts = list(Sort)
        return replace(view, sort=sorts[(sorts.index(view.sort) + 1) % len(sorts)])
    if key == "b":
        return replace(view, flat=not view.flat, opened="", selected=None)
    if key in (ENTER, RIGHT) and not view.opened and lines:
        return replace(view, opened=lines[place(lines, view)].service, selected=None, wanted="")
    if key in (ENTER, ESCAPE, LEFT, BACKSPACE):
        if view.opened:
            return replace(view, opened="", selected=(view.opened, ""), flat=False)
        return replace(view, wanted="") if key == ESCAPE else view
    if key == " ":
        return replace(view, paused=not view.paused)
    return replace(view, over=key == "q", help=key == "?", typing=key == "/")


def _typed(view: View, key: str) -> View:
    """While a filter is typed."""
    if key == ENTER:
        return replace(view, typing=False)
    if key == ESCAPE:
        return replace(view, typing=False, wanted="")
    if key == BACKSPACE:
        return replace(view, wanted=view.wanted[:-1])
    if len(key) == 1 and len(view.wanted) < FILTER_LONGEST:
        return replace(view, wanted=view.wanted + key)
    return view
