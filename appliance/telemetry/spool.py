"""The spool: what happened on this balancer, kept on its own disk in a bounded number of readable files.

It is the log of the balancer, which `vc5 log` reads, and what goes from here to Elasticsearch: a segment is a row of
records (documents.py), ready to be sent.

The daemon appends events as they happen, which costs a JSON encoding and no system call, and calls `flush` once a
second. What a `kill -9` may lose is therefore what came since the last flush; what a power cut may lose, since the
last flush with `sync`.

Nothing here stops the balancer. Where the disk is full or broken, events wait in memory up to a bound, then the
oldest are dropped. Losses are counted, and when writing works again one alarm in the log stands in place of what
was lost, with the sequence number of the last event lost.

`append` and `flush` may run in different threads: a flush waits for the disk, and the event loop must not.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import HostError
from appliance.model import Event, EventKind, ProbeResult, Severity
from appliance.telemetry import segments
from appliance.telemetry.documents import Documents, Observer

SEGMENT_BYTES = 8 * 1024 * 1024
TOTAL_BYTES = 256 * 1024 * 1024
PENDING_BYTES = 32 * 1024 * 1024
"""What may wait in memory while the disk takes nothing: about 32,000 probe results."""
ENOUGH_BYTES = 1024 * 1024
"""What is worth a flush before its time."""
KEEP = 30 * 86400.0
SETTLED = 10.0
"""Seconds after which a segment that is not written to any more is compressed: who follows has read it by then."""
PACKING = 0.25
"""Seconds of each second after which no further segment is compressed: what is appended meanwhile waits."""
CHECKED = 60.0
"""Seconds between two looks for what is too old."""
SURE = 3600.0
"""Seconds after a start, or after the clock was set, before anything is believed to be too old."""
STEP = 60.0
"""Seconds by which a clock is set, rather than steered."""
PIECE = 86400.0
"""Seconds after which a segment is ended although it is small, so that what is too old can be removed."""

OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC


@dataclass(frozen=True)
class SpoolCounts:
    """What the spool did since it was opened. All but `written` is loss or trouble, and worth a metric."""

    written: int = 0
    """Events on disk."""
    dropped: int = 0
    """Events lost because the disk took nothing for too long."""
    expired_segments: int = 0
    expired_events: int = 0
    """Removed, oldest first, to stay below the total."""
    repaired_bytes: int = 0
    """Cut off behind the last complete line when the store was opened."""
    failures: int = 0
    """Flushes that did not bring everything to the disk."""


@dataclass(frozen=True)
class _Pending:
    """A line that waits for the disk. An alarm stands for the events lost up to its sequence number."""

    sequence: int
    at: float
    line: bytes
    lost: int = 0


class Spool:
    """The writer of one log directory; the lock of the instance makes sure that there is no second one."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        total_bytes: int = TOTAL_BYTES,
        pending_bytes: int = PENDING_BYTES,
        observer: Observer | None = None,
    ) -> None:
        """Open the store, making `directory` if needed, and repair what a crash left; raises HostError."""
        self._documents = Documents(secrets.token_hex(6), observer)
        self._keep = KEEP
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._total_bytes = total_bytes
        self._pending_bytes = pending_bytes
        self._counts = SpoolCounts()
        self._trouble = ""
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: deque[_Pending] = deque()
        self._waiting = 0
        self._lost = 0
        self._last_lost: _Pending | None = None
        self._file: int | None = None
        self._unsynced = False
        self._number = 0
        self._ends = time.monotonic() + PIECE
        self._tidied = self._checked = 0.0
        self._offset = 0.0
        self._sure = 0.0
        self._closed = self._size = 0
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._sequence = self._repair()
        except OSError as error:
            raise HostError(
                f"{directory}: cannot open the log store: {error.strerror}; "
                "the directory must be writable for the user that runs vc5"
            ) from error

    @property
    def counts(self) -> SpoolCounts:
        return self._counts

    @property
    def size(self) -> int:
        """Bytes on disk, as of the last flush but a second."""
        return self._size

    @property
    def trouble(self) -> str:
        """Why the last flush did not bring everything to the disk; empty when all is well."""
        return self._trouble

    def bound(self, *, space: int, keep: float) -> None:
        """Keep at most `space` bytes, and nothing for longer than `keep` seconds; from the next flush on."""
        self._total_bytes, self._keep = space, keep

    def append(self, event: Event) -> int:
        """Take an event; return its sequence number, which grows by one from event to event and over restarts."""
        with self._lock:
            self._sequence += 1
            return self._append(event.at, self._documents.event(event, self._sequence))

    def append_probe(self, result: ProbeResult) -> int:
        """Take a probe; return its sequence number."""
        with self._lock:
            self._sequence += 1
            return self._append(result.at, self._documents.probe(result, self._sequence))

    @property
    def enough(self) -> bool:
        """Whether so much waits that it should be flushed now."""
        return self._waiting >= ENOUGH_BYTES

    def describe(self, observer: Observer, namespace: str) -> None:
        """Say who writes, and in which namespace documents belong, from now on."""
        with self._lock:
            self._documents = Documents(self._documents.run, observer, namespace)

    def _append(self, at: float, line: bytes) -> int:
        self._pending.append(_Pending(self._sequence, at, line))
        self._waiting += len(line)
        if self._waiting > self._pending_bytes:
            self._bound()
        return self._sequence

    def flush(self, sync: bool = True) -> bool:
        """Write what was appended, with `sync` down to the medium; return whether all of it is there. Never raises."""
        with self._flushing:
            batch = self._take()
            try:
                while batch:
                    batch = batch[self._write_some(batch) :]
                if sync and self._file is not None and self._unsynced:
                    os.fdatasync(self._file)
                    self._unsynced = False
                self._tidy()
            except _Stopped as stopped:
                # The next flush opens the segment again, and cuts off the half line that a full disk may have left.
                self._leave()
                self._put_back(stopped.error, batch[stopped.written :])
                return False
            except OSError as error:
                self._put_back(error, batch)
                return False
            self._trouble = ""
            return True

    def close(self) -> None:
        """Flush and close; a later append is kept in memory and opens the store again at the next flush."""
        self.flush()
        with self._flushing:
            self._leave()

    def _count(self, **changes: int) -> None:
        values = {name: getattr(self._counts, name) + more for name, more in changes.items()}
        self._counts = dataclasses.replace(self._counts, **values)

    def _repair(self) -> int:
        """Return the sequence number of the newest event of the store, 0 for an empty one."""
        numbers = segments.listing(self._directory)
        self._number = numbers[-1] if numbers else 0
        for number in reversed(numbers):
            sequence, cut = segments.repair(segments.segment(self._directory, number))
            self._count(repaired_bytes=cut)
            if sequence:
                return sequence
        return 0

    def _take(self) -> list[_Pending]:
        with self._lock:
            batch = list(self._pending)
            self._pending.clear()
            self._waiting = 0
            if self._last_lost is not None:
                sequence, at = self._last_lost.sequence, self._last_lost.at
                message = f"{self._lost} events lost: the log could not be written ({self._trouble or 'too many'})"
                alarm = Event(
                    at, EventKind.ALARM, message, outcome="lost", severity=Severity.ERROR, details={"lost": self._lost}
                )
                batch.insert(0, _Pending(sequence, at, self._documents.event(alarm, sequence), self._lost))
                self._lost, self._last_lost = 0, None
            return batch

    def _put_back(self, error: OSError, rest: list[_Pending]) -> None:
        """Keep what was not written for the next flush. An alarm is not kept as a line: its count goes on growing."""
        with self._lock:
            self._count(failures=1)
            self._trouble = error.strerror or str(error)
            if rest and rest[0].lost:
                self._lost += rest[0].lost
                self._last_lost = self._last_lost or rest[0]
                rest = rest[1:]
            self._pending.extendleft(reversed(rest))
            self._waiting += sum(len(item.line) for item in rest)
            self._bound()

    def _bound(self) -> None:
        while self._waiting > self._pending_bytes and len(self._pending) > 1:
            self._last_lost = self._pending.popleft()
            self._waiting -= len(self._last_lost.line)
            self._lost += 1
            self._count(dropped=1)

    def _write_some(self, batch: list[_Pending]) -> int:
        """Write the head of `batch` as far as it fits into the current segment; return how many events that was."""
        file, size = self._segment(len(batch[0].line))
        take, room = 1, self._segment_bytes - size - len(batch[0].line)
        while take < len(batch) and len(batch[take].line) <= room:
            room -= len(batch[take].line)
            take += 1
        data = memoryview(b"".join(item.line for item in batch[:take]))
        position = 0
        try:
            while position < len(data):
                position += os.write(file, data[position:])
        except OSError as error:
            whole, end = 0, len(batch[0].line)
            while end <= position:
                whole += 1
                end += len(batch[whole].line)
            self._written(whole)
            raise _Stopped(error, whole) from error
        self._written(take)
        return take

    def _written(self, events: int) -> None:
        with self._lock:
            self._count(written=events)
        self._unsynced = True

    def _segment(self, needed: int) -> tuple[int, int]:
        """Return the open segment with room for `needed` bytes, and its size in bytes; raises OSError."""
        if self._file is None and self._number:
            self._reopen(segments.segment(self._directory, self._number))
        if self._file is not None:
            state = os.fstat(self._file)
            # A segment that somebody removed is not written on: nobody would ever read it.
            fits = state.st_size + needed <= self._segment_bytes and time.monotonic() < self._ends
            if state.st_nlink and (fits or state.st_size == 0):
                return self._file, state.st_size
            os.fdatasync(self._file)
            self._leave()
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        number = max([self._number, *segments.listing(self._directory)]) + 1
        self._file = os.open(segments.segment(self._directory, number), OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o640)
        self._number = number
        self._ends = time.monotonic() + PIECE
        _sync_directory(self._directory)
        self._expire()
        return self._file, 0

    def _reopen(self, path: Path) -> None:
        try:
            _, cut = segments.repair(path)
            self._count(repaired_bytes=cut)
            self._file = os.open(path, OPEN_FLAGS)
        except FileNotFoundError:
            return

    def _leave(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _expire(self) -> None:
        """Remove the oldest segments while they are too old or too many, counting one segment to come."""
        closed = [number for number in segments.listing(self._directory) if number < self._number]
        files = {number: segments.forms(self._directory, number) for number in closed}
        sizes = {number: sum(path.stat().st_size for path in paths) for number, paths in files.items()}
        total = sum(sizes.values()) + self._segment_bytes
        oldest = time.time() - self._keep if time.monotonic() >= self._sure else 0.0
        for number, paths in files.items():
            if total <= self._total_bytes and max(path.stat().st_mtime for path in paths) >= oldest:
                break
            with segments.opened(self._directory, number) as file:
                self._count(expired_segments=1, expired_events=segments.read(file, -1, 0).count(b"\n") // 2)
            for path in paths:
                path.unlink()
            total -= sizes[number]
        self._closed = total - self._segment_bytes

    def _tidy(self) -> None:
        """Each second, compress segments that are not written to any more; now and then remove what is too old."""
        now = time.monotonic()
        if now < self._tidied + 1:
            return
        self._tidied, wall = now, time.time()
        if abs(wall - now - self._offset) > STEP:
            self._offset, self._sure = wall - now, now + SURE
        if self._compress(now + PACKING, wall) or now >= self._checked + CHECKED:
            self._checked = now
            self._expire()
        self._size = self._closed + (os.fstat(self._file).st_size if self._file is not None else 0)

    def _compress(self, until: float, wall: float) -> int:
        """Compress what is settled, for a while; return how many segments that was."""
        done = 0
        for number in segments.plain(self._directory):
            if number >= self._number or time.monotonic() >= until:
                break
            try:
                if abs(wall - segments.segment(self._directory, number).stat().st_mtime) < SETTLED:
                    break
                segments.compress(self._directory, number)
                done += 1
            except FileNotFoundError:
                continue  # somebody removed it
            except OSError:
                break  # there is no room for both forms at the moment
        return done


def _sync_directory(directory: Path) -> None:
    """Make a new name in `directory` survive a power cut; raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Stopped(Exception):
    """The disk took no more, after `written` events of the batch."""

    def __init__(self, error: OSError, written: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.written = written
