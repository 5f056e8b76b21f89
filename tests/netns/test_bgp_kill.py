"""A daemon that is killed just after a VIP has died: the next one does not announce it again before it lives again."""

from __future__ import annotations

import time

import pytest

from tests.lab.addresses import VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup, missing_daemons
from tests.lab.routers.terms import prefix_of
from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration, probes, wait_states

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons((Bird,))), reason=missing_daemons((Bird,)) or "it is there"),
]
ROUTER, US = "10.1.10.1", "10.1.10.5"
TOP = f"""hold_down: 0
router_id: {US}
bgp: {{as_number: 65001, peers: [{ROUTER}]}}
"""
ROUNDS = 3


def test_what_was_withdrawn_stays_so() -> None:
    setup = Setup(65000, ROUTER, (Neighbour(US, 65001),))
    with Lab(backends=1) as lab, Bird(lab.router, lab.directory / "bird", setup) as bird:
        b1, text = lab.backends["b1"], configuration(servers="10.1.10.11", top=TOP)

        def known() -> bool:
            return prefix_of(VIP) in bird.routes(4)

        with Daemon(lab.balancer, lab.root(), text) as daemon:
            for _ in range(ROUNDS):
                wait_for("the route", known)
                wait_states(daemon, b11="available")
                b1.set_alive(False)
                wait_for("the route to go", lambda: not known())
                # What is saved at once is saved by then; what is saved each second mostly is not.
                time.sleep(0.1)
                ways = len(bird.changes(VIP))
                daemon.kill9()
                started = time.time()
                daemon.start()
                wait_for("verdicts of its own", lambda: probes(daemon, started) > 10)  # noqa: B023
                assert len(bird.changes(VIP)) == ways
                b1.set_alive(True)
