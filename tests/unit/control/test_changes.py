"""From plans to events: what went up or down, how grave that is, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from appliance.control.changes import Change, Changes
from appliance.control.plan import Plan, plan
from appliance.control.state import State
from appliance.control.trouble import some
from appliance.model import Backend, EventKind, Health, Host, Severity
from appliance.model_logging import Priority
from tests.unit.control.sample import DNS, ETH0, SEED, TLS, WEB, Planner, address, config, host, service

UP, DEAD = Health.UP, Health.DEAD
ALL_UP = {1: UP, 2: UP}
ALL_DEAD = {1: DEAD, 2: DEAD}


class Story:
    """A balancer of which one looks at what changes."""

    def __init__(self, *services: Any) -> None:
        self.planner = Planner(State(config(*services or (service(WEB, 1, 2), service(TLS, 1, 2), service(DNS, 1, 2)))))
        self.changes = Changes()
        self.last = self.plan()

    def plan(self, before: Plan | None = None, dirty: Any = None) -> Plan:
        one = self.planner
        return plan(
            one.state, one.verdict, one.host, seed=SEED, now=100.0, openings=one.openings, before=before, dirty=dirty
        )

    def look(self, dirty: Any = None) -> list[Change]:
        before, self.last = self.last, self.plan(self.last, dirty)
        return self.changes.look(before, self.last)

    def told(self, dirty: Any = None) -> list[tuple[str, str, str]]:
        """Return who changed, to what and why."""
        return [
            (
                str(one.fields.get("vip") or one.fields.get("service") or one.fields.get("interface")),
                one.fields["outcome"],
                one.fields["reason"],
            )
            for one in self.look(dirty)
        ]


def test_what_goes_down_and_up_again() -> None:
    story = Story()
    assert story.told() == []
    story.planner.set(WEB, {1: DEAD})
    assert story.told({WEB}) == []
    story.planner.set(WEB, ALL_DEAD)
    assert story.told({WEB}) == [
        (str(WEB), "down", "0 of 2 backends available"),
        ("203.0.113.10", "down", f"{WEB} is down"),
    ]
    story.planner.set(TLS, ALL_DEAD)
    assert story.told({TLS}) == [(str(TLS), "down", "0 of 2 backends available")]
    assert story.told() == []
    story.planner.set(WEB, ALL_UP)
    story.planner.set(TLS, {1: UP})
    assert story.told({WEB, TLS})[-1] == ("203.0.113.10", "up", "2 of 2 services up")


def test_the_event_of_a_vip() -> None:
    story = Story()
    story.planner.set(DNS, ALL_DEAD)
    (_, vip) = story.look({DNS})
    assert (vip.kind, vip.message) == (EventKind.VIP, f"VIP 203.0.113.11 down: {DNS} is down")
    assert vip.fields == {
        "vip": DNS.vip,
        "outcome": "down",
        "before": "up",
        "reason": f"{DNS} is down",
        "severity": Severity.ERROR,
    }


# priorities of the services of a VIP -> severity of its changes
SEVERITIES = [
    ((Priority.CRITICAL, Priority.LOW), Severity.ERROR),
    ((Priority.LOW, Priority.HIGH), Severity.WARNING),
    ((Priority.MEDIUM, Priority.LOW), Severity.NOTICE),
    ((Priority.LOW, Priority.LOW), Severity.INFORMATIONAL),
]


@pytest.mark.parametrize(("priorities", "severity"), SEVERITIES)
def test_a_vip_is_as_grave_as_its_gravest_service(priorities: tuple[Priority, Priority], severity: Severity) -> None:
    story = Story(service(WEB, 1, priority=priorities[0]), service(TLS, 1, priority=priorities[1]))
    for health in (DEAD, UP):
        story.planner.set(WEB, {1: health})
        assert [one.fields.get("severity") for one in story.look({WEB})] == [None, severity]


def test_a_service_that_the_vip_does_not_depend_on_is_no_reason() -> None:
    story = Story(service(WEB, 1, critical=False), service(TLS, 1))
    story.planner.set(WEB, {1: DEAD})
    assert [one.kind for one in story.look({WEB})] == [EventKind.SERVICE]
    story.planner.set(TLS, {1: DEAD})
    assert story.told({TLS})[-1] == ("203.0.113.10", "down", f"{TLS} is down")


def test_how_many_are_needed_is_said() -> None:
    story = Story(service(WEB, 1, 2, need=2))
    story.planner.set(WEB, {1: DEAD})
    assert story.told({WEB})[0] == (str(WEB), "down", "1 of 2 backends available, 2 needed")


def test_what_a_reload_changes_is_told_and_what_it_brings_or_takes_is_not() -> None:
    story = Story(service(WEB, 1, 2), service(DNS, 1, 2))
    story.planner.set(WEB, {1: DEAD})
    assert story.told({WEB}) == []
    changed = config(service(WEB, 1, 2, need=2), service(TLS, backends=(Backend(address(3)),)))
    story.planner.set(TLS, {3: DEAD})
    story.planner.state.reconfigure(changed, 1)
    # The plan that a reload makes is nobody's to tell; it is found by the next look.
    story.last = story.plan(story.last)
    assert [row[:2] for row in story.told(set())] == [(str(WEB), "down"), ("203.0.113.10", "down")]


def test_interfaces() -> None:
    story = Story()
    story.planner.host = Host((replace(ETH0, up=False),), host(1, 2).neighbours)
    assert ("eth0", "down", "no link, or switched off") in story.told()
    story.planner.host = Host((), {})
    assert all(row[0] != "eth0" for row in story.told())
    story.planner.host = host(1, 2)
    assert ("eth0", "up", "") in story.told()
    story.planner.host = Host((), {})
    assert ("eth0", "down", "it does not exist") in story.told()


@pytest.mark.parametrize(
    ("names", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcdefg", "a, b, c and 4 more")]
)
def test_some_names(names: str, text: str) -> None:
    assert some(list(names)) == text
