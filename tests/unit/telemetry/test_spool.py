"""The writer of the log store: what it keeps, what it gives up and counts, and what no fault makes it do."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import HostError
from appliance.model import Event
from appliance.telemetry import segments, spool_reader
from appliance.telemetry import spool as spool_module
from appliance.telemetry.documents import Documents
from appliance.telemetry.spool import Spool
from tests.unit.house.tree import ROOT
from tests.unit.telemetry.events import STORY, event

NOW, WALL = time.monotonic(), time.time()


def messages(directory: Path) -> list[str]:
    """Return the messages of the store, as a reader sees them."""
    return [item["message"] for item in spool_reader.read(directory)]


def sequences(directory: Path) -> list[int]:
    """Return the sequence numbers of the store, in the order of the files."""
    return [item["sequence"] for item in spool_reader.read(directory)]


def test_nothing_is_written_before_a_flush(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    assert [spool.append(item) for item in STORY] == [1, 2, 3, 4, 5, 6, 7]
    assert segments.listing(tmp_path / "log") == []
    assert spool.flush()
    assert sequences(tmp_path / "log") == [1, 2, 3, 4, 5, 6, 7]
    assert spool.counts.written == 7
    assert spool.flush()
    assert spool.counts.written == 7
    assert oct(tmp_path.joinpath("log").stat().st_mode & 0o777) == "0o750"
    assert oct(segments.segment(tmp_path / "log", 1).stat().st_mode & 0o777) == "0o640"


def test_a_restart_goes_on(tmp_path: Path) -> None:
    for start in (1, 3, 5):
        spool = Spool(tmp_path)
        for number in range(start, start + 2):
            assert spool.append(event(number)) == number
        spool.close()
    assert sequences(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert segments.listing(tmp_path) == [1]


def test_rotation_and_cap(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=10_000, total_bytes=50_000)
    for number in range(1, 201):
        spool.append(event(number, "x" * 40))
        if number % 7 == 0:
            spool.flush(sync=False)
    spool.close()
    sizes = [segments.segment(tmp_path, number).stat().st_size for number in segments.listing(tmp_path)]
    assert max(sizes) <= 10_000
    assert sum(sizes) <= 50_000
    kept = sequences(tmp_path)
    assert kept == list(range(kept[0], 201))
    assert spool.counts.written == 200
    assert spool.counts.expired_events == 200 - len(kept)
    assert spool.counts.expired_segments == segments.listing(tmp_path)[0] - 1
    assert spool.counts.dropped == 0


def test_an_event_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=100, total_bytes=10_000)
    for number in range(3):
        spool.append(event(number, "x" * 300))
    spool.close()
    assert segments.listing(tmp_path) == [1, 2, 3]
    assert sequences(tmp_path) == [1, 2, 3]


WHOLE = Documents("0").event(event(4, ""), 4)
ACTION, DOCUMENT = WHOLE.splitlines(keepends=True)

# what a crash leaves behind the three events of segment 1
TAILS = [
    ACTION[:20],
    ACTION,
    ACTION + DOCUMENT[:50],
    DOCUMENT,
    b"\0" * 4096,
    b"\0" * 100 + b"\n" + b"\0" * 10,
    WHOLE + b'garbage\n{"half',
    WHOLE + ACTION,
    WHOLE + DOCUMENT,
    b"\xff\xfe\x00 not even text\n",
    b"{}\n[]\n\n\n",
]


@pytest.mark.parametrize("torn", TAILS, ids=range(len(TAILS)))
def test_a_torn_tail_is_cut_and_counted(tmp_path: Path, torn: bytes) -> None:
    spool = Spool(tmp_path)
    for number in (1, 2, 3):
        spool.append(event(number))
    spool.close()
    path = segments.segment(tmp_path, 1)
    whole = path.read_bytes()
    good = whole + (WHOLE if torn.startswith(WHOLE) else b"")
    path.write_bytes(whole + torn)
    assert sequences(tmp_path)[:3] == [1, 2, 3]

    spool = Spool(tmp_path)
    assert path.read_bytes() == good
    assert spool.counts.repaired_bytes == len(whole) + len(torn) - len(good)
    spool.append(event(9, "after the crash"))
    spool.close()
    numbers = sequences(tmp_path)
    assert numbers == sorted(set(numbers))
    assert messages(tmp_path)[-1] == "after the crash"


def test_a_segment_of_nothing_but_garbage_keeps_the_numbers_growing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(event(1))
    spool.close()
    segments.segment(tmp_path, 2).write_bytes(b"\0" * 5000)
    spool = Spool(tmp_path)
    assert spool.counts.repaired_bytes == 5000
    assert spool.append(event(2)) == 2
    spool.close()
    assert sequences(tmp_path) == [1, 2]


WRITER = """
import sys
from pathlib import Path
from appliance.model import Event, EventKind
from appliance.telemetry.spool import Spool
spool = Spool(Path(sys.argv[1]), segment_bytes=20_000, total_bytes=100_000_000)
number = 0
while True:
    for _ in range(17):
        number = spool.append(Event(1.0, EventKind.PROBE, "x" * (number % 300)))
    if spool.flush():
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
        Spool(tmp_path).close()
        numbers = sequences(tmp_path)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= confirmed


def test_removed_files_do_not_stop_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.append(event(1))
    assert spool.flush()
    segments.segment(tmp_path / "log", 1).unlink()
    spool.append(event(2, "after the segment went"))
    assert spool.flush()
    assert messages(tmp_path / "log") == ["after the segment went"]
    for number in segments.listing(tmp_path / "log"):
        segments.segment(tmp_path / "log", number).unlink()
    tmp_path.joinpath("log").rmdir()
    spool.append(event(3, "after the directory went"))
    assert spool.flush()
    assert messages(tmp_path / "log") == ["after the directory went"]


def test_what_cannot_be_written_now_is_written_later(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    spool = Spool(directory)
    directory.rmdir()
    directory.write_text("in the way", encoding="ascii")
    for number in (1, 2):
        spool.append(event(number))
        assert spool.flush() is False
        assert spool.trouble == "File exists"
    assert spool.counts.failures == 2
    directory.unlink()
    spool.append(event(3))
    assert spool.flush() is True
    assert sequences(directory) == [1, 2, 3]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("in the way", encoding="ascii")
    with pytest.raises(HostError, match="cannot open the log store: Not a directory"):
        Spool(tmp_path / "file" / "log")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the mount point of a file system of 256 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def of_length(number: int, length: int) -> Event:
    """Return an event whose record has this many bytes."""
    return event(number, "x" * (length - len(Documents("0" * 12).event(event(number, ""), number))))


# 1024 bytes: a disk that takes whole pages then stops exactly between two records; 1367: in the middle of one.
@pytest.mark.root
@pytest.mark.parametrize("length", [1024, 1367])
def test_a_full_disk(small_disk: Path, length: int) -> None:
    directory = small_disk / "log"
    spool = Spool(directory, segment_bytes=64 * 1024, pending_bytes=100_000)
    spool.append(of_length(1, length))
    assert spool.flush()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 300_000)

    for number in range(2, 402):
        spool.append(of_length(number, length))
        if number % 50 == 0:
            spool.flush()
    assert spool.flush() is False
    assert spool.trouble == "No space left on device"
    assert spool.counts.failures > 5
    ballast.unlink()
    assert spool.append(event(402, "after")) == 402
    assert spool.flush() is True
    assert spool.trouble == ""

    events = list(spool_reader.read(directory))
    alarms = [item for item in events if item["kind"] == "alarm"]
    assert all("No space left on device" in item["message"] for item in alarms)
    lost = sum(item["details"]["lost"] for item in alarms)
    assert 200 < lost == spool.counts.dropped < 400
    # Nothing is there twice, nothing out of order, and what is not there is in the count of an alarm in its place.
    expected = 1
    for item in events:
        expected += item["details"]["lost"] - 1 if item in alarms else 0
        assert item["sequence"] == expected
        expected += 1
    assert expected == 403
    assert spool.counts.written == len(events)
    spool.close()
    assert Spool(directory).append(event(403)) == 403


@pytest.mark.root
def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    small_disk.joinpath("log").mkdir()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 300_000)
    spool = Spool(small_disk / "log")
    spool.append(event(1))
    assert spool.flush() is False
    ballast.unlink()
    assert spool.flush() is True
    assert sequences(small_disk / "log") == [1]
    spool.close()


def test_closed_segments_are_compressed_and_count_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SETTLED", 0.0)
    spool = Spool(tmp_path, segment_bytes=20_000, total_bytes=60_000)
    for number in range(1, 1001):
        spool.append(event(number, "x" * 40))
        if number % 10 == 0:
            spool._tidied = 0.0
            assert spool.flush()
    spool.close()
    kept = sequences(tmp_path)
    assert kept == list(range(kept[0], 1001))
    # Uncompressed, sixty thousand bytes hold a hundred events.
    assert len(kept) > 500
    assert spool.counts.expired_events == 1000 - len(kept) > 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 60_000
    assert len([path for path in tmp_path.iterdir() if path.suffix == ".ndjson"]) <= 2


def later(monkeypatch: pytest.MonkeyPatch, seconds: float, wrong: float = 0.0) -> None:
    """Let time pass; `wrong` is by how much the clock on the wall is set wrong. Nothing is compressed meanwhile."""
    monkeypatch.setattr(spool_module, "SETTLED", math.inf)
    monkeypatch.setattr(time, "monotonic", lambda: NOW + seconds)
    monkeypatch.setattr(time, "time", lambda: WALL + seconds + wrong)


def test_what_is_too_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 0)
    spool = Spool(tmp_path, segment_bytes=5_000)
    for number in range(1, 31):
        spool.append(event(number, "x" * 40))
    assert spool.flush()
    first, second, *_ = segments.listing(tmp_path)
    os.utime(segments.segment(tmp_path, first), (1.0, 1.0))
    spool.bound(space=1 << 30, keep=86_400.0)
    later(monkeypatch, 100)
    assert spool.flush()
    assert segments.listing(tmp_path)[0] == first  # the clock may not have been set yet
    later(monkeypatch, 3701)
    assert spool.flush()
    assert segments.listing(tmp_path)[0] == second
    assert spool.counts.expired_segments == 1


def test_a_clock_that_is_set_far_forth_makes_nothing_old_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 0)
    spool = Spool(tmp_path, segment_bytes=5_000)
    for number in range(1, 31):
        spool.append(event(number, "x" * 40))
    assert spool.flush()
    years = 10 * 365 * 86_400.0
    later(monkeypatch, 7000, years)
    assert spool.flush()
    assert sequences(tmp_path) == list(range(1, 31))
    later(monkeypatch, 10_700, years)
    assert spool.flush()
    assert sequences(tmp_path) != list(range(1, 31))


def test_a_disk_without_room_for_both_forms_keeps_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SETTLED", 0.0)
    spool = Spool(tmp_path, segment_bytes=5_000)
    for number in range(1, 31):
        spool.append(event(number, "x" * 40))
    tmp_path.joinpath("000001.ndjson.new").mkdir()  # nothing can be written there
    assert spool.flush()
    assert spool.trouble == ""
    assert sequences(tmp_path) == list(range(1, 31))


def test_a_clock_that_is_set_forth_and_back_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, segment_bytes=5_000)
    now = 1_795_335_070.0
    for number, step in enumerate((0.0, 86_400.0, -7 * 86_400.0, 3_600.0) * 8, 1):
        now += step
        monkeypatch.setattr(time, "time", lambda now=now: now)
        spool.append(event(number, "x" * 40))
        spool._tidied = 0.0
        assert spool.flush()
    spool.close()
    assert sequences(tmp_path) == list(range(1, 33))
    assert (spool.counts.dropped, spool.counts.expired_events, spool.trouble) == (0, 0, "")
