"""What a peer is told: whatever is wanted in between, it ends up knowing what it should, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.model_address import Address
from appliance.model_bgp import Community
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.message import Message, Refresh, RouteRefresh, Update
from appliance.routing.bgp.outbox import Outbox
from appliance.routing.route import Attributes, Routes
from tests.profile import EXAMPLES
from tests.unit.routing.bgp.samples import read

V4, V6 = Family.IPV4, Family.IPV6
HOP, HOP_6 = ip_address("192.0.2.1"), ip_address("2001:db8:1::1")
PLAIN, LAST, PLAIN_6 = Attributes(HOP, (65001,)), Attributes(HOP, (65001,), med=100), Attributes(HOP_6, (65001,))
VIP, OTHER, VIP_6 = ip_address("203.0.113.1"), ip_address("203.0.113.2"), ip_address("2001:db8::1")
VIPS = [ip_address(f"203.0.113.{number}") for number in range(6)] + [ip_address(f"2001:db8::{n}") for n in range(6)]


class Peer:
    """The other end: what it knows by what it was sent."""

    def __init__(self) -> None:
        self.known: dict[Address, Attributes] = {}
        self.ended: list[Family] = []
        self.messages: list[Message] = []
        self.stale: dict[Family, set[Address]] = {}

    def hear(self, data: bytes) -> list[Message]:
        """Take whole messages, and return them."""
        heard = read(data, internal=True, extended=True)
        self.messages += heard
        for one in heard:
            if isinstance(one, Update):
                self._update(one)
            if isinstance(one, RouteRefresh):
                self._refresh(one)
        return heard

    def _update(self, update: Update) -> None:
        assert (update.trouble, update.discarded) == ("", ())
        if update.end_of_rib is not None:
            self.ended.append(update.end_of_rib)
        for networks in update.withdrawn:
            for network in networks.networks():
                del self.known[network.network_address]
        for networks in update.announced:
            path = update.attributes
            assert path is not None
            assert path.next_hop is not None
            numbers = tuple(number for _, part in path.as_path for number in part)
            made = Attributes(path.next_hop, numbers, path.med, path.local_pref, path.communities)
            for network in networks.networks():
                self.known[network.network_address] = made
                self.stale.get(networks.family, set()).discard(network.network_address)

    def _refresh(self, message: RouteRefresh) -> None:
        """Do as RFC 7313 section 4.2 wants: what was not sent between both ends is not there any more."""
        assert message.family is not None
        if message.subtype == Refresh.BEGIN:
            mine = {vip for vip in self.known if Family.of(vip) is message.family}
            self.stale[message.family] = mine
        else:
            for vip in self.stale.pop(message.family):
                self.known.pop(vip, None)


def drain(outbox: Outbox, peer: Peer, limit: int = 65536) -> list[Message]:
    """Tell the peer everything; returns what was said."""
    said: list[Message] = []
    for _ in range(10_000):
        said += peer.hear(outbox.take(limit))
        if not outbox.pending:
            break
    assert not outbox.pending
    assert outbox.take() == b""
    return said


def opened(families: tuple[Family, ...] = (V4, V6), *, enhanced: bool = False) -> tuple[Outbox, Peer]:
    """Return both ends of a new session."""
    return Outbox(four_octet=True, families=families, enhanced_refresh=enhanced), Peer()


attributes_4 = st.builds(
    Attributes,
    next_hop=st.sampled_from([HOP, HOP_6]),
    as_path=st.sampled_from([(), (65001,)]),
    med=st.sampled_from([None, 10]),
    communities=st.sampled_from([(), (Community((65535, 0)),)]),
)
attributes_6 = attributes_4.filter(lambda one: one.next_hop.version == 6)
wanted = st.lists(st.sampled_from(VIPS), unique=True).flatmap(
    lambda vips: st.fixed_dictionaries({vip: attributes_4 if vip.version == 4 else attributes_6 for vip in vips})
)


class Sessions(RuleBasedStateMachine):
    """Whatever happens in whatever order: what is told becomes what is wanted, and the outbox knows what that is."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[Address, Attributes] = {}
        self.complete = False

    @initialize(enhanced=st.booleans())
    def open(self, enhanced: bool) -> None:
        self.outbox, self.peer = opened(enhanced=enhanced)

    @rule(routes=wanted)
    def want(self, routes: Routes) -> None:
        self.wanted, self.complete = dict(routes), True
        self.outbox.want(routes)

    @rule(vip=st.sampled_from(VIPS), attributes=st.none() | attributes_6)
    def change(self, vip: Address, attributes: Attributes | None) -> None:
        self.outbox.change(vip, attributes)
        if attributes is None:
            self.wanted.pop(vip, None)
        else:
            self.wanted[vip] = attributes

    @rule(family=st.sampled_from([None, V4, V6]))
    def resend(self, family: Family | None) -> None:
        self.outbox.resend(family)

    @rule(limit=st.sampled_from([0, 4200, 65536]))
    def take_some(self, limit: int) -> None:
        pending = self.outbox.pending
        heard = self.peer.hear(self.outbox.take(limit))
        assert bool(heard) == pending

    @rule()
    def take_all(self) -> None:
        drain(self.outbox, self.peer)
        assert self.peer.known == self.wanted
        assert self.peer.ended == ([V4, V6] if self.complete else [])
        assert not self.peer.stale

    @rule()
    def new_session(self) -> None:
        self.outbox.reset()
        self.peer, self.complete = Peer(), False

    @invariant()
    def both_agree_on_what_was_told(self) -> None:
        if hasattr(self, "outbox"):
            assert self.outbox.told == self.peer.known
            assert self.outbox.messages == len(self.peer.messages)


Sessions.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
test_sessions = Sessions.TestCase


def test_the_end_of_the_rib_comes_once_behind_the_first_complete_set() -> None:
    outbox, peer = opened()
    outbox.change(VIP, PLAIN)
    assert [type(one) for one in drain(outbox, peer)] == [Update]
    assert peer.ended == []
    outbox.want({VIP: PLAIN, VIP_6: PLAIN_6})
    said = drain(outbox, peer)
    assert [one.end_of_rib for one in said if isinstance(one, Update)] == [None, V4, V6]
    outbox.want({})
    drain(outbox, peer)
    assert peer.ended == [V4, V6]


def test_nothing_wanted_is_a_complete_set_too() -> None:
    outbox, peer = opened((V4,))
    assert outbox.take() == b""
    outbox.want({})
    assert outbox.pending
    assert drain(outbox, peer) == [Update(end_of_rib=V4)]


def test_withdrawals_overtake_announcements() -> None:
    outbox, peer = opened()
    outbox.want({VIP: PLAIN, VIP_6: PLAIN_6})
    drain(outbox, peer)
    outbox.want({OTHER: PLAIN})
    first, second, third = drain(outbox, peer)
    assert isinstance(first, Update)
    assert isinstance(second, Update)
    assert isinstance(third, Update)
    assert (len(first.withdrawn), len(second.withdrawn), len(third.announced)) == (1, 1, 1)


def test_what_changed_back_in_time_is_not_sent() -> None:
    outbox, peer = opened()
    outbox.want({VIP: PLAIN})
    drain(outbox, peer)
    outbox.change(VIP, None)
    outbox.change(VIP, Attributes(HOP, (65001,)))
    assert outbox.take() == b""
    outbox.change(VIP, LAST)
    outbox.change(VIP, PLAIN)
    outbox.change(OTHER, PLAIN)
    outbox.change(OTHER, None)
    assert not outbox.pending
    outbox.want({VIP: Attributes(HOP, (65001,))})
    assert not outbox.pending


def test_changed_attributes_are_sent_without_a_withdrawal() -> None:
    outbox, peer = opened((V4,))
    outbox.want({VIP: PLAIN, OTHER: PLAIN})
    drain(outbox, peer)
    outbox.want({VIP: LAST, OTHER: PLAIN})
    (only,) = drain(outbox, peer)
    assert isinstance(only, Update)
    assert (only.withdrawn, [len(one) for one in only.announced]) == ((), [1])
    assert peer.known == {VIP: LAST, OTHER: PLAIN}


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_refresh_sends_one_family_again(enhanced: bool) -> None:
    outbox, peer = opened(enhanced=enhanced)
    outbox.want({VIP: PLAIN, VIP_6: PLAIN_6})
    drain(outbox, peer)
    outbox.resend(V6)
    assert outbox.pending
    said = drain(outbox, peer)
    ends = [one.subtype for one in said if isinstance(one, RouteRefresh)]
    updates = [one for one in said if isinstance(one, Update)]
    assert ends == ([Refresh.BEGIN, Refresh.END] if enhanced else [])
    assert [networks.family for one in updates for networks in one.announced] == [V6]
    assert peer.known == {VIP: PLAIN, VIP_6: PLAIN_6}
    assert peer.ended == [V4, V6]


def test_a_refresh_before_the_end_of_the_rib_waits_for_it() -> None:
    # RFC 7313 section 4: the beginning of a refresh is sent behind the end of the RIB.
    outbox, peer = opened((V4,), enhanced=True)
    outbox.resend()
    assert not outbox.pending
    outbox.want({VIP: PLAIN})
    said = drain(outbox, peer)
    begin, end = RouteRefresh(V4, Refresh.BEGIN), RouteRefresh(V4, Refresh.END)
    assert said == [said[0], Update(end_of_rib=V4), begin, said[0], end]
    assert outbox.messages == 5


def test_a_family_that_was_not_agreed_on_is_refused_and_not_asked_for() -> None:
    outbox, peer = opened((V4,))
    outbox.want({VIP: PLAIN, VIP_6: PLAIN_6})
    outbox.resend(V6)
    drain(outbox, peer)
    assert peer.known == outbox.told == {VIP: PLAIN}
    assert outbox.refused == {VIP_6: "IPv6 routes were not agreed on with this peer"}
    outbox.change(VIP_6, None)
    assert not outbox.refused
    assert not outbox.pending


def test_what_cannot_be_sent_is_withdrawn_and_disturbs_nothing_else() -> None:
    outbox, peer = opened()
    outbox.want({VIP: PLAIN, OTHER: PLAIN})
    drain(outbox, peer)
    huge = Attributes(HOP, (65001,), communities=tuple(Community((1, number)) for number in range(1100)))
    outbox.want({VIP: huge, OTHER: LAST})
    drain(outbox, peer)
    assert peer.known == {OTHER: LAST}
    assert "1100 communities" in outbox.refused[VIP]
    outbox.change(VIP, PLAIN)
    drain(outbox, peer)
    assert peer.known == {VIP: PLAIN, OTHER: LAST}
    assert not outbox.refused


def test_pieces_are_no_larger_than_asked_for() -> None:
    outbox, peer = opened((V4,))
    outbox.want({IPv4Address("10.0.0.0") + number: PLAIN for number in range(10_000)})
    sizes = []
    while outbox.pending:
        data = outbox.take(10_000)
        sizes.append(len(data))
        peer.hear(data)
    assert max(sizes) <= 10_000
    assert len(sizes) == 7
    assert len(peer.known) == 10_000


def test_attributes_that_differ_by_vip_are_all_sent() -> None:
    # More than are kept encoded.
    routes: Routes = {IPv4Address("10.0.0.0") + number: Attributes(HOP, (65001,), number) for number in range(5000)}
    outbox, peer = opened((V4,))
    outbox.want(routes)
    drain(outbox, peer)
    assert peer.known == routes
    outbox.want(dict(routes))
    assert not outbox.pending


@pytest.mark.parametrize("families", [(V4, V6), (V4,)])
def test_a_first_set_is_told_as_if_it_had_come_one_by_one(families: tuple[Family, ...]) -> None:
    refused = Attributes(HOP, communities=tuple(Community((1, 2, number)) for number in range(400)))
    kinds = {4: (PLAIN, LAST, Attributes(HOP, (65001,)), refused), 6: (PLAIN_6, PLAIN)}
    routes = {vip: kinds[vip.version][at % len(kinds[vip.version])] for at, vip in enumerate(VIPS)}
    at_once, singly = (Outbox(four_octet=True, families=families) for _ in range(2))
    for vip, attributes in routes.items():
        singly.change(vip, attributes)
    singly.want(routes)
    at_once.want(routes)
    assert at_once.waiting == singly.waiting == len(routes) - len(singly.refused)
    assert (at_once.wanted, at_once.refused) == (singly.wanted, singly.refused)
    assert sorted(at_once.take()) == sorted(singly.take())
    assert at_once.told == singly.told
    assert at_once.waiting == singly.waiting == 0
    assert (at_once.pending, at_once.ended) == (False, True)
    at_once.change(VIPS[0], None)
    assert at_once.waiting == 1
