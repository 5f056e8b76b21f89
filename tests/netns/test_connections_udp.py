"""UDP flows keep their backend while it lives, and move at once when it does not."""

from __future__ import annotations

import pytest

from tests.lab.topology import Lab
from tests.lab.traffic import DatagramReport, UdpFlows
from tests.netns.scenario import AT_STAKE, Scenario
from tests.netns.scenario_pool import UDP
from tests.netns.scenario_slots import Slots

pytestmark = [pytest.mark.root, pytest.mark.slow]

FLOWS = 100


def at_stake(scenario: Scenario, report: DatagramReport) -> set[int]:
    """Return the flows whose slot now belongs to another backend than the one that they began with."""
    with Slots(scenario.daemon.places.pins) as slots:
        return {
            flow.number
            for flow in report.flows
            if slots.place(UDP, flow.source, flow.port).now != scenario.address(flow.backends[0][1])
        }


def answers(scenario: Scenario, flows: UdpFlows, count: int = 2) -> DatagramReport:
    """Wait until every flow has been answered some more times, and return the accounts."""
    before = {flow.number: flow.answered for flow in flows.status().flows}

    def answered() -> bool:
        return all(flow.answered >= before[flow.number] + count for flow in flows.status().flows)

    scenario.wait("answers to all UDP flows", answered)
    return flows.status()


def test_udp_flows_stay_while_their_backend_lives() -> None:
    with (
        Scenario(Lab(backends=3), udp_grace=1) as scenario,
        UdpFlows(scenario.lab.client, count=FLOWS, interval=0.2, patience=0.5) as flows,
    ):
        stakes: set[int] = set()

        def check() -> None:
            report = answers(scenario, flows)
            stakes.update(at_stake(scenario, report))
            assert (report.moved, report.lost_at, report.corrupt) == ([], [], 0)

        assert at_stake(scenario, answers(scenario, flows)) == set()
        scenario.add_backend()
        scenario.check("added")
        check()
        scenario.wait("the grace to pass", lambda: scenario.forgotten(UDP))
        check()
        scenario.drain("b2", UDP)
        check()
        scenario.configure(weights=scenario.weights(b3=None))
        check()
        scenario.daemon.kill9()
        check()
        scenario.daemon.start()
        scenario.undrain("b2", UDP)
        check()
        assert len(stakes) >= AT_STAKE * FLOWS

        dead = {flow.number for flow in flows.status().flows if flow.backends[-1][1] == "b1"}
        assert dead
        scenario.kill("b1")
        scenario.check("killed", "b2", "b4")
        scenario.wait("the dead one's flows to move", lambda: {f.number for f in flows.status().moved} == dead)
        moved = answers(scenario, flows)
        assert {flow.number for flow in moved.moved} == dead
        assert {flow.backends[-1][1] for flow in moved.moved} <= {"b2", "b4"}
        report = flows.stop()
        assert [flow.number for flow in report.flows if flow.lost_at and flow.number not in dead] == []
        assert report.corrupt == 0
        print(
            f"{len(stakes)} of {FLOWS} UDP flows at stake, {len(dead)} on the dead backend, "
            f"lost {max(len(flow.lost_at) for flow in report.flows)} questions each at most"
        )
        scenario.finish()
