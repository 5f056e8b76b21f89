"""Which VIPs are up: all, any, what is not critical, what has not been judged; and when fallbacks come in."""

from __future__ import annotations

import pytest

from appliance.control.plan import Openings, plan
from appliance.control.receivers import receivers
from appliance.control.state import State
from appliance.control.vips import ServiceState, vip_up
from appliance.model import Address, Backend, Health, ServiceKey
from tests.unit.control.sample import SEED, TLS, WEB, Planner, address, config, drained, host, service

STATES = {"u": ServiceState(True, 1), "d": ServiceState(False, 0), "p": ServiceState(False, 0, True)}

# Services of a VIP, critical ones in capitals (U up, D down, P pending); vip_up any; was it up -> is it up
VIPS = [
    ("U", False, False, True),
    ("UU", False, False, True),
    ("UD", False, True, False),
    ("UD", True, False, True),
    ("DD", True, True, False),
    ("Ud", False, False, True),
    ("Du", False, True, False),
    ("Du", True, True, False),
    ("ud", False, False, True),
    ("dd", False, True, False),
    # a new port: the VIP stays what it was
    ("UP", False, True, True),
    ("UP", False, False, False),
    ("P", False, True, True),
    ("P", False, False, False),
    ("DP", False, True, False),
    ("DP", True, True, True),
    ("DP", True, False, False),
    ("Up", False, False, True),
    ("pd", False, True, True),
]


@pytest.mark.parametrize(("services", "any_", "before", "up"), VIPS)
def test_a_vip(services: str, any_: bool, before: bool, up: bool) -> None:
    pairs = [(service(WEB, 1, critical=one.isupper(), vip_any=any_), STATES[one.lower()]) for one in services]
    assert vip_up(pairs, before) is up


def test_a_new_port_neither_withdraws_a_vip_nor_counts_as_healthy() -> None:
    planner = Planner(State(config(service(WEB, 1, 2))))
    first = planner.plan()
    assert first.desired.vips == {WEB.vip: True}
    planner.state.reconfigure(config(service(WEB, 1, 2), service(TLS, 1, 2)), 100)
    planner.set(TLS, {1: Health.UNKNOWN, 2: Health.UNKNOWN})

    def step(now: float) -> tuple[dict[Address, bool], ServiceState]:
        nonlocal first
        openings: Openings = planner.openings
        first = plan(planner.state, planner.verdict, planner.host, seed=SEED, now=now, openings=openings, before=first)
        return dict(first.desired.vips), first.services[TLS]

    assert step(100.0) == ({WEB.vip: True}, ServiceState(False, 0, True))
    planner.set(TLS, {1: Health.DEAD})
    assert step(101.0) == ({WEB.vip: True}, ServiceState(False, 0, True))
    planner.set(TLS, {2: Health.WRONG})
    assert step(102.0) == ({WEB.vip: False}, ServiceState(False, 0, False))
    planner.set(TLS, {2: Health.UP})
    assert step(103.0) == ({WEB.vip: True}, ServiceState(True, 1, False))


def test_a_new_vip_is_not_up_before_its_first_verdict() -> None:
    planner = Planner(State(config(service(WEB, 1, need=1))))
    planner.set(WEB, {1: Health.UNKNOWN})
    made = planner.plan()
    assert (made.desired.vips, made.services[WEB]) == ({WEB.vip: False}, ServiceState(False, 0, True))


# Health of servers 1 2 and of fallbacks 8 9 (u up, d dead, w wrong, ? unknown), need -> what they receive, up
FALLBACKS = [
    ("uu uu", 1, "aadd", True),
    ("du uu", 1, "xadd", True),
    ("dd uu", 1, "xxaa", True),
    ("dd ud", 1, "xxax", True),
    ("dd dd", 1, "xxxx", False),
    ("du uu", 2, "xaaa", True),
    ("du ud", 2, "xaax", True),
    ("wu uu", 2, "daaa", True),
    ("dd uu", 3, "xxaa", False),
    ("?? uu", 1, "--dd", False),
    ("?d uu", 1, "-xdd", False),
    ("?u uu", 2, "-add", False),
    ("?d uu", 2, "-xaa", True),
    ("uu ??", 1, "aa--", True),
    ("dd uu", 0, "xxaa", True),
]
HEALTH = {"u": Health.UP, "d": Health.DEAD, "w": Health.WRONG, "?": Health.UNKNOWN}
LETTERS = {"AVAILABLE": "a", "DEAD": "x", "DRAINING": "d", "NONE": "-"}


@pytest.mark.parametrize(("healths", "need", "expected", "up"), FALLBACKS)
def test_fallbacks(healths: str, need: int, expected: str, up: bool) -> None:
    backends = tuple(Backend(address(number), fallback=number > 7) for number in (1, 2, 8, 9))
    one = service(WEB, backends=backends, need=need)
    known: dict[Address, str] = dict(zip((address(n) for n in (1, 2, 8, 9)), healths.replace(" ", ""), strict=True))

    def health(_: ServiceKey, backend: Address) -> Health:
        return HEALTH[known[backend]]

    found, _ = receivers(one, health, State(config(one)))
    assert "".join(LETTERS[gets.name] for gets in found) == expected
    openings = Openings({WEB})
    made = plan(State(config(one)), health, host(1, 2, 8, 9), seed=SEED, now=1.0, openings=openings)
    assert made.services[WEB].up is up
    assert "".join(LETTERS[member.state.name] for member in made.desired.services[0].members) == expected


def test_who_is_drained_is_not_waited_for() -> None:
    one = service(WEB, backends=(Backend(address(1)), Backend(address(8), fallback=True)))
    state = State(config(one))
    state.overrides = drained((WEB, address(1)))

    def health(_: ServiceKey, backend: Address) -> Health:
        return Health.UNKNOWN if backend == address(1) else Health.UP

    found, open_ = receivers(one, health, state)
    assert ([gets.name for gets in found], open_) == (["NONE", "AVAILABLE"], 0)
