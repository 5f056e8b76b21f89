"""Large changes in slices: each is a whole plan, none looks at more services than it may, and all have their turn."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.control.plan import OPENING, Plan, plan
from appliance.control.slices import LEAST, LONGEST, MOST, SLICES, Slices
from appliance.control.state import State
from appliance.model import Health, Host, Protocol, ServiceKey
from tests.unit.control.sample import ETH0, SEED, Planner, address, config, host, mac, service

KEYS = tuple(ServiceKey(IPv4Address("203.0.113.0") + at, 80, Protocol.TCP) for at in range(30))


def planner() -> Planner:
    """Thirty services of four backends."""
    return Planner(State(config(*[service(key, 1, 2, 3, 4) for key in KEYS])))


def sliced(site: Planner, before: Plan, dirty: set[ServiceKey] | None, most: int, now: float = 100.0) -> Plan:
    """Plan until nothing is left; each slice must be consistent in itself."""
    made, first = before, True
    for _ in range(len(KEYS) + 1):
        then = made
        made = plan(
            site.state,
            site.verdict,
            site.host,
            seed=SEED,
            now=now,
            openings=site.openings,
            before=then,
            dirty=dirty if first else set(),
            most=most,
        )
        first = False
        pairs = zip(then.desired.services, made.desired.services, strict=True)
        assert sum(old is not new for old, new in pairs) <= most
        assert [one.key for one in made.desired.services] == list(KEYS)
        assert made.desired.vips == {key.vip: made.services[key].up for key in KEYS}
        assert len(made.looks) <= most
        if not made.left:
            return made
    raise AssertionError("slices never come to an end")


@pytest.mark.parametrize("most", [1, 7, 30, 100])
@pytest.mark.parametrize("dirty", [set(KEYS), None])
def test_a_server_in_all_services_dies(most: int, dirty: set[ServiceKey] | None) -> None:
    site = planner()
    before = site.plan()
    for key in KEYS:
        site.set(key, {2: Health.DEAD})
    assert sliced(site, before, dirty, most) == site.plan()


@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_server_gets_another_mac_address(most: int) -> None:
    site = planner()
    before = site.plan()
    site.host = Host((ETH0,), {**site.host.neighbours, (ETH0.index, address(3)): mac(99)})
    after = sliced(site, before, set(), most)
    assert after == site.plan()
    assert after != before


def test_what_is_left_waits_for_nobody() -> None:
    """New verdicts while a slice is due do not put off those that wait for ever."""
    site = planner()
    made = site.plan()
    for key in KEYS:
        site.set(key, {2: Health.DEAD})
    made = plan(
        site.state, site.verdict, site.host, seed=SEED, now=1.0, openings=site.openings, before=made, dirty=KEYS, most=9
    )
    for _ in range(3):
        made = plan(
            site.state,
            site.verdict,
            site.host,
            seed=SEED,
            now=1.0,
            openings=site.openings,
            before=made,
            dirty=[KEYS[0]],
            most=9,
        )
    assert not made.left
    assert made == site.plan()


def test_services_that_wait_for_verdicts_are_not_looked_at_before_they_are_due() -> None:
    site = planner()
    for key in KEYS:
        site.set(key, {1: Health.UP, 2: Health.UNKNOWN, 3: Health.UNKNOWN, 4: Health.UNKNOWN})
    before = site.plan(100.0)
    assert not any(state.up for state in before.services.values())
    for now, looked in ((100.5, frozenset()), (100.0 + OPENING, frozenset(KEYS))):
        made = plan(
            site.state,
            site.verdict,
            site.host,
            seed=SEED,
            now=now,
            openings=site.openings,
            before=before,
            dirty=set(),
        )
        assert made.looks == looked
    assert all(state.up for state in made.services.values())


def test_a_change_of_nothing_looks_at_nothing() -> None:
    site = planner()
    before = site.plan()
    site.host = host(*range(1, 20))
    made = plan(
        site.state, site.verdict, site.host, seed=SEED, now=1.0, openings=site.openings, before=before, dirty=set()
    )
    assert not made.looks
    assert made.desired.vips is before.desired.vips


def test_slices_shrink_at_once_and_grow_little_by_little() -> None:
    slices = Slices()
    first = slices.size
    slices.took(LONGEST * 2)
    assert slices.size == first // 2
    slices.took(LONGEST * 0.75)
    assert slices.size == first // 2
    slices.took(LONGEST / 10)
    assert first // 2 < slices.size < first
    for _ in range(50):
        slices.took(0.0)
    assert slices.size == MOST
    for _ in range(50):
        slices.took(1.0)
    assert slices.size == LEAST


def test_services_with_the_same_backends_share_their_members() -> None:
    """Also over verdicts that come and go; with another MAC address, nobody keeps a member with the old one."""
    site = planner()
    before = site.plan()
    for key in KEYS:
        site.set(key, {2: Health.DEAD})
    dead = sliced(site, before, set(KEYS), 7)
    for made, different in ((before, 4), (dead, 4)):
        assert len({id(member) for one in made.desired.services for member in one.members}) == different
    site.host = Host((ETH0,), {**site.host.neighbours, (ETH0.index, address(3)): mac(99)})
    moved = sliced(site, dead, set(), 7)
    hops = {member.hop.macs[:6] for one in moved.desired.services for member in one.members if member.hop}
    assert hops == {mac(1), mac(2), mac(99), mac(4)}


def test_even_the_smallest_slices_are_not_too_many() -> None:
    slices = Slices()
    for _ in range(10):
        slices.took(LONGEST * 2)
    assert slices.of(100) == LEAST
    assert slices.of(SLICES * LEAST * 10) == LEAST * 10
