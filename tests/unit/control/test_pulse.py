"""The stopwatch of the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from appliance.control import pulse
from appliance.control.pulse import STALL, Pulse


def test_the_longest_turn_and_the_stalls() -> None:
    stopwatch = Pulse()
    for wall, cpu in ((0.001, 0.001), (STALL * 2, 0.002), (STALL * 1.5, STALL * 1.2), (0.003, 0.003)):
        stopwatch.turned(wall, cpu)
    turns = stopwatch.turns()
    assert (turns.longest, turns.longest_cpu) == (STALL * 2, STALL * 1.2)
    assert (turns.recent, turns.recent_cpu) == (turns.longest, turns.longest_cpu)
    assert (turns.stalls, turns.stalls_cpu) == (2, 1)
    stopwatch.close()


def test_what_is_long_ago_is_not_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    stopwatch, now = Pulse(), [1000.0]
    monkeypatch.setattr(pulse, "monotonic", lambda: now[0])
    stopwatch.turned(0.2, 0.1)
    now[0] += pulse.WINDOW
    stopwatch.turned(0.01, 0.01)
    assert stopwatch.turns().recent == 0.2
    now[0] += pulse.WINDOW
    assert stopwatch.turns().recent == 0.01
    now[0] += 5 * pulse.WINDOW
    turns = stopwatch.turns()
    assert (turns.recent, turns.longest) == (0.0, 0.2)
    stopwatch.close()


def test_a_loop_that_is_kept_busy_is_noticed() -> None:
    stopwatch = Pulse()

    async def busy() -> None:
        await asyncio.sleep(0.001)
        until = time.thread_time() + STALL * 1.2
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=stopwatch.loop) as runner:
        runner.run(busy())
    assert stopwatch.turns().stalls_cpu == 1
    assert stopwatch.turns().longest_cpu > STALL
