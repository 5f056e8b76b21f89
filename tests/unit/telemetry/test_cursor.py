"""Reading the spool piece by piece: nothing left out, whatever is cut, removed, or written anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.telemetry import cursor, segments
from appliance.telemetry.cursor import Cursor
from appliance.telemetry.record import name_of, records
from appliance.telemetry.spool import Spool
from tests.unit.telemetry.events import event


def written(directory: Path, count: int, segment_bytes: int = 3000) -> Spool:
    """Write events into a spool."""
    spool = Spool(directory, segment_bytes=segment_bytes)
    for number in range(count):
        spool.append(event(number, "x" * (number % 50)))
    assert spool.flush()
    return spool


def numbers(data: bytes) -> list[int]:
    """Return the sequence numbers of the records in `data`."""
    found = [name_of(record.splitlines(keepends=True)[1]) for record in records(data)]
    return [name.sequence for name in found if name]


def everything(directory: Path, place: Cursor, most: int = 2000) -> tuple[list[int], Cursor, int]:
    """Return what is behind `place`, where it ends, and what was lost."""
    found, lost = [], 0
    while piece := cursor.next_piece(directory, place, most):
        found += numbers(piece.data)
        place, lost = piece.end, lost + piece.lost
    return found, place, lost


@pytest.mark.parametrize("most", [1, 600, 2000, 1 << 20])
def test_everything_in_pieces(tmp_path: Path, most: int) -> None:
    written(tmp_path, 60).close()
    found, place, lost = everything(tmp_path, Cursor(), most)
    assert found == list(range(1, 61))
    assert (place.sequence, lost) == (60, 0)
    assert place == cursor.end(tmp_path)
    assert cursor.settled(tmp_path, place) == place


def test_what_comes_later(tmp_path: Path) -> None:
    spool = written(tmp_path, 10)
    _, place, _ = everything(tmp_path, Cursor())
    assert cursor.next_piece(tmp_path, place) is None
    for number in range(30):
        spool.append(event(number))
        spool.flush()
    assert everything(tmp_path, place)[0] == list(range(11, 41))


def test_half_a_record_is_not_read(tmp_path: Path) -> None:
    written(tmp_path, 3, 1 << 20).close()
    path = segments.segment(tmp_path, 1)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        found = everything(tmp_path, Cursor())[0]
        assert found == [1, 2, 3][: len(found)]
        assert len(found) == data[:length].count(b"\n") // 2


def test_what_was_removed_is_counted(tmp_path: Path) -> None:
    spool = written(tmp_path, 60)
    piece = cursor.next_piece(tmp_path, Cursor(), 2000)
    assert piece is not None
    for number in segments.listing(tmp_path)[:4]:
        segments.segment(tmp_path, number).unlink()
    found, _, lost = everything(tmp_path, piece.end)
    assert len(numbers(piece.data)) + lost + len(found) == 60
    assert lost > 5
    # Who begins has lost nothing: it was never meant for him.
    assert everything(tmp_path, Cursor())[2] == 0
    spool.close()


def test_a_power_cut_behind_what_had_been_read(tmp_path: Path) -> None:
    written(tmp_path, 20, 1 << 20).close()
    path = segments.segment(tmp_path, 1)
    place = everything(tmp_path, Cursor())[1]
    whole = path.read_bytes()
    for kept in (0, 7, 19):
        end = sum(len(record) for record in records(whole)[:kept])
        path.write_bytes(whole[:end])
        spool = Spool(tmp_path, segment_bytes=1 << 20)
        for number in range(40):
            spool.append(event(number, "after"))
        spool.close()
        found = everything(tmp_path, cursor.settled(tmp_path, place))[0]
        assert found[-40:] == list(range(kept + 1, kept + 41))


def test_other_records_that_are_as_long_are_not_taken_for_those_that_were_read(tmp_path: Path) -> None:
    places = []
    for _ in range(2):
        # Before the second, a power cut has taken all that there was.
        tmp_path.joinpath("000001.ndjson").write_bytes(b"")
        spool = Spool(tmp_path, segment_bytes=1 << 20)
        for number in range(1, 10):
            spool.append(event(number))
        spool.close()
        places.append(cursor.end(tmp_path))
    before, after = places
    assert before.offset == after.offset
    assert before.id != after.id
    assert everything(tmp_path, cursor.settled(tmp_path, before))[0] == list(range(1, 10))


def test_a_cursor_is_kept(tmp_path: Path) -> None:
    place = Cursor(3, 500, 17, "4be2f09a1c37-17")
    assert cursor.load(tmp_path / "cursor.json") == Cursor()
    cursor.save(tmp_path / "cursor.json", place)
    assert cursor.load(tmp_path / "cursor.json") == place
    assert [path.name for path in tmp_path.iterdir()] == ["cursor.json"]


@settings(max_examples=200)
@given(data=st.binary() | st.sampled_from([b"{}", b"[]", b'{"number":-1}', b'{"number":"1"}', b'{"id":7}', b'{"x":1}']))
def test_any_file_is_a_cursor_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-cursor.json"
    path.write_bytes(data)
    found = cursor.load(path)
    assert found.number >= 0
    assert isinstance(found.id, str)


def packed(directory: Path) -> list[int]:
    """Compress all segments but the newest, and return which."""
    closed = segments.listing(directory)[:-1]
    for number in closed:
        segments.compress(directory, number)
    return closed


def test_compressed_segments_read_alike(tmp_path: Path) -> None:
    written(tmp_path, 60).close()
    place = cursor.next_piece(tmp_path, Cursor(), 2000)
    assert place is not None
    closed = packed(tmp_path)
    assert len(closed) > 3
    assert [path.name for path in segments.forms(tmp_path, closed[0])] == [f"{closed[0]:06}.ndjson.gz"]
    assert everything(tmp_path, Cursor())[0] == list(range(1, 61))
    assert cursor.settled(tmp_path, place.end) == place.end
    assert numbers(place.data) + everything(tmp_path, place.end)[0] == list(range(1, 61))


def test_a_damaged_segment_is_counted_and_passed_over(tmp_path: Path) -> None:
    written(tmp_path, 60).close()
    second = packed(tmp_path)[1]
    path = segments.compressed(tmp_path, second)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    first = cursor.next_piece(tmp_path, Cursor(), 1 << 20)
    assert first is not None
    found, _, lost = everything(tmp_path, first.end, 1 << 20)
    assert len(numbers(first.data)) + lost + len(found) == 60
    assert lost > 0
