"""What waits for a console: bounded, in order, and the whole picture once for all."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.errors import ControlError
from appliance.web.history import History
from appliance.web.live import Live, Pace, Stream, pieces
from tests.profile import PARSER_INPUTS
from tests.unit.web.test_picture import backend, body, service

FRAMES = st.lists(st.binary(min_size=1, max_size=40), max_size=20)


@given(FRAMES, st.integers(1, 30))
@settings(max_examples=PARSER_INPUTS)
def test_pieces_are_the_same_bytes_and_small(frames: list[bytes], most: int) -> None:
    found = list(pieces(frames, most))
    assert b"".join(found) == b"".join(frames)
    assert all(0 < len(piece) <= most for piece in found)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.booleans()), max_size=30))
@example([(b"x" * 40, True)] * 2)
@example([(b"x" * 40, True)] * 3)
@example([(b"x" * 400, False), (b"x" * 40, True)])
@settings(max_examples=PARSER_INPUTS)
def test_no_more_waits_than_may(frames: list[tuple[bytes, bool]]) -> None:
    async def run() -> None:
        stream = Stream(100)
        for data, bounded in frames:
            stream.put(data, bounded=bounded)
            assert stream.waiting <= 100
            assert stream.over == stream.slow
        bounded_size = sum(len(data) for data, bounded in frames if bounded)
        assert stream.slow == (bounded_size > 100)
        if frames and not stream.over:
            found = b""
            async for piece in stream.read(60.0):
                found += piece
                if len(found) == sum(len(data) for data, _ in frames):
                    stream.end()
            assert found == b"".join(data for data, _ in frames)

    asyncio.run(run())


class Daemon:
    """Answers, or does not."""

    def __init__(self) -> None:
        self.at, self.asked, self.why = 0.0, 0, ""

    async def status(self) -> dict[str, Any]:
        self.asked += 1
        return body(service("a", backend("b1")))

    async def numbers(self) -> dict[str, Any]:
        self.at += 2.0
        if self.why:
            raise ControlError(self.why)
        return {"at": self.at, "known": [1], "services": [["a", [1, 2, 3, 4], None, []]]}


async def first(stream: Stream) -> bytes:
    """Return the next piece."""
    async for piece in stream.read(60.0):
        return piece
    return b""


def kinds(data: bytes) -> list[str]:
    return [line.partition(": ")[2] for line in data.decode().splitlines() if line.startswith("event: ")]


def test_a_picture_is_asked_for_and_made_once_for_all() -> None:
    async def run() -> None:
        daemon = Daemon()
        live = Live("1", daemon.status, daemon.numbers, History(), Pace(interval=600.0))
        streams = [live.join(None) for _ in range(5)]
        whole = ["hello", "overview", "services", "numbers"]
        found = b""
        while kinds(found) != whole:
            found += await first(streams[0])
        made = live._whole
        for stream in (*streams[1:], live.join(None)):
            assert kinds(await first(stream)) == whole
        assert daemon.asked == 1
        assert live._whole is made
        await live.close()
        assert not live.streams

    asyncio.run(run())


def test_a_daemon_that_does_not_answer_is_told_of_and_one_that_does_again() -> None:
    async def run() -> None:
        daemon = Daemon()
        daemon.why = "the daemon is still starting"
        live = Live("1", daemon.status, daemon.numbers, History(), Pace(interval=0.0))
        stream = live.join(None)
        found = b""
        while "gone" not in kinds(found):
            found += await first(stream)
        assert b'{"why":"the daemon is still starting"}' in found
        daemon.why = ""
        while "numbers" not in kinds(found):
            found += await first(stream)
        assert [kind for kind in kinds(found) if kind != "gone"][:4] == ["hello", "overview", "services", "numbers"]
        await live.close()

    asyncio.run(run())
