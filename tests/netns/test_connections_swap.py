"""No connection breaks that begins while one program takes over from another, even if the daemon dies over it.

The moment between copying the flow table and going on from the old one is short; a copy of the product is held in it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.errors import ControlError
from tests.lab.topology import Lab
from tests.netns import scenario_kill
from tests.netns.scenario import Scenario
from tests.netns.scenario_fault import Fault, faulty_copy

pytestmark = [pytest.mark.root, pytest.mark.slow]

HOLD = Fault(
    "appliance/dataplane/sync.py",
    "            self._update_links(old, new)\n",
    """            import time
            while Path("hold").exists():
                time.sleep(0.01)
            self._update_links(old, new)
            if Path("die").exists():
                os.kill(os.getpid(), 9)
""",
)
"""Files in the daemon's working directory, its root, tell it when to wait for connections, and when to die."""


@contextmanager
def swap_with_connections(scenario: Scenario) -> Iterator[None]:
    """Reload with a larger flow table, and open connections after the smaller one was copied; then let it go on."""
    scenario.configure(weights=scenario.weights(b1=8))
    scenario.check("weight changed")
    hold = scenario.daemon.root / "hold"
    hold.touch()
    pinned = scenario_kill.generation_pinned(scenario)

    def reload() -> None:
        try:
            scenario.configure(max_flows=1 << 15)
        except ControlError:
            pass  # the daemon died over it

    thread = threading.Thread(target=reload, name="reload")
    thread.start()
    try:
        scenario.wait("the new generation", pinned)
        scenario.flows.more(100)
        yield
    finally:
        hold.unlink()
        thread.join()


def test_connections_that_begin_during_a_swap() -> None:
    with faulty_copy(HOLD) as environment, Scenario(Lab(backends=3), environment=environment) as scenario:
        with swap_with_connections(scenario):
            pass
        scenario.check("swapped")
        scenario.finish()


def test_connections_that_begin_during_a_swap_that_is_cut_short() -> None:
    with faulty_copy(HOLD) as environment, Scenario(Lab(backends=3), environment=environment) as scenario:
        die = scenario.daemon.root / "die"
        with swap_with_connections(scenario):
            die.touch()
        scenario.wait("the daemon to die", lambda: not scenario.daemon.running)
        die.unlink()
        scenario.daemon.start()
        scenario.check("went on")
        scenario.finish()
