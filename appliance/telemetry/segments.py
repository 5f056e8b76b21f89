"""The files of the log store: `000001.ndjson`, `000002.ndjson` ...; one JSON object a line, oldest first.

A line is complete when it ends with a newline, parses, and has a `sequence`. What a crash leaves behind the last
complete line (half a line, or the zeros of a file system that had recorded the size but not yet the data) is cut off
when the store is opened for writing, and stepped over by readers until then.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

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


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the event of one line, None for what is no complete line of ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or type(event.get("sequence")) is not int:
        return None
    return event


def repair(path: Path) -> tuple[int, int]:
    """Cut what follows the last complete line; return its sequence number (0 for none) and how many bytes were cut.

    Raises OSError.
    """
    with path.open("r+b") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        last = None
        while end and last is None:
            start = data.rfind(b"\n", 0, end - 1) + 1
            last = parse(data[start:end])
            if last is None:
                end = start
        if end < len(data):
            file.truncate(end)
    return (last["sequence"] if last else 0), len(data) - end
