"""One record of the spool: two lines, an action and a document (documents.py). Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ACTION = b'{"create":{"_index":"'
"""What the first line of every record begins with, and no document does."""
TIMESTAMP = re.compile(rb'"@timestamp":"([0-9T:.Z-]{10,40})"')


@dataclass(frozen=True)
class Name:
    """A record's id, which no other has, and its number, which grows from one record of a spool to the next."""

    id: str
    sequence: int


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the document of one line, None for what is no complete document of ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        document = json.loads(line)
        if type(document["event"]["sequence"]) is not int or document["event"]["sequence"] < 1:
            return None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    found: dict[str, Any] = document
    return found


def name_of(line: bytes) -> Name | None:
    """Return what a document's line calls its record; None for what is no complete document of ours."""
    document = parse(line)
    if document is None or type(document["event"].get("id")) is not str:
        return None
    return Name(document["event"]["id"], document["event"]["sequence"])


def records(data: bytes) -> list[bytes]:
    """Return the records of a piece of the spool, whole or not; what is neither action nor document stands alone."""
    found: list[bytes] = []
    waiting = b""
    for line in data.splitlines(keepends=True):
        if line.startswith(ACTION):
            if waiting:
                found.append(waiting)
            waiting = line
        else:
            found.append(waiting + line)
            waiting = b""
    return [*found, waiting] if waiting else found


def written_at(data: bytes) -> float:
    """Return when the first document of `data` says that it happened, wall-clock seconds; 0 where it says nothing."""
    found = TIMESTAMP.search(data)
    try:
        return datetime.fromisoformat(found[1].decode("ascii")).timestamp() if found else 0.0
    except ValueError:
        return 0.0


def sound(record: bytes) -> str:
    """Return what is wrong with a record; empty when it can be sent."""
    lines = record.splitlines(keepends=True)
    if len(lines) != 2 or not lines[0].startswith(ACTION):
        return "damaged on disk: no action before it"
    try:
        action = json.loads(lines[0])
    except (ValueError, RecursionError):
        return "damaged on disk: the action is not JSON"
    if not isinstance(action.get("create"), dict) or parse(lines[1]) is None:
        return "damaged on disk: no complete document"
    return ""
