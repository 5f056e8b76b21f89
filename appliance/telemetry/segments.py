"""The files of the spool: `000001.ndjson`, `000002.ndjson` ...; records of two lines (documents.py), oldest first.

A record is complete when both of its lines end with a newline, and the second parses and has a sequence number. What a
crash leaves behind the last complete record (half a line, or the zeros of a file system that had recorded the size but
not yet the data) is cut off when the store is opened for writing, and stepped over by readers until then.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from appliance.telemetry.record import ACTION, name_of

NAME = re.compile(r"([0-9]{6,})\.ndjson")


def segment(directory: Path, number: int) -> Path:
    """Return the path of one segment; numbers count from 1 and may outgrow six digits."""
    return directory / f"{number:06}.ndjson"


def listing(directory: Path) -> list[int]:
    """Return the numbers of the segments in `directory`, ascending; none where it does not exist. Raises OSError."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))


def repair(path: Path) -> tuple[int, int]:
    """Cut what follows the last complete record; return its sequence number (0 for none) and how many bytes were cut.

    Raises OSError.
    """
    with path.open("r+b") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        last = 0
        while end and not last:
            start = data.rfind(b"\n", 0, end - 1) + 1
            action = data.rfind(b"\n", 0, start - 1) + 1 if start else 0
            if data.startswith(ACTION, action, start):
                name = name_of(data[start:end])
                last = name.sequence if name else 0
            if not last:
                end = start
        if end < len(data):
            file.truncate(end)
    return last, len(data) - end
