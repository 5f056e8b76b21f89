"""The events of the spool, one after the other, for those who tell people of them; and how far they have got, on disk.

Unlike the shipper this begins with what happens from now on when it has never run: nobody wants to be told of the past.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.telemetry import cursor, record
from appliance.telemetry.cursor import Cursor
from appliance.telemetry.streams import Stream

POLL = 0.25
"""Seconds between two looks at a spool in which there was nothing new."""
EVENTS = b'{"create":{"_index":"logs-%s-' % str(Stream.EVENT).encode()
CURSORS_BYTES = 1 << 16


class Feed:
    """One reader of the spool at `log`, which keeps its place in `file`."""

    def __init__(self, log: Path, file: Path) -> None:
        self._log, self._file = log, file
        self._ends: deque[Cursor] = deque()
        """Where pieces ended that have been given away, oldest first; the first is where to begin again."""
        self._saved: tuple[Cursor, dict[str, int]] | None = None
        self.trouble = ""

    def begin(self) -> tuple[int, dict[str, int]]:
        """Take the place that was saved; return its sequence number, and how far each outlet was told. Raises OSError.

        What was saved after a power cut may be ahead of the spool: then the whole of its newest segment comes again.
        """
        cursors: dict[str, int] = {}
        if self._file.exists():
            place = cursor.settled(self._log, cursor.load(self._file))
            try:
                cursors = json.loads(self._outlets.read_bytes()[:CURSORS_BYTES])
                if not all(isinstance(one, int) for one in cursors.values()):
                    cursors = {}
            except (OSError, ValueError, AttributeError, RecursionError):
                cursors = {}
        else:
            place = cursor.end(self._log)
        self._ends.append(place)
        return place.sequence, cursors

    @property
    def _outlets(self) -> Path:
        return self._file.with_name("outlets.json")

    async def follow(self, take: Callable[[Mapping[str, Any]], None], skip: Callable[[int], None]) -> None:
        """Give each event to `take`, in their order, for ever; and to `skip` the number up to which that was all."""
        while True:
            try:
                piece = await asyncio.to_thread(cursor.next_piece, self._log, self._ends[-1])
                self.trouble = ""
            except OSError as error:
                self.trouble, piece = f"the log cannot be read: {error.strerror}", None
            if piece is None:
                await asyncio.sleep(POLL)
                continue
            for number, document in enumerate(events(piece.data)):
                take(document)
                if number % 64 == 63:
                    await asyncio.sleep(0)
            skip(piece.end.sequence)
            self._ends.append(piece.end)

    def save(self, told: int, cursors: Mapping[str, int]) -> None:
        """Keep the place up to which everything is told, that of `told`; what cannot be kept is told twice one day."""
        while len(self._ends) > 1 and self._ends[1].sequence <= told:
            self._ends.popleft()
        state = self._ends[0], dict(cursors)
        if state == self._saved:
            return
        try:
            cursor.save(self._file, self._ends[0])
            self._outlets.write_text(json.dumps(state[1]), encoding="ascii")
            self._saved = state
        except OSError:
            return


def events(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the documents of events among the records of a piece."""
    for one in record.records(data):
        if one.startswith(EVENTS):
            document = record.parse(one[one.index(b"\n") + 1 :])
            if document is not None:
                yield document
