"""Mode vlan on an LACP trunk: both legs carry, one may fail, and no connection breaks.

The lab is that of tests.vm.lacp. With the program on the members it is native on veth and on virtio, and generic; it
can as well be native on the bond, which then attaches it to its members and chooses the leg that answers leave by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from appliance.cli.client import call
from tests.lab.daemon import Daemon
from tests.lab.traffic import LongFlows
from tests.netns.scenario_site import VIPS, wait_available
from tests.vm import ahead
from tests.vm.guest.test_bond import MEMBERS, all_speak, configuration, flows
from tests.vm.lacp import Aggregate

pytestmark = pytest.mark.root

SHARE = 10
"""A leg carries at least one in so many of the frames while both are in use: the hashes of 20 connections are no more
even than that."""


@dataclass(frozen=True)
class Row:
    """The legs, the interfaces that the configuration names, and how the program gets there."""

    cards: bool
    interfaces: tuple[str, ...]
    xdp: str

    def __str__(self) -> str:
        return f"{'virtio' if self.cards else 'veth'}-{'-'.join(self.interfaces)}-{self.xdp}"

    @property
    def configuration(self) -> str:
        named = ", ".join(self.interfaces)
        text = configuration().replace("xdp: native", f"xdp: {self.xdp}", 1)
        return text.replace(f"interfaces: [{', '.join(MEMBERS)}]", f"interfaces: [{named}]", 1)


ROWS = (
    Row(cards=False, interfaces=MEMBERS, xdp="native"),
    Row(cards=False, interfaces=MEMBERS, xdp="generic"),
    Row(cards=False, interfaces=("bond0",), xdp="native"),
    Row(cards=True, interfaces=MEMBERS, xdp="native"),
)
AHEAD = [row.configuration for row in ROWS]


@pytest.fixture(params=ROWS, ids=str)
def row(request: pytest.FixtureRequest) -> Row:
    chosen: Row = request.param
    return chosen


@pytest.fixture
def site(row: Row) -> Iterator[Aggregate]:
    with Aggregate(row.cards) as standing:
        yield standing


def shares(site: Aggregate, talks: Sequence[LongFlows]) -> list[int]:
    """Return how many frames left the balancer by each leg while every connection spoke."""
    before = site.member_frames()
    all_speak(list(talks))
    return [now - then for now, then in zip(site.member_frames(), before, strict=True)]


def carry(site: Aggregate, talks: Sequence[LongFlows], *members: str) -> None:
    """Wait until the trunk has these legs, and assert that all of them carry what is said, and no other."""
    site.wait_aggregated(len(members))
    all_speak(list(talks))  # what was on its way
    found = dict(zip(MEMBERS, shares(site, talks), strict=True))
    assert sum(found.values()) > 50, found
    for name, frames in found.items():
        assert frames * SHARE >= sum(found.values()) if name in members else frames == 0, found


def test_a_leg_fails_and_comes_back(site: Aggregate, row: Row) -> None:
    site.wait_aggregated(len(MEMBERS))
    daemon = Daemon(site.balancer, site.root(), row.configuration)
    ahead.give(daemon.places)
    with daemon, ExitStack() as stack:
        wait_available(daemon, site, *site.backends)
        attached = {one["name"]: one["attach"] for one in call(daemon.places, "status")["interfaces"]}
        assert {name: attached[name] for name in row.interfaces} == dict.fromkeys(row.interfaces, row.xdp)
        print(f"lacp: {row}: attached {attached}")
        talks = [stack.enter_context(flows(site, version)) for version in VIPS]
        carry(site, talks, *MEMBERS)
        # The switch's end of a leg fails: with veth the balancer loses the carrier, with cards it hears LACP no more.
        site.switch.run("ip", "link", "set", "balancer-eth0", "down")
        carry(site, talks, "eth1")
        site.switch.run("ip", "link", "set", "balancer-eth0", "up")
        carry(site, talks, *MEMBERS)
        # The balancer's own end.
        site.balancer.run("ip", "link", "set", "eth1", "down")
        carry(site, talks, "eth0")
        wait_available(daemon, site, *site.backends)
        for talk in talks:
            report = talk.stop()
            assert (report.broken, set(report.by_backend())) == ([], set(site.backends))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert "Traceback" not in daemon.errors
