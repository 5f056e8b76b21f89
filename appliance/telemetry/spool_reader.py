"""Readers of the log store. They need no daemon, take no lock, and step over what is no complete line."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.telemetry import documents, record, segments
from appliance.telemetry.log_filter import LogFilter

EVERYTHING = LogFilter()
CLOCK_STEP = 60.0
"""Seconds by which the clock may have been set back without hiding a segment from a search for what came since."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, order=True)
class Position:
    """A place in the store: behind `offset` bytes of segment `number`."""

    number: int
    offset: int


BEGINNING = Position(0, 0)


def end(directory: Path) -> Position:
    """Return the place behind everything that is there now; raises OSError."""
    for number in reversed(segments.listing(directory)):
        try:
            return Position(number, segments.segment(directory, number).stat().st_size)
        except FileNotFoundError:
            if segments.forms(directory, number):
                return Position(number + 1, 0)
    return BEGINNING


def read(directory: Path, wanted: LogFilter = EVERYTHING, until: Position | None = None) -> Iterator[dict[str, Any]]:
    """Yield the events that pass `wanted`, oldest first, up to the place `until`; raises OSError."""
    for number in segments.listing(directory):
        yield from _segment(directory, number, wanted, until)


def tail(
    directory: Path, count: int, wanted: LogFilter = EVERYTHING, until: Position | None = None
) -> list[dict[str, Any]]:
    """Return the newest `count` events that pass, oldest first; reads back no further than it has to."""
    found: list[dict[str, Any]] = []
    for number in reversed(segments.listing(directory)):
        if len(found) >= count:
            break
        found[:0] = _segment(directory, number, wanted, until)
    return found[max(0, len(found) - count) :]


def follow(
    directory: Path,
    start: Position,
    wanted: LogFilter = EVERYTHING,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Yield the events written behind `start` as they come, across rotations, for ever; raises OSError.

    `sleep` is called with seconds whenever there is nothing new.
    """
    place = start
    while True:
        numbers = [number for number in segments.listing(directory) if number >= place.number]
        for number in numbers:
            offset = place.offset if number == place.number else 0
            for line, behind in _lines(directory, number, offset):
                offset = behind
                event = _wanted(line, wanted)
                if event is not None:
                    yield event
            place = Position(number, offset)
        sleep(POLL_SECONDS)


def _segment(directory: Path, number: int, wanted: LogFilter, until: Position | None) -> Iterator[dict[str, Any]]:
    if until is not None and number > until.number:
        return
    if wanted.since is not None and _older(directory, number, wanted.since - CLOCK_STEP):
        return
    for line, behind in _lines(directory, number, 0):
        if until is not None and Position(number, behind) > until:
            return
        event = _wanted(line, wanted)
        if event is not None:
            yield event


def _wanted(line: bytes, wanted: LogFilter) -> dict[str, Any] | None:
    if line.startswith(record.ACTION) or not all(needle in line for needle in wanted.needles()):
        return None
    document = record.parse(line)
    if document is None:
        return None
    try:
        event = documents.read(document)
    except ValueError:
        return None
    return event if wanted.passes(event) else None


def _older(directory: Path, number: int, moment: float) -> bool:
    """Whether a segment was last written to before a moment, in wall-clock seconds; or is not there any more."""
    for path in (segments.segment(directory, number), segments.compressed(directory, number)):
        try:
            return path.stat().st_mtime < moment
        except FileNotFoundError:
            continue
    return True


def _lines(directory: Path, number: int, offset: int) -> Iterator[tuple[bytes, int]]:
    """Yield the complete lines of a segment from `offset`, and the place behind each; a missing one has none."""
    try:
        with segments.opened(directory, number) as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield line, offset
    except (FileNotFoundError, EOFError, zlib.error, gzip.BadGzipFile):
        return
