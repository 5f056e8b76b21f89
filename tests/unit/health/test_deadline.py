"""The time of one probe, on an event loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator

import pytest

from appliance.health.probes.deadline import STALL, Deadline


class MovedLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock that stands still until the test moves it."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def turn(self, now: float, turns: int = 5) -> None:
        """Move the clock and let everything that is ready run."""
        self.now = now
        for _ in range(turns):
            self.call_soon(self.stop)
            self.run_forever()


@pytest.fixture
def loop() -> Iterator[MovedLoop]:
    made = MovedLoop()
    yield made
    made.close()


def waiting(loop: MovedLoop, wait: Callable[[], Coroutine[None, None, bool]]) -> asyncio.Task[bool]:
    task = loop.create_task(wait())
    loop.turn(loop.now)
    assert not task.done()
    return task


def test_it_ends_the_wait_on_time(loop: MovedLoop) -> None:
    deadline = Deadline(loop, 1.0)
    task = waiting(loop, deadline.wait)
    loop.turn(0.99)
    assert not task.done()
    loop.turn(1.0)
    assert isinstance(task.exception(), TimeoutError)
    with pytest.raises(TimeoutError):
        loop.run_until_complete(deadline.wait())


def test_what_has_arrived_counts(loop: MovedLoop) -> None:
    deadline = Deadline(loop, 1.0)
    task = waiting(loop, deadline.wait)
    deadline.wake()
    deadline.wake()
    loop.turn(1.0)
    assert task.result() is True
    with pytest.raises(TimeoutError):
        loop.run_until_complete(deadline.wait())


def test_a_stalled_loop_gives_the_time_back_once(loop: MovedLoop) -> None:
    deadline = Deadline(loop, 1.0)
    task = waiting(loop, deadline.wait)
    loop.turn(50.0)
    assert not task.done()
    loop.turn(50.9)
    assert not task.done()
    loop.turn(90.0)
    assert isinstance(task.exception(), TimeoutError)


def test_a_short_stall_is_given_back_as_long_as_it_was(loop: MovedLoop) -> None:
    deadline = Deadline(loop, 1.0)
    task = waiting(loop, deadline.wait)
    loop.turn(1.0 + 2 * STALL)
    assert not task.done()
    loop.turn(1.0 + 4 * STALL)
    assert isinstance(task.exception(), TimeoutError)


def test_a_pause_is_no_deadline(loop: MovedLoop) -> None:
    deadline = Deadline(loop, 10.0)
    task = waiting(loop, lambda: deadline.wait(1.0))
    loop.turn(1.0)
    assert task.result() is False
    task = waiting(loop, lambda: deadline.wait(1.0))
    deadline.wake()
    loop.turn(1.5)
    assert task.result() is True
    task = waiting(loop, lambda: deadline.wait(100.0))
    loop.turn(10.0)
    assert isinstance(task.exception(), TimeoutError)


def test_closed_it_does_nothing_any_more(loop: MovedLoop) -> None:
    deadline = Deadline(loop, 1.0)
    deadline.close()
    task = waiting(loop, deadline.wait)
    loop.turn(5.0)
    assert not task.done()
    task.cancel()
    loop.turn(5.0)
