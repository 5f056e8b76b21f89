"""When a daemon has learned how things stand, and what it says then."""

from __future__ import annotations

import pytest

from appliance.control.learning import GRACE, TURN, Learning
from appliance.control.state import State
from appliance.model import Backend, Health, ServiceKey, Severity
from appliance.model_logging import Priority
from tests.unit.control.sample import DNS, TLS, WEB, Planner, address, config, service

UNKNOWN, UP, WRONG, DEAD = Health.UNKNOWN, Health.UP, Health.WRONG, Health.DEAD


def unjudged(*services: object) -> Planner:
    planner = Planner(State(config(*services)))  # type: ignore[arg-type]
    for one in planner.state.services():
        planner.health |= {(one.key, backend.address): UNKNOWN for backend in one.backends}
    return planner


def test_it_ends_with_the_last_first_verdict() -> None:
    planner, learning = unjudged(service(WEB, 1, 2), service(DNS, 1)), Learning()
    assert learning.begin(100.0, None) == {"learn_s": GRACE}
    assert learning.step(100.0, planner.plan(), planner.verdict) is None
    planner.set(WEB, {1: UP, 2: DEAD})
    assert [learning.step(at, planner.plan(), planner.verdict) for at in (101.0, 102.0, 103.0)] == [None] * 3
    planner.set(DNS, {1: WRONG})
    assert learning.step(104.0, planner.plan(), planner.verdict) is None
    over = learning.step(105.0, planner.plan(), planner.verdict)
    assert over is not None
    assert over.message == (
        f"after the start 1 of 2 VIPs down: 203.0.113.11 ({DNS} is down); 1 of 2 services down: {DNS}; "
        f"2 of 3 backends down: 10.1.10.2 of {WEB} and 10.1.10.1 of {DNS}"
    )
    assert over.severity is Severity.ERROR
    assert over.details["down"] == {"vips": 1, "services": 1, "backends": 2}
    assert not learning.on
    assert learning.step(106.0, planner.plan(), planner.verdict) is None


def test_it_ends_by_the_clock() -> None:
    planner, learning = unjudged(service(WEB, 1)), Learning()
    learning.begin(100.0, None)
    assert learning.step(100.0 + GRACE - 0.1, planner.plan(), planner.verdict) is None
    assert learning.step(100.0 + GRACE, planner.plan(), planner.verdict) is not None


def test_the_setting_decides() -> None:
    planner, learning = Planner(State(config(service(WEB, 1)))), Learning()
    assert learning.begin(100.0, 60.0) == {"learn_s": 60.0}
    assert [learning.step(at, planner.plan(), planner.verdict) for at in (101.0, 102.0, 159.9)] == [None] * 3
    over = learning.step(160.0, planner.plan(), planner.verdict)
    assert over is not None
    assert over.message == "after the start everything is up: 1 VIP, 1 service, 1 backend"
    assert over.severity is Severity.INFORMATIONAL
    learning.begin(200.0, 0.0)
    assert not learning.on


def test_nobody_waits_for_backends_that_are_disabled() -> None:
    planner = unjudged(service(TLS, backends=(Backend(address(2), enabled=False), Backend(address(3)))))
    planner.set(TLS, {3: UP})
    learning = Learning()
    learning.begin(100.0, None)
    found = [learning.step(at, planner.plan(), planner.verdict) for at in (100.0, 101.0)]
    assert found[1] is not None


def test_thousands_of_backends_are_looked_at_in_turns() -> None:
    services = [service(ServiceKey.parse(f"203.0.113.10:{port}/tcp"), *range(1, 101)) for port in range(1, 61)]
    planner, asked = Planner(State(config(*services))), 0

    def verdict(key: ServiceKey, of: object) -> Health:
        nonlocal asked
        asked += 1
        return UP

    made, learning = planner.plan(), Learning()
    learning.begin(100.0, None)
    for at in range(3):
        assert learning.step(100.0 + at, made, verdict) is None
        assert TURN * at < asked <= TURN * (at + 1)


@pytest.mark.parametrize(
    ("priority", "dead", "severity"),
    [
        (Priority.HIGH, (1, 2), Severity.WARNING),
        (Priority.LOW, (1, 2), Severity.INFORMATIONAL),
        (Priority.CRITICAL, (1,), Severity.NOTICE),
    ],
)
def test_how_grave_it_is(priority: Priority, dead: tuple[int, ...], severity: Severity) -> None:
    planner, learning = Planner(State(config(service(WEB, 1, 2, priority=priority)))), Learning()
    planner.set(WEB, dict.fromkeys(dead, DEAD))
    learning.begin(100.0, 5.0)
    over = learning.step(105.0, planner.plan(), planner.verdict)
    assert over is not None
    assert over.severity is severity
    assert over.details["backends_down"] == [f"10.1.10.{number} of {WEB}" for number in dead]
