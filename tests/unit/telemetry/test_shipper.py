"""The shipper's own turns, against a server that is a function: what waits, what goes on, what is not done in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ShipError
from appliance.telemetry import cursor
from appliance.telemetry import shipper as shipper_module
from appliance.telemetry.record import records
from appliance.telemetry.shipper import Shipper
from tests.unit.telemetry.test_cursor import written

Answer = Callable[[bytes], tuple[int, Any]]


class Server:
    """Answers as it is told."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.bodies: list[bytes] = []

    async def bulk(self, body: bytes) -> tuple[int, Any]:
        self.bodies.append(body)
        await asyncio.sleep(0)
        return self._answer(body)


def good(body: bytes) -> tuple[int, Any]:
    return 200, {"errors": False, "items": [{"create": {"status": 201}} for _ in records(body)]}


async def shipped(shipper: Shipper, last: int) -> None:
    """Run a shipper until everything is delivered."""
    task = asyncio.create_task(shipper.run())
    try:
        async with asyncio.timeout(30):
            while shipper.place.sequence < last and not task.done():
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def quickly(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.001))


def test_what_is_behind_a_piece_that_has_to_wait_is_not_waited_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first piece is refused a hundred times, the others are taken at once."""
    written(tmp_path / "log", 40).close()
    refusals = iter(range(100))

    def answer(body: bytes) -> tuple[int, Any]:
        if b'"sequence":1,' in body and next(refusals, None) is not None:
            raise ShipError("down", retryable=True)
        return good(body)

    waits = []
    real = asyncio.wait

    async def counted(tasks: Any, **more: Any) -> Any:
        waits.append(len(tasks))
        return await real(tasks, **more)

    monkeypatch.setattr(asyncio, "wait", counted)
    server = Server(answer)
    shipper = Shipper(tmp_path / "log", tmp_path, server, sleep=quickly, piece=2000)
    asyncio.run(shipped(shipper, 40))
    assert shipper.counts.failures == 100
    assert len(waits) < 200
    assert shipper.counts.shipped == {"vc5.probe": 0, "vc5.event": 40}
    assert cursor.load(tmp_path / "cursor.json").sequence == 40


@pytest.mark.parametrize("status", [400, 413])
def test_a_body_that_is_refused_as_a_whole_is_taken_apart(tmp_path: Path, status: int) -> None:
    written(tmp_path / "log", 40).close()

    def answer(body: bytes) -> tuple[int, Any]:
        if b'"sequence":17,' in body:
            return status, {"error": {"type": "odd", "reason": "seventeen"}}
        return good(body)

    shipper = Shipper(tmp_path / "log", tmp_path, Server(answer), sleep=quickly)
    asyncio.run(shipped(shipper, 40))
    assert (shipper.counts.dead, shipper.counts.shipped["vc5.event"], shipper.trouble) == (1, 39, "")
    letter = (tmp_path / "dead-letters.ndjson").read_text(encoding="ascii")
    assert "odd: seventeen" in letter
    assert letter.count("\n") == 1


def test_dead_letters_that_cannot_be_written_are_not_lost(tmp_path: Path) -> None:
    written(tmp_path / "log", 3).close()
    place = tmp_path / "place"
    place.write_text("in the way", encoding="ascii")

    def answer(body: bytes) -> tuple[int, Any]:
        items = [{"create": {"status": 400, "error": {"type": "odd", "reason": "no"}}} for _ in records(body)]
        return 200, {"errors": True, "items": items}

    async def story() -> None:
        shipper = Shipper(tmp_path / "log", place, Server(answer), sleep=quickly)
        task = asyncio.create_task(shipper.run())
        async with asyncio.timeout(30):
            while "cannot be written: Not a directory" not in shipper.trouble:
                await asyncio.sleep(0.001)
            assert shipper.counts.dead == 0
            place.unlink()
            place.mkdir()
            while shipper.place.sequence < 3:
                await asyncio.sleep(0.001)
        assert shipper.counts.dead == 3
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(story())


def test_an_end_in_the_middle_begins_again_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor is saved at the end, too, not only now and then."""
    monkeypatch.setattr(shipper_module, "SAVE", 1e6)
    written(tmp_path / "log", 40).close()
    first = Server(lambda body: good(body) if b'"sequence":30,' not in body else (503, None))

    async def story() -> None:
        shipper = Shipper(tmp_path / "log", tmp_path, first, piece=2000)
        task = asyncio.create_task(shipper.run())
        async with asyncio.timeout(30):
            while "status 503" not in shipper.trouble:
                await asyncio.sleep(0.001)
            while shipper.place.sequence < 20:
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
        assert cursor.load(tmp_path / "cursor.json") == shipper.place

    asyncio.run(story())
    place = cursor.load(tmp_path / "cursor.json").sequence
    assert 20 <= place < 30
    second = Server(good)
    asyncio.run(shipped(Shipper(tmp_path / "log", tmp_path, second, piece=2000), 40))
    assert sum(len(records(body)) for body in second.bodies) == 40 - place
