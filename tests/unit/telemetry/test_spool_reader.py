"""Readers of the log store: filters, the newest N, and following a writer across rotations and crashes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.model import EventKind
from appliance.telemetry import record, segments, spool_reader
from appliance.telemetry.log_filter import LogFilter, parse_since
from appliance.telemetry.spool import Spool
from tests.unit.telemetry.events import DNS, FIRST, SECOND, SHOP, STORY, event


def written(directory: Path, segment_bytes: int = 8 * 1024 * 1024) -> Path:
    """Write the story into a store."""
    spool = Spool(directory, segment_bytes=segment_bytes)
    for item in STORY:
        spool.append(item)
    spool.close()
    return directory


FILTERS = [
    (LogFilter(), [1, 2, 3, 4, 5, 6, 7]),
    (LogFilter(service=SHOP), [2, 3, 4, 6, 7]),
    (LogFilter(service=DNS), [5]),
    (LogFilter(backend=FIRST), [2, 6, 7]),
    (LogFilter(service=SHOP, backend=SECOND), [3, 4]),
    (LogFilter(outcome="ok"), [2, 7]),
    (LogFilter(since=104.0), [5, 6, 7]),
    (LogFilter(until=102.5), [1, 2, 3]),
    (LogFilter(since=102.0, until=104.0), [3, 4, 5]),
    (LogFilter(kinds=frozenset({EventKind.PROBE})), [2, 3, 5, 7]),
    (LogFilter(kinds=frozenset({EventKind.BACKEND, EventKind.OPERATOR}), backend=SECOND), [4]),
    (LogFilter(outcome="no-answer", backend=FIRST), []),
    (LogFilter(peer=FIRST), []),
]


@pytest.mark.parametrize("segment_bytes", [100, 1500, 100_000])
@pytest.mark.parametrize(("wanted", "expected"), FILTERS)
def test_filters(tmp_path: Path, segment_bytes: int, wanted: LogFilter, expected: list[int]) -> None:
    written(tmp_path, segment_bytes)
    assert [item["sequence"] for item in spool_reader.read(tmp_path, wanted)] == expected
    for count in range(9):
        newest = [item["sequence"] for item in spool_reader.tail(tmp_path, count, wanted)]
        assert newest == expected[max(0, len(expected) - count) :]


def test_no_store_is_an_empty_one(tmp_path: Path) -> None:
    assert list(spool_reader.read(tmp_path / "none")) == []
    assert spool_reader.tail(tmp_path / "none", 5) == []
    assert spool_reader.end(tmp_path / "none") == spool_reader.BEGINNING


def test_what_comes_after_the_end_is_not_read(tmp_path: Path) -> None:
    written(tmp_path, 1500)
    place = spool_reader.end(tmp_path)
    spool = Spool(tmp_path, segment_bytes=1500)
    for number in range(8, 15):
        spool.append(event(number))
    spool.close()
    assert [item["sequence"] for item in spool_reader.read(tmp_path, until=place)] == [1, 2, 3, 4, 5, 6, 7]
    assert [item["sequence"] for item in spool_reader.tail(tmp_path, 2, until=place)] == [6, 7]


def test_old_segments_are_not_opened(tmp_path: Path) -> None:
    written(tmp_path, 1500)
    first, *_ = segments.listing(tmp_path)
    path = segments.segment(tmp_path, first)
    os.utime(path, (1.0, 1.0))
    everything = len(list(spool_reader.read(tmp_path, LogFilter(since=50.0))))
    recent = len(list(spool_reader.read(tmp_path, LogFilter(since=99.0))))
    assert everything == 7
    assert recent == 7 - path.read_bytes().count(b"\n") // 2


def test_garbage_in_the_middle_is_stepped_over(tmp_path: Path) -> None:
    written(tmp_path)
    path = segments.segment(tmp_path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"not JSON\n", b"\0\0\0\n", *lines[1:], b'{"torn":']))
    assert [item["sequence"] for item in spool_reader.read(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]


def follower(directory: Path, steps: list[Callable[[], object]]) -> list[int]:
    """Follow the store from its end; each time there is nothing new, do the next step. Return what came."""
    found: list[int] = []

    class Over(Exception):
        """The steps are used up."""

    def sleep(_: float) -> None:
        if not steps:
            raise Over
        steps.pop(0)()

    try:
        for item in spool_reader.follow(directory, spool_reader.end(directory), sleep=sleep):
            found.append(item["sequence"])
    except Over:
        pass
    return found


def test_follow(tmp_path: Path) -> None:
    written(tmp_path)
    spool = Spool(tmp_path, segment_bytes=2000)
    path = segments.segment(tmp_path, 1)

    def more(count: int) -> None:
        for number in range(count):
            spool.append(event(number, "x" * 50))
        spool.flush()

    def torn() -> None:
        newest = segments.segment(tmp_path, segments.listing(tmp_path)[-1])
        with newest.open("ab") as file:
            file.write(record.ACTION)

    def repaired() -> None:
        assert Spool(tmp_path).counts.repaired_bytes == len(record.ACTION)

    found = follower(
        tmp_path, [lambda: more(1), lambda: more(9), lambda: None, torn, repaired, lambda: more(5), path.unlink]
    )
    assert found == list(range(8, 23))
    assert len(segments.listing(tmp_path)) > 3


def test_follow_begins_before_there_is_a_store(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    assert follower(directory, [lambda: written(directory)]) == [1, 2, 3, 4, 5, 6, 7]


def test_follow_beside_a_writer_in_another_thread(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=10_000)

    def write() -> None:
        for number in range(500):
            spool.append(event(number))
            if number % 3 == 0:
                spool.flush(sync=False)
        spool.close()

    writer = threading.Thread(target=write)
    found = []
    writer.start()
    for item in spool_reader.follow(tmp_path, spool_reader.BEGINNING, sleep=lambda _: None):
        found.append(item["sequence"])
        if item["sequence"] == 500:
            break
    writer.join()
    assert found == list(range(1, 501))


NOW = 1_750_000_000.0
SINCE = [
    ("90s", NOW - 90),
    ("10m", NOW - 600),
    ("10m ago", NOW - 600),
    (" 2h ", NOW - 7200),
    ("1.5d", NOW - 129_600),
    ("1w", NOW - 604_800),
    ("@1700000000", 1_700_000_000.0),
    ("2025-06-01T12:00Z", 1_748_779_200.0),
    ("2025-06-01 12:00:30+02:00", 1_748_772_030.0),
]


@pytest.mark.parametrize(("text", "expected"), SINCE)
def test_since(text: str, expected: float) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10 x", "-5m", "@", "@nan", "@1e99", "2025-13-01", "m", "٣m"])
def test_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="is no moment; write how long ago"):
        parse_since(text, NOW)
