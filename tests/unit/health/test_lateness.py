"""How late probes start is counted in steps, and a heartbeat takes the counts with it."""

from __future__ import annotations

import pytest

from appliance.health.lateness import COUNTS, STEPS, Lateness
from appliance.health.schedule import Schedule
from appliance.model import Check, CheckKind

NOTHING = (0,) * COUNTS


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        (-1.0, 0),
        (0.0, 0),
        (0.02, 0),
        (0.021, 1),
        (0.2, STEPS.index(0.2)),
        (0.2001, STEPS.index(0.2) + 1),
        (1.0, COUNTS - 2),
        (60.0, COUNTS - 1),
    ],
)
def test_a_start_is_counted_in_its_step(seconds: float, step: int) -> None:
    lateness = Lateness()
    lateness.note(seconds)
    assert lateness.take() == (tuple(int(at == step) for at in range(COUNTS)), max(0.0, seconds))
    assert lateness.take() == (NOTHING, 0.0)


def test_a_probe_is_late_by_what_passed_since_it_was_due_until_it_really_began() -> None:
    schedule = Schedule(lambda: 0.0, 10)
    schedule.configure({1: Check(CheckKind.TCP, 80), 2: Check(CheckKind.TCP, 81)}, 100.0)
    assert schedule.start_due(100.3, 10) == [1, 2]
    assert schedule.lateness.take() == (NOTHING, 0.0)
    schedule.begun(1, 100.6)  # due at 100.0
    schedule.begun(2, 100.26)  # due at 100.25
    schedule.begun(3, 999.0)  # removed in between
    counts, worst = schedule.lateness.take()
    assert counts == (1, 0, 0, 0, 0, 1, 0)
    assert worst == pytest.approx(0.6)
