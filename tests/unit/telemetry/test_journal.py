"""The writer of the log store: what it keeps, what it gives up and counts, and what no fault makes it do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import HostError
from appliance.model import Event
from appliance.telemetry import journal_reader, segments
from appliance.telemetry.journal import Journal
from appliance.telemetry.line import encode
from tests.unit.house.tree import ROOT
from tests.unit.telemetry.events import STORY, event


def messages(directory: Path) -> list[str]:
    """Return the messages of the store, as a reader sees them."""
    return [item["message"] for item in journal_reader.read(directory)]


def sequences(directory: Path) -> list[int]:
    """Return the sequence numbers of the store, in the order of the files."""
    return [item["sequence"] for item in journal_reader.read(directory)]


def test_nothing_is_written_before_a_flush(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log")
    assert [journal.append(item) for item in STORY] == [1, 2, 3, 4, 5, 6, 7]
    assert segments.listing(tmp_path / "log") == []
    assert journal.flush()
    assert sequences(tmp_path / "log") == [1, 2, 3, 4, 5, 6, 7]
    assert journal.counts.written == 7
    assert journal.flush()
    assert journal.counts.written == 7
    assert oct(tmp_path.joinpath("log").stat().st_mode & 0o777) == "0o750"
    assert oct(segments.segment(tmp_path / "log", 1).stat().st_mode & 0o777) == "0o640"


def test_a_restart_goes_on(tmp_path: Path) -> None:
    for start in (1, 3, 5):
        journal = Journal(tmp_path)
        for number in range(start, start + 2):
            assert journal.append(event(number)) == number
        journal.close()
    assert sequences(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert segments.listing(tmp_path) == [1]


def test_rotation_and_cap(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1000, total_bytes=5000)
    for number in range(1, 201):
        journal.append(event(number, "x" * 40))
        if number % 7 == 0:
            journal.flush(sync=False)
    journal.close()
    sizes = [segments.segment(tmp_path, number).stat().st_size for number in segments.listing(tmp_path)]
    assert max(sizes) <= 1000
    assert sum(sizes) <= 5000
    kept = sequences(tmp_path)
    assert kept == list(range(kept[0], 201))
    assert journal.counts.written == 200
    assert journal.counts.expired_events == 200 - len(kept)
    assert journal.counts.expired_segments == segments.listing(tmp_path)[0] - 1
    assert journal.counts.dropped == 0


def test_an_event_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=100, total_bytes=10_000)
    for number in range(3):
        journal.append(event(number, "x" * 300))
    journal.close()
    assert segments.listing(tmp_path) == [1, 2, 3]
    assert sequences(tmp_path) == [1, 2, 3]


# what a crash leaves behind the three events of segment 1
TAILS = [
    b'{"sequence":4,"at":4.0,"kind":"dae',
    b"\0" * 4096,
    b"\0" * 100 + b"\n" + b"\0" * 10,
    b'{"sequence":4,"message":""}\ngarbage\n{"half',
    b"\xff\xfe\x00 not even text\n",
    b"{}\n[]\n\n\n",
]


@pytest.mark.parametrize("torn", TAILS, ids=range(len(TAILS)))
def test_a_torn_tail_is_cut_and_counted(tmp_path: Path, torn: bytes) -> None:
    journal = Journal(tmp_path)
    for number in (1, 2, 3):
        journal.append(event(number))
    journal.close()
    path = segments.segment(tmp_path, 1)
    whole = path.read_bytes()
    good = whole + (torn[: torn.index(b"\n") + 1] if b'"sequence":4,"message"' in torn else b"")
    path.write_bytes(whole + torn)
    assert sequences(tmp_path)[:3] == [1, 2, 3]

    journal = Journal(tmp_path)
    assert path.read_bytes() == good
    assert journal.counts.repaired_bytes == len(whole) + len(torn) - len(good)
    journal.append(event(9, "after the crash"))
    journal.close()
    numbers = sequences(tmp_path)
    assert numbers == sorted(set(numbers))
    assert messages(tmp_path)[-1] == "after the crash"


def test_a_segment_of_nothing_but_garbage_keeps_the_numbers_growing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(event(1))
    journal.close()
    segments.segment(tmp_path, 2).write_bytes(b"\0" * 5000)
    journal = Journal(tmp_path)
    assert journal.counts.repaired_bytes == 5000
    assert journal.append(event(2)) == 2
    journal.close()
    assert sequences(tmp_path) == [1, 2]


WRITER = """
import sys
from pathlib import Path
from appliance.model import Event, EventKind
from appliance.telemetry.journal import Journal
journal = Journal(Path(sys.argv[1]), segment_bytes=20_000, total_bytes=10_000_000)
number = 0
while True:
    for _ in range(17):
        number = journal.append(Event(1.0, EventKind.PROBE, "x" * (number % 300)))
    if journal.flush():
        print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    confirmed = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                confirmed = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            confirmed = max([confirmed, *(int(line) for line in writer.stdout if line.endswith(b"\n"))])
        Journal(tmp_path).close()
        numbers = sequences(tmp_path)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= confirmed


def test_removed_files_do_not_stop_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log")
    journal.append(event(1))
    assert journal.flush()
    segments.segment(tmp_path / "log", 1).unlink()
    journal.append(event(2, "after the segment went"))
    assert journal.flush()
    assert messages(tmp_path / "log") == ["after the segment went"]
    for number in segments.listing(tmp_path / "log"):
        segments.segment(tmp_path / "log", number).unlink()
    tmp_path.joinpath("log").rmdir()
    journal.append(event(3, "after the directory went"))
    assert journal.flush()
    assert messages(tmp_path / "log") == ["after the directory went"]


def test_what_cannot_be_written_now_is_written_later(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    journal = Journal(directory)
    directory.rmdir()
    directory.write_text("in the way", encoding="ascii")
    for number in (1, 2):
        journal.append(event(number))
        assert journal.flush() is False
        assert journal.trouble == "File exists"
    assert journal.counts.failures == 2
    directory.unlink()
    journal.append(event(3))
    assert journal.flush() is True
    assert sequences(directory) == [1, 2, 3]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("in the way", encoding="ascii")
    with pytest.raises(HostError, match="cannot open the log store: Not a directory"):
        Journal(tmp_path / "file" / "log")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the mount point of a file system of 256 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def of_length(number: int, length: int) -> Event:
    """Return an event whose line has this many bytes."""
    return event(number, "x" * (length - len(encode(event(number, ""), number))))


# 128 bytes: a disk that takes whole pages then stops exactly between two lines; 187: in the middle of one.
@pytest.mark.root
@pytest.mark.parametrize("length", [128, 187])
def test_a_full_disk(small_disk: Path, length: int) -> None:
    directory = small_disk / "log"
    journal = Journal(directory, segment_bytes=64 * 1024, pending_bytes=20_000)
    journal.append(of_length(1, length))
    assert journal.flush()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 300_000)

    for number in range(2, 402):
        journal.append(of_length(number, length))
        if number % 50 == 0:
            journal.flush()
    assert journal.flush() is False
    assert journal.trouble == "No space left on device"
    assert journal.counts.failures > 5
    ballast.unlink()
    assert journal.append(event(402, "after")) == 402
    assert journal.flush() is True
    assert journal.trouble == ""

    events = list(journal_reader.read(directory))
    alarms = [item for item in events if item["kind"] == "alarm"]
    assert all("No space left on device" in item["message"] for item in alarms)
    lost = sum(item["details"]["lost"] for item in alarms)
    assert 200 < lost == journal.counts.dropped < 400
    # Nothing is there twice, nothing out of order, and what is not there is in the count of an alarm in its place.
    expected = 1
    for item in events:
        expected += item["details"]["lost"] - 1 if item in alarms else 0
        assert item["sequence"] == expected
        expected += 1
    assert expected == 403
    assert journal.counts.written == len(events)
    journal.close()
    assert Journal(directory).append(event(403)) == 403


@pytest.mark.root
def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    small_disk.joinpath("log").mkdir()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 300_000)
    journal = Journal(small_disk / "log")
    journal.append(event(1))
    assert journal.flush() is False
    ballast.unlink()
    assert journal.flush() is True
    assert sequences(small_disk / "log") == [1]
    journal.close()
