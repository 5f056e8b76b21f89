"""BFD and BGP of one daemon: a router that falls silent costs the session at once, and gets it back when it speaks."""

from __future__ import annotations

import time

import pytest

from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup, missing_daemons
from tests.lab.topology import Lab
from tests.netns.bgp_scene import peers, wait_peer
from tests.netns.scenario_operator import configuration

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing_daemons((Bird,))), reason=missing_daemons((Bird,)) or "it is there"),
]
ROUTER, US = "10.1.10.1", "10.1.10.5"
TOP = f"""hold_down: 0
router_id: {US}
bgp: {{as_number: 65001, hold_time: 90, bfd: yes, peers: [{ROUTER}]}}
"""


def test_a_router_that_falls_silent_costs_the_session_long_before_the_hold_time() -> None:
    setup = Setup(65000, ROUTER, (Neighbour(US, 65001, hold_time=90, bfd=0.3),))
    with Lab(backends=1) as lab, Bird(lab.router, lab.directory / "bird", setup) as bird:
        text = configuration(servers="10.1.10.11", top=TOP)
        with Daemon(lab.balancer, lab.root(), text) as daemon:
            wait_peer(daemon, ROUTER, "established")
            wait_for("BFD", lambda: (peers(daemon)[ROUTER]["bfd"] or {}).get("state") == "up")
            bird.pause()
            began = time.monotonic()
            try:
                wait_for("the end", lambda: peers(daemon)[ROUTER]["state"] != "established", 20)
                print(f"closed after {time.monotonic() - began:.2f} s")
                error = peers(daemon)[ROUTER]["last_end"] or peers(daemon)[ROUTER]["last_error"]
                assert (error["direction"], error["code"], error["subcode"]) == ("sent", 6, 10)
                assert error["text"].startswith("BFD: ")
            finally:
                bird.resume()
            wait_peer(daemon, ROUTER, "established", 45)
