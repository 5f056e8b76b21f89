"""No established connection breaks when the daemon ends, is killed, or is killed in the middle of a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.topology import Lab
from tests.netns import scenario_kill
from tests.netns.scenario import Scenario
from tests.netns.scenario_fault import Fault, faulty_copy
from tests.netns.scenario_kill import Moment, kill_during_reload

pytestmark = [pytest.mark.root, pytest.mark.slow]

ALL = ("b1", "b2", "b3", "b4")


def test_restarts_and_kills() -> None:
    with Scenario(Lab(backends=3)) as scenario:
        scenario.add_backend()
        scenario.check("added")

        scenario.leave()
        scenario.talk("restarting")
        scenario.daemon.start()
        scenario.check("restarted")

        scenario.daemon.kill9()
        scenario.talk("killed")
        scenario.daemon.start()
        scenario.check("went on")
        scenario.check_explain()

        scenario.drain("b2")
        scenario.daemon.kill9()
        scenario.daemon.start()
        scenario.check("drained, and killed at once", "b1", "b3", "b4")

        scenario.daemon.kill9()
        scenario.daemon.start()
        scenario.undrain("b2")
        scenario.configure(weights=scenario.weights(b1=3))
        scenario.check("changed as soon as it was back")

        scenario.daemon.kill9()
        scenario.write(weights=scenario.weights(b3=None))
        scenario.talk("a backend taken out of the file while no daemon runs")
        scenario.daemon.start()
        scenario.check("taken out", "b1", "b2", "b4")
        assert scenario.states()["b3"] == "draining"

        scenario.daemon.kill9()
        scenario.write(resetting_port=7001, weights=scenario.weights(b3=1))
        scenario.daemon.start()
        scenario.check("started with another program")

        scenario.kill("b2")
        scenario.daemon.kill9()
        scenario.talk("a backend and the daemon killed")
        scenario.daemon.start()
        scenario.check("found out", "b1", "b3", "b4")
        scenario.finish()


@pytest.mark.appliance
def test_killed_at_ten_times_of_a_reload() -> None:
    """The reload adds or removes a backend and changes weights; every second one also needs another program."""
    with Scenario(Lab(backends=4)) as scenario:
        weights = (scenario.weights(b1=3, b4=None), scenario.weights(b1=2))
        settings: list[dict[str, Any]] = [{"weights": weights[0]}, {"weights": weights[1], "resetting_port": 7001}]
        seconds = [float(scenario.configure(**setting)["seconds"]) for setting in settings]
        scenario.check("reloaded")
        for number in range(10):
            kind, round_ = number % 2, number // 2
            moment = scenario_kill.after(seconds[kind] * (round_ + 0.5) / 5)
            port = 7001 + round_ % 2 if kind else scenario.pool.resetting_port
            kill_during_reload(scenario, moment, weights=weights[kind], resetting_port=port)
            scenario.daemon.start()
            scenario.check(f"killed in {('the tables', 'the program')[kind]}, {round_}", *(ALL if kind else ALL[:3]))
        scenario.finish()


STEPS: tuple[Callable[[Scenario], Moment], ...] = (
    scenario_kill.generation_begun,
    scenario_kill.generation_pinned,
    scenario_kill.generation_swapped,
    scenario_kill.state_written,
    scenario_kill.histories_changing,
    scenario_kill.slots_changing,
)


@pytest.mark.appliance
def test_killed_between_the_steps_of_a_reload() -> None:
    """Each reload changes the program, the size of the flow table, and the owners of slots."""
    with Scenario(Lab(backends=4)) as scenario:
        scenario.configure(weights=scenario.weights(b1=3))
        for number, step in enumerate(STEPS):
            there = number % 2 == 1
            kill_during_reload(
                scenario,
                step(scenario),
                weights=scenario.weights(b4=1 if there else None),
                max_flows=scenario.pool.max_flows * 2,
            )
            scenario.talk(f"killed at {step.__name__}")
            scenario.daemon.start()
            scenario.check(f"went on after {step.__name__}", *(ALL if there else ALL[:3]))
        scenario.finish()


def test_settled_connections_survive_a_stop_and_a_start() -> None:
    """A clean stop removes everything; but the same configuration gives the same table again."""
    with Scenario(Lab(backends=3)) as scenario:
        assert scenario.daemon.stop() == 0
        assert scenario.daemon.leftovers() == []
        scenario.daemon.start()
        scenario.check("stopped and started")
        assert scenario.daemon.running
        assert scenario.flows.stop().broken == []


CRASH = Fault(
    "appliance/control/daemon.py",
    "        self.watch.refresh(now)\n",
    '        self.watch.refresh(now)\n        if Path("crash").exists():\n            raise RuntimeError("a defect")\n',
)
"""The daemon's working directory is its root."""


def test_a_daemon_that_ends_over_a_defect_leaves_the_data_plane() -> None:
    with faulty_copy(CRASH) as environment, Scenario(Lab(backends=3), environment=environment) as scenario:
        scenario.configure(weights=scenario.weights(b1=4))
        scenario.check("weight changed")
        crash = scenario.daemon.root / "crash"
        crash.touch()
        scenario.wait("the daemon to end", lambda: not scenario.daemon.running)
        assert scenario.daemon.exit_status == 1
        scenario.talk("ended")
        crash.unlink()
        scenario.daemon.start()
        scenario.check("started again")
        scenario.finish()
