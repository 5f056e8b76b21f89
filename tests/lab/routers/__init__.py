"""Real routers as judges: BIRD 2, FRR and GoBGP, each in a namespace, on a configuration made from `Setup`.

    setup = Setup(65000, "10.1.10.1", (Neighbour("10.1.10.5", 65001, families=(4, 6)),))
    with Bird(lab.router, lab.directory / "bird", setup) as bird:
        bird.wait_established("10.1.10.5")
        bird.routes(4)                  what it has learnt: {IPv4Network("203.0.113.10/32"): [Learned(...)]}
        bird.kernel_routes()            what it forwards by
        bird.changes("203.0.113.10")    every change of that route since the start, none missed

What is asserted is read from the router; none of this knows anything of the program that is tested.
"""

from tests.lab.routers.bird import Bird
from tests.lab.routers.frr import Frr
from tests.lab.routers.gobgp import Gobgp
from tests.lab.routers.router import Router, missing_daemons
from tests.lab.routers.terms import Announced, Change, Learned, Neighbour, Restarting, Session, Setup

KINDS: tuple[type[Router], ...] = (Bird, Frr, Gobgp)

__all__ = [
    "KINDS",
    "Announced",
    "Bird",
    "Change",
    "Frr",
    "Gobgp",
    "Learned",
    "Neighbour",
    "Restarting",
    "Router",
    "Session",
    "Setup",
    "missing_daemons",
]
