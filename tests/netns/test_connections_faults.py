"""That the tests of connections would notice: with a fault put into a copy of the product, connections break."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.topology import Lab
from tests.netns.scenario import Scenario
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_pool import TCP

pytestmark = [pytest.mark.root, pytest.mark.slow]

IDLE = 3
"""Seconds: connections talk more often, so that a sound product keeps them (test_connections.py shows it)."""


def one_change(scenario: Scenario) -> None:
    name = scenario.add_backend()
    scenario.wait_available(*scenario.lab.backends)
    scenario.talk(f"{name} added")


def two_changes(scenario: Scenario) -> None:
    """Connections that began between the changes belong neither to the first owner of their slot nor to the last."""
    one_change(scenario)
    scenario.flows.more(60)
    scenario.drain("b4")
    scenario.wait_available("b1", "b2", "b3")
    scenario.talk("b4 drained")


def larger_flow_table(scenario: Scenario) -> None:
    two_changes(scenario)
    scenario.configure(max_flows=1 << 15)
    scenario.talk("reloaded")


def time_passes(scenario: Scenario) -> None:
    one_change(scenario)
    scenario.wait("the former owners to be forgotten", lambda: scenario.forgotten(TCP))
    scenario.talk("forgotten")


def killed(scenario: Scenario) -> None:
    one_change(scenario)
    scenario.daemon.kill9()
    scenario.daemon.start()
    scenario.talk("went on")


TRACKING = "templates/bpf/tracking.h"
FAULTS = {
    "tracked slots count as settled": (
        Fault("templates/bpf/main.h", "\tvc5_opaque(word);\n", "\tword &= VC5_TRACKED - 1;\n\tvc5_opaque(word);\n"),
        one_change,
    ),
    "older flows go to the new owner": (
        Fault(TRACKING, "was = vc5_histories[slot].was;", "was = now;"),
        one_change,
    ),
    "older flows are not remembered": (
        Fault(TRACKING, "if ((was != now || asked || all) && !(flags & VC5_TCP_RST))", "if (0)"),
        time_passes,
    ),
    "new flows are not remembered": (
        Fault(TRACKING, "if (now && (now != was || way || asked || all))", "if (0)"),
        two_changes,
    ),
    "remembered flows are not found": (Fault(TRACKING, "seen >> VC5_WAY_TAG_SHIFT == tag", "seen == tag"), two_changes),
    "a larger flow table begins empty": (
        Fault("appliance/dataplane/carry.py", "for share in range(factor):", "for share in ():"),
        larger_flow_table,
    ),
    "a restarted daemon settles what was tracked": (
        Fault(
            "appliance/dataplane/slots.py",
            "Marks(self.count, (number for",
            "self.clear() or Marks(self.count, (number for",
        ),
        killed,
    ),
}


@pytest.mark.parametrize(("fault", "story"), FAULTS.values(), ids=FAULTS)
def test_a_fault_breaks_connections(fault: Fault, story: Callable[[Scenario], None]) -> None:
    with (
        faulty_copy(fault) as environment,
        Scenario(Lab(backends=3), environment=environment, idle=IDLE, udp_grace=1, idle_flows=0) as scenario,
    ):
        with pytest.raises(AssertionError, match=r"\d+ connections broke"):
            story(scenario)
        scenario.wait("many connections to break", lambda: scenario.look() >= 5)


def test_without_a_fault_the_same_stories_break_nothing() -> None:
    with Scenario(Lab(backends=3), idle=IDLE, udp_grace=1, idle_flows=0) as scenario:
        larger_flow_table(scenario)
        scenario.configure(weights=scenario.weights(b1=4))
        scenario.wait("the former owners to be forgotten", lambda: scenario.forgotten(TCP))
        scenario.daemon.kill9()
        scenario.daemon.start()
        scenario.talk("went on")
        scenario.finish()
