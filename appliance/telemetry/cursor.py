"""How far a consumer of the spool has got, on disk; and what it has not had yet, a piece at a time.

A consumer (shipper.py, the alerts) reads at its own pace, and may be killed at any moment: what it had done is where
its cursor was last saved, so it does something twice at most, and never leaves anything out. What the spool removed
before it was read is counted, by the gap in the sequence numbers.

After a power cut the end of the spool may be gone, although it had been read, and other records stand there. So a
cursor names the record that it is behind, and counts only where that record is (`settled`).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.telemetry import record, segments

PIECE_BYTES = 1 << 20
"""How much is read at once: about a thousand documents, some 80 KB on the wire."""
LAST_BYTES = 1 << 17
"""No record is longer."""


@dataclass(frozen=True)
class Cursor:
    """A place in the spool: behind `offset` bytes of segment `number`, and behind the record `id` with `sequence`."""

    number: int = 0
    offset: int = 0
    sequence: int = 0
    id: str = ""


@dataclass(frozen=True)
class Piece:
    """Some records, and where they end. `lost` records before them had been removed unread."""

    data: bytes
    end: Cursor
    lost: int = 0


def load(path: Path) -> Cursor:
    """Return the saved cursor; the beginning where there is none or it makes no sense."""
    try:
        fields = json.loads(path.read_bytes())
        cursor = Cursor(**fields)
    except (OSError, ValueError, TypeError, RecursionError):
        return Cursor()
    numbers = (cursor.number, cursor.offset, cursor.sequence)
    if not all(type(number) is int and number >= 0 for number in numbers) or type(cursor.id) is not str:
        return Cursor()
    return cursor


def save(path: Path, cursor: Cursor) -> None:
    """Put a cursor where `load` finds it, whole or not at all, also after a power cut; raises OSError."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(json.dumps(asdict(cursor)).encode())
        file.flush()
        os.fdatasync(file.fileno())
    new.replace(path)


def settled(directory: Path, cursor: Cursor) -> Cursor:
    """Return the cursor if its record is where it says, else the beginning of its segment; raises OSError.

    What is read twice is told apart by its id; what is left out would be lost.
    """
    try:
        with segments.opened(directory, cursor.number) as file:
            start = max(0, cursor.offset - LAST_BYTES)
            data = segments.read(file, cursor.offset - start, start)
    except FileNotFoundError:
        return cursor
    size, last = _complete(data)
    if start + size == cursor.offset and last is not None and last.id == cursor.id:
        return cursor
    return Cursor(cursor.number)


def end(directory: Path) -> Cursor:
    """Return the place behind all complete records that are there now; raises OSError."""
    for number in reversed(segments.listing(directory)):
        try:
            with segments.opened(directory, number) as file:
                data = segments.read(file, -1, 0)
        except FileNotFoundError:
            continue
        offset, last = _complete(data)
        return Cursor(number, offset, last.sequence, last.id) if last else Cursor(number)
    return Cursor()


def next_piece(directory: Path, cursor: Cursor, most: int = PIECE_BYTES) -> Piece | None:
    """Return complete records behind the cursor, at most `most` bytes but at least one record; None: nothing new.

    Raises OSError.
    """
    numbers = segments.listing(directory)
    gone = bool(cursor.sequence) and cursor.number not in numbers
    for number in [number for number in numbers if number >= cursor.number]:
        offset = cursor.offset if number == cursor.number else 0
        try:
            with segments.opened(directory, number) as file:
                data = _read(file, offset, most)
        except FileNotFoundError:
            continue
        except OSError:
            if number == numbers[-1]:
                raise
            gone = True  # the file is damaged; what it held will never be read
            continue
        size, last = _complete(data)
        if last is not None:
            lost = max(0, _first(data[:size]) - cursor.sequence - 1) if gone else 0
            return Piece(data[:size], Cursor(number, offset + size, last.sequence, last.id), lost)
    return None


def _read(file: BinaryIO, offset: int, most: int) -> bytes:
    """Read `most` bytes, or as many more as one record needs."""
    data = segments.read(file, most, offset)
    while len(data) >= most and data.count(b"\n") < 2:
        more = segments.read(file, most, offset + len(data))
        if not more:
            break
        data += more
    return data


def _first(data: bytes) -> int:
    """Return the sequence number of the first document, 0 for none."""
    for line in data.splitlines(keepends=True):
        if not line.startswith(record.ACTION) and (name := record.name_of(line)):
            return name.sequence
    return 0


def _complete(data: bytes) -> tuple[int, record.Name | None]:
    """Return the size of the complete records at the beginning of `data`, and the name of the last one."""
    stop = data.rfind(b"\n") + 1
    while stop:
        start = data.rfind(b"\n", 0, stop - 1) + 1
        if not data.startswith(record.ACTION, start) and (name := record.name_of(data[start:stop])):
            return stop, name
        stop = start
    return 0, None
