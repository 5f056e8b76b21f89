"""Least connections: shares that even out loads, for long flows and short ones, and do not swing."""

from __future__ import annotations

from random import Random

import pytest

from appliance.control.balance import MOST, SCALE, Balance, Load, factors, most_loaded, relative_loads
from appliance.control.shares import Shares
from appliance.dataplane.desired import Member
from appliance.dataplane.enums import State as Receives
from appliance.model import Address, Backend, Scheduler, Service, ServiceKey
from tests.unit.control.sample import TLS, WEB, address, service


def test_equal_loads_change_nothing() -> None:
    assert factors([Load(1, 50), Load(1, 50)]) == [1.0, 1.0]
    assert factors([Load(2, 100), Load(1, 50), Load(1, 50)]) == pytest.approx([1.0, 1.0, 1.0], abs=0.02)
    assert factors([Load(1, 0), Load(1, 0)]) == [1.0, 1.0]


def test_more_load_is_less_share() -> None:
    busy, idle = factors([Load(1, 300), Load(1, 100)])
    assert busy < 1 < idle
    lower, higher = factors([Load(1, 300, busy), Load(1, 100, idle)])
    assert lower < busy
    assert higher > idle


def test_factors_are_bounded() -> None:
    loads = [Load(1, 10_000_000), Load(1, 0)]
    for _ in range(50):
        loads = [Load(1, load.flows, factor) for load, factor in zip(loads, factors(loads), strict=True)]
    # Twice the mean is the most that one of two can have.
    assert [load.factor for load in loads] == pytest.approx([1 / 4, MOST], rel=0.01)


def test_one_backend_alone_keeps_its_share() -> None:
    assert factors([Load(3, 1000)]) == [1.0]
    assert relative_loads([Load(3, 1000)]) == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("flows", "present", "out"),
    [
        ([10, 10, 10], None, None),
        ([100, 110, 90], None, None),
        ([100, 200, 100], None, 1),
        ([100, 200, 190], 2, 2),
        ([100, 300, 190], 2, 1),
        ([100, 101, 100], 1, 1),
        ([101, 99, 101], 1, None),
        ([500], None, None),
        ([1, 0, 0], None, None),
    ],
)
def test_who_is_taken_out(flows: list[int], present: int | None, out: int | None) -> None:
    assert most_loaded([Load(1, count) for count in flows], present) == out


class Simulated:
    """Backends whose flows come at a rate and last for a while; looked at once a second."""

    def __init__(self, lifetimes: list[float], rate: float, start: list[int], *, eject: bool = False) -> None:
        self.lifetimes, self.rate, self.eject = lifetimes, rate, eject
        self.flows = [float(count) for count in start]
        self.balance, self.random = Balance(), Random(1)
        self.addresses: list[Address] = [address(n) for n in range(1, len(start) + 1)]
        self.changes = 0

    def second(self) -> None:
        given = self.balance.multiples(WEB, self.addresses)
        total = sum(given.values())
        for at, one in enumerate(self.addresses):
            self.flows[at] += self.rate * given[one] / total - self.flows[at] * min(1.0, 1 / self.lifetimes[at])
        loads = {one: (1, round(count)) for one, count in zip(self.addresses, self.flows, strict=True)}
        self.changes += self.balance.observe(WEB, loads, eject=self.eject)

    def spread(self) -> float:
        """The highest load over the lowest."""
        return max(self.flows) / max(1.0, min(self.flows))


@pytest.mark.parametrize("lifetime", [1, 2, 4, 10, 60, 600])
def test_unequal_loads_even_out_and_stay_even(lifetime: int) -> None:
    site = Simulated([lifetime] * 4, 4000 / lifetime, [4000, 0, 0, 0])
    for _ in range(max(30, 3 * lifetime)):
        site.second()
    assert site.spread() < 1.15
    changes, worst = site.changes, 1.0
    for _ in range(200):
        site.second()
        worst = max(worst, site.spread())
    assert worst < 1.2
    assert site.changes - changes < 20


def test_backends_whose_flows_last_longer_get_fewer() -> None:
    site = Simulated([30.0, 10.0], 100.0, [0, 0])
    for _ in range(300):
        site.second()
    # By weight alone it would be three to one.
    assert site.spread() < 1.6
    assert site.balance.given[WEB][address(1)] < SCALE < site.balance.given[WEB][address(2)]


def test_the_most_loaded_gets_nothing_until_it_is_level() -> None:
    site = Simulated([30.0, 30.0, 30.0], 60.0, [3000, 600, 600], eject=True)
    site.second()
    assert site.balance.given[WEB][address(1)] == 0
    for _ in range(120):
        site.second()
    assert site.spread() < 1.3
    assert site.balance.given[WEB][address(1)] > 0


def test_the_last_one_left_gets_new_flows_all_the_same() -> None:
    balance = Balance()
    balance.observe(WEB, {address(1): (1, 1000), address(2): (1, 10)}, eject=True)
    assert balance.multiples(WEB, [address(1), address(2)])[address(1)] == 0
    assert balance.multiples(WEB, [address(1)]) == {address(1): SCALE}


def test_shares_follow_configuration() -> None:
    share = Shares()
    one = service(WEB, backends=(Backend(address(1), 2), Backend(address(2))), scheduler=Scheduler.LEAST_CONNECTIONS)
    members = [Member(address(1), 2, Receives.AVAILABLE), Member(address(2), 1, Receives.AVAILABLE)]

    def observe(*services: Service, flows: tuple[int, int]) -> bool:
        counted: dict[ServiceKey, dict[Address, int]] = {WEB: {address(1): flows[0], address(2): flows[1]}}
        return WEB in share.observe(services, {WEB: members}, lambda key: counted.get(key, {}))

    assert not observe(one, flows=(200, 100))
    assert share.weigh(one, members, 1) == members
    assert observe(one, flows=(200, 900))
    weights = [member.weight for member in share.weigh(one, members, 1)]
    assert weights[0] > 4 * weights[1]
    dead = [members[0], Member(address(2), 0, Receives.DEAD)]
    assert share.weigh(one, dead, 1)[1].weight == 0
    assert not observe(service(WEB, 1, 2), service(TLS, 1), flows=(200, 900))
    assert share.balance.given == {}
