"""A new service opens with verdicts on all its backends, or a second after the first good one; and stays open."""

from __future__ import annotations

import pytest

from appliance.control.plan import OPENING, OVERLOAD
from appliance.control.state import State
from appliance.dataplane.enums import State as Receives
from appliance.model import Backend, Health
from tests.unit.control.sample import TLS, WEB, Planner, address, config, service

HEALTHS = {"?": Health.UNKNOWN, "u": Health.UP, "w": Health.WRONG, "d": Health.DEAD}

# At which times, seconds after the start, the three backends stand so -> whether new flows have somewhere to go
STORIES = {
    "nothing is known": [(0, "???", False), (50, "???", False)],
    "all verdicts at once": [(0, "uuu", True)],
    "the last verdict opens": [(0, "u??", False), (0.3, "ud?", False), (0.4, "udw", True)],
    "a second after the first good one": [(0, "u??", False), (0.99, "u??", False), (1.0, "u??", True)],
    "bad ones do not begin the wait": [(0, "d??", False), (5, "dw?", False), (6, "dwu", True)],
    "the wait begins with the first good one": [
        (0, "d??", False),
        (5, "du?", False),
        (5.9, "du?", False),
        (6, "du?", True),
    ],
    "open is open": [(0, "uuu", True), (1, "u??", True), (2, "???", False), (2.1, "u??", True)],
    "a good one that goes again waits anew": [
        (0, "u??", False),
        (0.5, "d??", False),
        (3, "d??", False),
        (3.1, "du?", False),
        (4.05, "du?", False),
        (4.1, "du?", True),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_stories(story: list[tuple[float, str, bool]]) -> None:
    planner = Planner(State(config(service(WEB, 1, 2, 3))))
    for at, healths, expected in story:
        planner.set(WEB, {number: HEALTHS[letter] for number, letter in enumerate(healths, 1)})
        made = planner.plan(100.0 + at)
        (one,) = made.desired.services
        states = [member.state for member in one.members]
        assert (Receives.AVAILABLE in states) is expected, (at, states)
        # What nobody can reach is not announced.
        assert made.services[WEB].up is expected
        assert made.desired.vips == {WEB.vip: expected}
        assert made.services[WEB].available == states.count(Receives.AVAILABLE)


def test_draining_and_dead_ones_do_not_wait() -> None:
    planner = Planner(State(config(service(WEB, 1, 2, 3, 4))))
    planner.set(WEB, {1: Health.UP, 2: Health.DEAD, 3: Health.WRONG, 4: Health.UNKNOWN})
    (one,) = planner.plan().desired.services
    assert [member.state for member in one.members] == [
        Receives.NONE,
        Receives.DEAD,
        Receives.DRAINING,
        Receives.NONE,
    ]
    assert not any(member.weight for member in one.members)


def test_disabled_backends_are_not_waited_for() -> None:
    backends = (Backend(address(1)), Backend(address(2), enabled=False))
    planner = Planner(State(config(service(WEB, backends=backends))))
    planner.set(WEB, {2: Health.UNKNOWN})
    assert planner.plan().services[WEB].up


def test_when_the_next_one_is_due() -> None:
    planner = Planner(State(config(service(WEB, 1, 2), service(TLS, 1, 2))))
    planner.set(WEB, {2: Health.UNKNOWN})
    planner.set(TLS, {1: Health.UNKNOWN, 2: Health.UNKNOWN})
    assert planner.openings.next_due() is None
    planner.plan(100.0)
    assert planner.openings.next_due() == 100.0 + OPENING
    planner.set(TLS, {1: Health.UP})
    planner.plan(100.5)
    assert planner.openings.next_due() == 100.0 + OPENING
    planner.plan(101.0)
    assert planner.openings.next_due() == 100.5 + OPENING
    planner.plan(101.5)
    assert planner.openings.next_due() is None


def test_verdicts_that_are_here_already_are_waited_for() -> None:
    """For a while: one after the other opens once nobody is behind any more, or after OVERLOAD."""
    planner = Planner(State(config(service(WEB, 1, 2), service(TLS, 1, 2))))
    planner.set(WEB, {2: Health.UNKNOWN})
    planner.set(TLS, {2: Health.UNKNOWN})
    planner.openings.held = 103.5
    assert planner.openings.apart() == planner.openings
    planner.plan(100.0)
    assert planner.openings.next_due() == 103.5
    assert not planner.plan(103.4).services[WEB].up
    assert planner.openings.due(103.4) == []
    planner.openings.held = 200.0
    planner.set(TLS, {2: Health.UP})
    assert planner.plan(103.6).services[TLS].up, "there is nothing more to wait for"
    assert not planner.openings.waits(service(TLS, 1, 2), planner.verdict, 103.6)
    assert planner.openings.waits(service(WEB, 1, 2), planner.verdict, 103.6)
    assert planner.openings.due(100.0 + OVERLOAD) == [WEB]
    assert planner.plan(100.0 + OVERLOAD).services[WEB].up


def test_nothing_is_due_when_the_good_one_has_gone() -> None:
    planner = Planner(State(config(service(WEB, 1, 2))))
    planner.set(WEB, {2: Health.UNKNOWN})
    planner.plan(100.0)
    planner.set(WEB, {1: Health.DEAD})
    planner.plan(100.1)
    assert planner.openings.next_due() is None


def test_services_that_are_gone_are_forgotten() -> None:
    planner = Planner(State(config(service(WEB, 1, 2), service(TLS, 1, 2))))
    planner.set(TLS, {2: Health.UNKNOWN})
    planner.plan()
    assert (planner.openings.opened, set(planner.openings.since)) == ({WEB}, {TLS})
    planner.openings.keep(set())
    assert (planner.openings.opened, planner.openings.since) == (set(), {})
