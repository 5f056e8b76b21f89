"""Slow start: who gains its share in steps, and who has it at once; through reloads and restarts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from appliance.control.plan import plan
from appliance.control.ramps import STEPS, Ramps
from appliance.control.shares import Shares
from appliance.control.state import State
from appliance.dataplane import maglev
from appliance.dataplane.enums import State as Receives
from appliance.dataplane.shape import slot_count
from appliance.model import Address, Health, Service
from tests.unit.control.sample import SEED, TLS, WEB, Planner, address, config, service

NONE, DEAD, DRAINING, AVAILABLE = Receives.NONE, Receives.DEAD, Receives.DRAINING, Receives.AVAILABLE
SLOW = 60.0


def slow(*numbers: int) -> Service:
    return service(WEB, *numbers, slow_start=SLOW)


def shares(ramps: Ramps, states: dict[int, Receives], time: int, of: Service | None = None) -> dict[int, int]:
    """The steps of the available backends after a look; nothing where all have everything."""
    one = of or slow(*states)
    by_address: dict[Address, Receives] = {address(number): state for number, state in states.items()}
    ramps.look(one, by_address, time)
    return {int(found) & 0xFF: step for found, step in ramps.steps(one, by_address, time).items()}


def test_the_first_start_has_no_slow_start() -> None:
    ramps = Ramps()
    assert shares(ramps, {1: NONE, 2: NONE, 3: NONE}, 1) == {}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE, 3: NONE}, 2) == {}
    # Its first verdict came later; but nothing bad was ever known of it.
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE, 3: AVAILABLE}, 20) == {}


@pytest.mark.parametrize("away", [DEAD, DRAINING])
def test_who_comes_back_gains_its_share_in_steps(away: Receives) -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 1)
    assert shares(ramps, {1: AVAILABLE, 2: away}, 5) == {}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10) == {1: STEPS, 2: 1}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 25) == {1: STEPS, 2: STEPS // 4}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 69) == {1: STEPS, 2: STEPS * 59 // 60}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 70) == {}
    assert ramps.since == {}


def test_who_dies_again_begins_again() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 1)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10)
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 40)
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 50) == {1: STEPS, 2: 1}


def test_a_dead_one_at_the_start_is_gentle_when_it_comes() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: NONE}, 1)
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 3)
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10) == {1: STEPS, 2: 1}


def test_a_new_backend_is_gentle() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE}, 1)
    assert shares(ramps, {1: AVAILABLE, 2: NONE}, 5) == {}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 6) == {1: STEPS, 2: 1}


def test_who_comes_back_to_nobody_has_it_all() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 1)
    shares(ramps, {1: DEAD, 2: DEAD}, 5)
    assert shares(ramps, {1: AVAILABLE, 2: DEAD}, 10) == {}
    assert shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 20) == {1: STEPS, 2: 1}


def test_steps_are_due_one_at_a_time() -> None:
    ramps, one = Ramps(), slow(1, 2)
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 1)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10)
    changes = 0
    for time in range(10, 80):
        if ramps.due([one], time):
            changes += 1
            shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, time)
    assert changes == SLOW - 1
    long = replace(one, slow_start=3600.0)
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 100, long)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 100, long)
    due = [time for time in range(100, 3800) if ramps.due([long], time) and shares_given(ramps, long, time)]
    assert len(due) == STEPS - 1


def shares_given(ramps: Ramps, one: Service, time: int) -> bool:
    """Take the step."""
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, time, one)
    return True


def test_a_restart_goes_on() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 1)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10)
    again = Ramps(known={WEB}, present={(WEB, address(1)), (WEB, address(2))})
    assert again.restore(json.loads(json.dumps(ramps.snapshot()))) == 0
    assert shares(again, {1: AVAILABLE, 2: AVAILABLE}, 40) == {1: STEPS, 2: STEPS // 2}
    # Without tables everything begins with its share; a clock that has begun anew is no reason to wait either.
    fresh = Ramps()
    fresh.restore(ramps.snapshot())
    assert shares(fresh, {1: AVAILABLE, 2: AVAILABLE}, 2) == {}


@pytest.mark.parametrize("saved", [None, 7, {}, [1], [[]], [["a", "b", 1]], [[str(WEB), "10.0.0.1", "x"]]])
def test_a_damaged_state_file_is_no_trouble(saved: object) -> None:
    ramps = Ramps()
    assert ramps.restore(saved) == (len(saved) if isinstance(saved, list) else 0)
    assert ramps.since == {}


def test_services_that_are_gone_are_forgotten() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 1)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10)
    ramps.keep({TLS})
    assert ramps == Ramps()


def test_the_plan_weighs_by_steps() -> None:
    planner, share = Planner(State(config(slow(1, 2), service(TLS, 1, 2)))), Shares()

    def weights(time: int) -> dict[str, list[int]]:
        made = plan(
            planner.state,
            planner.verdict,
            planner.host,
            seed=SEED,
            now=100.0,
            openings=planner.openings,
            shares=share,
            time=time,
        )
        return {str(one.key): [member.weight for member in one.members] for one in made.desired.services}

    assert weights(1) == {str(TLS): [1, 1], str(WEB): [1, 1]}
    planner.set(WEB, {2: Health.DEAD})
    assert weights(2) == {str(TLS): [1, 1], str(WEB): [1, 0]}
    planner.set(WEB, {2: Health.UP})
    assert weights(3) == {str(TLS): [1, 1], str(WEB): [STEPS, 1]}
    assert weights(33) == {str(TLS): [1, 1], str(WEB): [STEPS, STEPS // 2]}
    assert weights(63) == {str(TLS): [1, 1], str(WEB): [1, 1]}


def unsaved(ramps: Ramps) -> bool:
    """As it is now, whatever it was before."""
    return ramps.unsaved


def test_a_beginning_is_unsaved_until_it_has_been_put_down() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 1)
    assert not unsaved(ramps)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10)
    assert unsaved(ramps)
    assert ramps.snapshot() == [[str(WEB), str(address(2)), 10]]
    assert not unsaved(ramps)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 70)
    assert ramps.since == {}
    assert not unsaved(ramps), "an end need not be known after a crash"
    shares(ramps, {1: DEAD, 2: AVAILABLE}, 80)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 90)
    assert unsaved(ramps)


def test_a_backend_that_begins_anew_after_it_was_saved_is_unsaved() -> None:
    ramps = Ramps()
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 1)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 10)
    ramps.snapshot()
    shares(ramps, {1: AVAILABLE, 2: DEAD}, 20)
    shares(ramps, {1: AVAILABLE, 2: AVAILABLE}, 30)
    assert unsaved(ramps)


@pytest.mark.parametrize("backends", [2, 4, 10, 40])
def test_a_ramp_changes_few_more_slots_than_one_step_would(backends: int) -> None:
    """The sum over all steps: what slow start costs the flow table."""
    count = slot_count(backends)

    def table(step: int) -> list[int]:
        weights = [STEPS] * (backends - 1) + [step]
        members = [(address(n), weight) for n, weight in enumerate(weights, 1) if weight]
        return list(maglev.table(members, count))

    moved, before = set[int](), table(0)
    once = sum(one != other for one, other in zip(before, table(STEPS), strict=True))
    changes = 0
    for step in range(1, STEPS + 1):
        now = table(step)
        differing = {slot for slot in range(count) if now[slot] != before[slot]}
        moved |= differing
        changes += len(differing)
        before = now
    print(f"{backends} backends: {once} slots at once, {len(moved)} in steps, {changes} changes")
    assert len(moved) <= 1.5 * once
    assert once >= count / backends - 2
