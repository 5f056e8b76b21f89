"""What people are told of: every event once, from where the last reader ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from appliance.model import Outcome, ProbeResult
from appliance.telemetry import cursor
from appliance.telemetry.cursor import Cursor
from appliance.telemetry.feed import Feed
from appliance.telemetry.spool import Spool
from tests.unit.telemetry.events import FIRST, SHOP, event
from tests.unit.telemetry.test_cursor import written


def heard(feed: Feed, until: Callable[[list[int], int], bool]) -> list[int]:
    """Follow until something is so; return the sequence numbers of the events that came."""
    found: list[int] = []
    passed = [0]

    async def follow() -> None:
        task = asyncio.create_task(
            feed.follow(
                lambda document: found.append(document["event"]["sequence"]), lambda number: passed.append(number)
            )
        )
        while not until(found, passed[-1]):
            assert not task.done(), task.result()
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(follow())
    return found


def test_it_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "alerts.json"
    cursor.save(file, Cursor())
    spool = written(log, 10)
    first = Feed(log, file)
    assert first.begin() == (0, {})
    assert heard(first, lambda found, _: len(found) == 10) == list(range(1, 11))
    first.save(10, {"slack": 10, "teams": 7})
    for number in range(5):
        spool.append(event(number))
    spool.close()
    second = Feed(log, file)
    assert second.begin() == (10, {"slack": 10, "teams": 7})
    assert heard(second, lambda found, _: len(found) == 5) == list(range(11, 16))


def test_what_is_not_told_yet_comes_again(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "alerts.json"
    cursor.save(file, Cursor())
    written(log, 30).close()
    first = Feed(log, file)
    first.begin()
    heard(first, lambda found, _: len(found) == 30)
    first.save(14, {})
    second = Feed(log, file)
    since, _ = second.begin()
    assert 0 < since <= 14
    assert heard(second, lambda found, _: 30 in found) == list(range(since + 1, 31))


def test_it_begins_with_what_happens_from_now_on(tmp_path: Path) -> None:
    spool = written(tmp_path / "log", 10)
    feed = Feed(tmp_path / "log", tmp_path / "alerts.json")
    assert feed.begin() == (10, {})
    spool.append(event(1))
    spool.close()
    assert heard(feed, lambda found, _: bool(found)) == [11]


def test_probes_are_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    for number in range(1, 21):
        if number % 5:
            spool.append_probe(ProbeResult(SHOP, FIRST, 0, Outcome.OK, "HTTP 200", 1.0, 1))
        else:
            spool.append(event(number))
    spool.append_probe(ProbeResult(SHOP, FIRST, 0, Outcome.OK, "HTTP 200", 1.0, 1))
    spool.close()
    cursor.save(tmp_path / "alerts.json", Cursor())
    feed = Feed(tmp_path / "log", tmp_path / "alerts.json")
    feed.begin()
    assert heard(feed, lambda _, passed: passed == 21) == [5, 10, 15, 20]
    feed.save(21, {})
    assert Feed(tmp_path / "log", tmp_path / "alerts.json").begin()[0] == 21


def test_any_file_of_outlets(tmp_path: Path) -> None:
    written(tmp_path / "log", 3).close()
    for text in (b"", b"[]", b'{"slack": "1"}', b"\xff", b"[" * 100_000):
        cursor.save(tmp_path / "alerts.json", Cursor())
        tmp_path.joinpath("outlets.json").write_bytes(text)
        assert Feed(tmp_path / "log", tmp_path / "alerts.json").begin() == (0, {})
