"""What a program leaves to the one that takes its place: open descriptors by name, each with its owner's state. Pure.

The form lasts: a newer program reads what an older one wrote, and the other way round. So it is a list of entries with
a name, the number of a descriptor (none for state alone), and whatever the owner of the name wants to tell, in JSON's
terms and with a version of its own where that may change. Keys that nobody knows are passed over; a name that nobody
asks for is closed, with a note (handover.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Of a bequest. systemd takes such names for descriptors, too (sd_pid_notify_with_fds(3), FDNAME=)."""


@dataclass(frozen=True)
class Bequest:
    """Something that is left: `descriptor` is a number of the process, None where there is only state."""

    name: str
    descriptor: int | None = None
    state: Any = None
    kept: bool = False
    """Whether the service manager is to hold the descriptor too, until the new program works."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a bequest: a-z 0-9 . _ - only, at most 64 of them")


@dataclass(frozen=True)
class Heritage:
    """All that is left, and by which version of the program."""

    program: str
    bequests: tuple[Bequest, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was not understood in reading it."""


def encode(heritage: Heritage) -> bytes:
    """Return the form in which it is handed over."""
    entries = [{"name": one.name, "fd": one.descriptor, "state": one.state} for one in heritage.bequests]
    return json.dumps({"version": VERSION, "program": heritage.program, "entries": entries}).encode("ascii")


def decode(text: bytes) -> Heritage:
    """Read what `encode` of any version wrote; what makes no sense is left out, with a note. Raises nothing."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Heritage("", notes=(f"what the former program left cannot be read ({error})",))
    if not isinstance(content, dict) or not isinstance(content.get("entries"), list):
        return Heritage("", notes=("what the former program left is no list of entries",))
    program = content.get("program")
    notes: list[str] = []
    found: dict[str, Bequest] = {}
    for entry in content["entries"]:
        one = _bequest(entry)
        if one is None or one.name in found:
            notes.append(f"an entry of what the former program left makes no sense: {str(entry)[:80]}")
        else:
            found[one.name] = one
    return Heritage(program[:64] if isinstance(program, str) else "", tuple(found.values()), tuple(notes))


def _bequest(entry: object) -> Bequest | None:
    if not isinstance(entry, dict):
        return None
    name, number = entry.get("name"), entry.get("fd")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return None
    if number is not None and (type(number) is not int or not 2 < number < 1 << 31):
        return None
    return Bequest(name, number, entry.get("state"))
