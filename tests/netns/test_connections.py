"""No established connection breaks: real TCP through everything that may happen to a pool of backends."""

from __future__ import annotations

import pytest

from appliance.errors import Vc5Error
from tests.lab.topology import Lab
from tests.netns.scenario import Scenario

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_changes_of_the_configuration() -> None:
    with Scenario(Lab(backends=3)) as scenario:
        scenario.add_backend()
        scenario.check("added")
        scenario.check_explain()
        scenario.configure(weights=scenario.weights(b1=4))
        scenario.check("weight changed")
        scenario.drain("b2")
        scenario.check("drained", "b1", "b3", "b4")
        scenario.undrain("b2")
        scenario.check("drain taken back")
        scenario.configure(weights=scenario.weights(b3=None))
        scenario.check("removed", "b1", "b2", "b4")
        assert not scenario.configure()["compiled"]
        scenario.check("reload without a change", "b1", "b2", "b4")
        for text in ("services: [", scenario.pool.text().replace("eth0", "[eth0, eth9]")):
            scenario.daemon.configuration_file.write_text(text)
            with pytest.raises(Vc5Error):
                scenario.ask("reload")
        scenario.check("reloads refused", "b1", "b2", "b4")
        assert scenario.configure(resetting_port=7001)["compiled"]
        scenario.check("reload with another program", "b1", "b2", "b4")
        assert scenario.configure(max_flows=1 << 16, unknown_port="pass")["compiled"]
        scenario.check("reload with another flow table", "b1", "b2", "b4")
        assert scenario.configure(crowds=8)["compiled"]
        scenario.check("reload with all tables larger", "b1", "b2", "b4")
        assert not scenario.configure(crowds=0)["compiled"]
        scenario.check("reload with many services fewer", "b1", "b2", "b4")
        scenario.configure(weights=scenario.weights(b3=2))
        scenario.check("put back")
        scenario.check_explain()
        scenario.finish()


def test_deaths_returns_and_many_changes_at_once() -> None:
    with Scenario(Lab(backends=4)) as scenario:
        for _ in range(3):
            scenario.lab.backends["b2"].set_alive(False)
            scenario.wait_available("b1", "b3", "b4")
            scenario.lab.backends["b2"].set_alive(True)
            scenario.wait_available("b1", "b2", "b3", "b4")
        scenario.check("flapped")

        scenario.drain("b1")
        scenario.configure(weights=scenario.weights(b4=3))
        scenario.check("two changes at once", "b2", "b3", "b4")

        scenario.lab.add_backend()
        scenario.lab.backends["b3"].set_alive(False)
        scenario.undrain("b1")
        scenario.configure(weights=scenario.weights(b5=2))
        scenario.check("three changes at once", "b1", "b2", "b4", "b5")
        scenario.check_explain()

        scenario.kill("b4")
        scenario.check("another one killed", "b1", "b2", "b5")
        for _ in range(2):
            scenario.revive("b4")
            scenario.wait_available("b1", "b2", "b4", "b5")
            scenario.kill("b4")
            scenario.wait_available("b1", "b2", "b5")
        scenario.check("another one flapped between death and life", "b1", "b2", "b5")

        scenario.kill("b2")
        scenario.lab.backends["b3"].set_alive(True)
        scenario.configure(weights=scenario.weights(b1=None, b5=1))
        scenario.revive("b4")
        scenario.check("a death, a removal, a weight and two returns at once", "b3", "b4", "b5")
        scenario.finish()


def test_a_removed_backend_keeps_its_connections_until_its_time_is_over() -> None:
    with Scenario(Lab(backends=3), drain_timeout=4) as scenario:
        scenario.configure(weights=scenario.weights(b3=None))
        scenario.check("removed", "b1", "b2")
        scenario.expect_end("b3")
        scenario.wait("the end of b3's drain", lambda: "b3" not in scenario.states())
        scenario.check("let go", "b1", "b2")
        assert scenario.ended("b3"), "nothing goes to a removed backend any more"
        scenario.finish()


def test_connections_outlive_the_tracking() -> None:
    """With a short `idle` the daemon settles slots while connections live; only what needs tracking stays tracked."""
    idle = 3
    with Scenario(Lab(backends=3), idle=idle, udp_grace=1, idle_flows=0) as scenario:
        scenario.add_backend()
        scenario.check("added")
        scenario.wait("slots to be settled", lambda: scenario.tracked() == scenario.diverted(), 6 * idle)
        assert scenario.diverted(), "connections of the former owners pin their slots"
        scenario.check("settled")
        scenario.drain("b1")
        scenario.check("drained", "b2", "b3", "b4")
        scenario.wait("slots to be settled", lambda: scenario.tracked() == scenario.diverted(), 6 * idle)
        scenario.undrain("b1")
        scenario.check("drain taken back")
        scenario.finish()
        scenario.wait("all slots to be settled", lambda: scenario.tracked() == set(), 6 * idle)
