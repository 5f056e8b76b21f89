"""Which routes a peer is to have, and why not others."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.model import Address, Config, Network
from appliance.model_bgp import GRACEFUL_SHUTDOWN, LARGEST_MED, Announce, Bgp, Community, Peer, VipRoutes
from appliance.routing.filters import Filters
from appliance.routing.policy import Policy, Terms, foreseen
from appliance.routing.route import Attributes

FOUR, SIX = ipaddress.ip_address("203.0.113.10"), ipaddress.ip_address("2001:db8:5::10")
OWN_4, OWN_6 = ipaddress.ip_address("10.1.10.5"), ipaddress.ip_address("2001:db8:10::5")
HOP_4, HOP_6 = ipaddress.IPv4Address("10.1.10.6"), ipaddress.IPv6Address("2001:db8:10::6")
OTHER_4, OTHER_6 = ipaddress.IPv4Address("10.1.10.7"), ipaddress.IPv6Address("2001:db8:10::7")
LINK = ipaddress.ip_address("fe80::5")
NOWHERE = ipaddress.ip_address("::")
ONE, TWO = Community((65000, 1)), Community((65000, 2))
PEER_4 = Peer(ipaddress.ip_address("10.1.10.252"), 65001)
PEER_6 = Peer(ipaddress.ip_address("2001:db8:10::252"), 65001)
OVER_4, OVER_6 = Terms(OWN_4, ibgp=False, ipv6=True), Terms(OWN_6, ibgp=False, ipv6=True)
BOTH = replace(OVER_6, extended_next_hop=True)
YES, DEMOTE, DOWN, NO = Announce.YES, Announce.DEMOTE, Announce.DOWN, Announce.NO


def config(**said: Any) -> Config:
    return Config(bgp=Bgp(vips=dict.fromkeys((FOUR, SIX), VipRoutes(**said)) if said else {}))


def nets(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def told(peer: Peer, terms: Terms, vip: Address = FOUR, how: Announce = YES, **said: Any) -> Attributes:
    found = Policy(config(**said), peer, terms).route_of(vip, how)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("peer", "terms", "vip", "said", "hop"),
    [
        (PEER_4, OVER_4, FOUR, {}, OWN_4),
        (replace(PEER_4, next_hop_4=HOP_4), OVER_4, FOUR, {}, HOP_4),
        (replace(PEER_4, next_hop_4=HOP_4), OVER_4, FOUR, {"next_hop_4": OTHER_4}, OTHER_4),
        (replace(PEER_4, next_hop_6=HOP_6), OVER_4, SIX, {}, HOP_6),
        (PEER_4, OVER_4, SIX, {"next_hop_6": OTHER_6}, OTHER_6),
        (replace(PEER_4, next_hop_6=HOP_6), OVER_4, SIX, {"next_hop_6": OTHER_6}, OTHER_6),
        (PEER_6, OVER_6, SIX, {}, OWN_6),
        (replace(PEER_6, next_hop_6=HOP_6), OVER_6, SIX, {}, HOP_6),
        (replace(PEER_6, next_hop_4=HOP_4), BOTH, FOUR, {}, HOP_4),
        (PEER_6, BOTH, FOUR, {}, OWN_6),
        (replace(PEER_6, next_hop_6=HOP_6), BOTH, FOUR, {}, HOP_6),
        (PEER_6, replace(BOTH, local=LINK), FOUR, {"next_hop_6": OTHER_6}, OTHER_6),
        (PEER_4, replace(OVER_4, local=ipaddress.ip_address("169.254.7.1")), FOUR, {}, "169.254.7.1"),
    ],
)
def test_the_next_hop(peer: Peer, terms: Terms, vip: Address, said: dict[str, Any], hop: Address | str) -> None:
    assert str(told(peer, terms, vip, **said).next_hop) == str(hop)


@pytest.mark.parametrize(
    ("peer", "terms", "vip", "why"),
    [
        (PEER_4, replace(OVER_4, ipv6=False), SIX, "no IPv6 over this session: set next_hop_6"),
        (PEER_4, OVER_4, SIX, "no IPv6 next hop: set next_hop_6"),
        (PEER_6, replace(OVER_6, ipv6=False), SIX, "the router takes no IPv6 routes over this session"),
        (PEER_6, replace(BOTH, ipv4=False), FOUR, "the router takes no IPv4 routes over this session"),
        (PEER_6, replace(OVER_6, local=LINK), SIX, "no IPv6 next hop: set next_hop_6"),
        (PEER_6, replace(OVER_6, local=NOWHERE), SIX, "no IPv6 next hop: set next_hop_6"),
        (PEER_6, OVER_6, FOUR, "no IPv4 next hop: set next_hop_4, for the router takes none of IPv6 (RFC 8950)"),
        (PEER_4, foreseen(PEER_4), FOUR, "no IPv4 next hop before there is a session"),
        (PEER_6, foreseen(PEER_6), SIX, "no IPv6 next hop before there is a session"),
    ],
)
def test_no_next_hop(peer: Peer, terms: Terms, vip: Address, why: str) -> None:
    policy = Policy(config(), peer, terms)
    assert policy.route_of(vip, YES) is None
    assert policy.why(vip, YES) == why


def test_a_source_address_is_known_before_the_session() -> None:
    peer = replace(PEER_6, source_ip=HOP_6)
    assert Policy(config(), peer, foreseen(peer)).routes({FOUR: YES, SIX: YES}).keys() == {FOUR, SIX}


# peer, over iBGP, what services say -> AS path, MED, local preference, communities
ATTRIBUTES: list[tuple[dict[str, Any], bool, dict[str, Any], tuple[Any, ...]]] = [
    ({}, False, {}, ((65001,), None, None, ())),
    ({}, True, {}, ((), None, 100, ())),
    ({"med": 50, "local_pref": 200}, False, {}, ((65001,), 50, None, ())),
    ({"med": 50, "local_pref": 200}, True, {}, ((), 50, 200, ())),
    ({"med": 50, "local_pref": 200}, True, {"med": 0, "local_pref": 7}, ((), None, 7, ())),
    ({"prepend": 2}, False, {}, ((65001,) * 3, None, None, ())),
    ({"prepend": 2}, True, {}, ((), None, 100, ())),
    ({"prepend": 2}, False, {"prepend": 0}, ((65001,), None, None, ())),
    ({"communities": (ONE,)}, False, {"communities": (TWO, ONE)}, ((65001,), None, None, (ONE, TWO))),
]


@pytest.mark.parametrize(("peer", "ibgp", "said", "attributes"), ATTRIBUTES)
def test_attributes(peer: dict[str, Any], ibgp: bool, said: dict[str, Any], attributes: tuple[Any, ...]) -> None:
    found = told(replace(PEER_4, **peer), replace(OVER_4, ibgp=ibgp), **said)
    assert (found.as_path, found.med, found.local_pref, found.communities) == attributes


@pytest.mark.parametrize(
    ("peer", "ibgp", "draining", "attributes"),
    [
        ({}, False, False, (LARGEST_MED, None, (GRACEFUL_SHUTDOWN,))),
        ({}, True, False, (LARGEST_MED, 0, (GRACEFUL_SHUTDOWN,))),
        ({"demote_med": 0, "med": 5}, False, False, (5, None, (GRACEFUL_SHUTDOWN,))),
        ({"demote_med": 9, "demote_communities": (TWO,), "communities": (ONE,)}, False, False, (9, None, (ONE, TWO))),
        ({"demote_communities": ()}, False, True, (LARGEST_MED, None, (GRACEFUL_SHUTDOWN,))),
        ({"communities": (GRACEFUL_SHUTDOWN,)}, True, True, (LARGEST_MED, 0, (GRACEFUL_SHUTDOWN,))),
    ],
)
def test_a_last_resort(peer: dict[str, Any], ibgp: bool, draining: bool, attributes: tuple[Any, ...]) -> None:
    policy = Policy(config(), replace(PEER_4, **peer), replace(OVER_4, ibgp=ibgp), draining=draining)
    found = policy.route_of(FOUR, YES if draining else DEMOTE)
    assert found is not None
    assert (found.med, found.local_pref, found.communities) == attributes


def test_the_last_that_is_announced_is_marked() -> None:
    """Like a last resort of any other kind, and told apart by a community of the operator's."""
    policy = Policy(config(), replace(PEER_4, last_communities=(TWO,), communities=(ONE,)), OVER_4)
    found, other = policy.route_of(FOUR, Announce.LAST), policy.route_of(FOUR, DEMOTE)
    assert found is not None
    assert other is not None
    assert (found.med, found.communities) == (LARGEST_MED, (ONE, GRACEFUL_SHUTDOWN, TWO))
    assert replace(found, communities=other.communities) == other
    assert other.communities == (ONE, GRACEFUL_SHUTDOWN)


# how, demote_down, drained, why -> whether it is told, and why not as usual
TOLD = [
    (YES, False, False, "", True, ""),
    (YES, False, True, "", True, "a last resort: this node is drained"),
    (DEMOTE, False, False, "cut off", True, "a last resort: cut off"),
    (DEMOTE, False, False, "", True, "a last resort"),
    (Announce.LAST, False, False, "down", True, "a last resort: down"),
    (DOWN, False, False, "up for less than 5s", False, "up for less than 5s"),
    (DOWN, False, False, "", False, "down"),
    (DOWN, True, False, "down", True, "a last resort: down"),
    (NO, True, True, "learning, 12 s left", False, "learning, 12 s left"),
    (NO, True, False, "", False, "not announced"),
]


@pytest.mark.parametrize(("how", "demote", "draining", "reason", "is_told", "why"), TOLD)
def test_what_is_told(how: Announce, demote: bool, draining: bool, reason: str, is_told: bool, why: str) -> None:
    policy = Policy(config(), replace(PEER_4, demote_down=demote), OVER_4, draining=draining)
    assert (policy.route_of(FOUR, how) is not None) is is_told
    assert policy.why(FOUR, how, reason) == why


def test_a_rejected_vip_says_by_what() -> None:
    peer = replace(PEER_4, accept=nets("203.0.113.0/29"), reject=nets("203.0.113.0/28", "203.0.113.10", "10.0.0.0/8"))
    policy = Policy(config(), peer, OVER_4)
    assert policy.routes(dict.fromkeys((FOUR, ipaddress.ip_address("203.0.113.7")), YES)).keys() == {
        ipaddress.ip_address("203.0.113.7")
    }
    assert policy.why(FOUR, YES) == "rejected by 203.0.113.0/28"
    assert policy.why(FOUR, DOWN) == "down"


def test_vips_of_one_peer_have_each_their_own() -> None:
    other, plain = ipaddress.ip_address("203.0.113.11"), ipaddress.ip_address("203.0.113.12")
    said = {FOUR: VipRoutes(med=1), other: VipRoutes(med=2)}
    policy = Policy(Config(bgp=Bgp(vips=said)), replace(PEER_4, med=9), OVER_4)
    routes = policy.routes({FOUR: YES, other: YES, plain: YES})
    assert [routes[vip].med for vip in (FOUR, other, plain)] == [1, 2, 9]
    demoted = policy.route_of(FOUR, DEMOTE)
    assert demoted is not None
    assert demoted.med == LARGEST_MED


def test_what_is_equal_is_one_object() -> None:
    routes = Policy(config(), PEER_4, OVER_4).routes({ipaddress.IPv4Address(one): YES for one in range(1000)})
    assert len({id(one) for one in routes.values()}) == 1


@pytest.mark.parametrize("terms", [OVER_4, OVER_6, BOTH, replace(BOTH, local=LINK), replace(OVER_4, ipv6=False)])
@pytest.mark.parametrize("peer", [PEER_4, replace(PEER_6, demote_down=True), replace(PEER_4, reject=nets("0.0.0.0/0"))])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("how", list(Announce))
@pytest.mark.parametrize("vip", [FOUR, SIX])
def test_who_is_not_told_hears_why(peer: Peer, terms: Terms, draining: bool, how: Announce, vip: Address) -> None:
    policy = Policy(config(), peer, terms, draining=draining)
    route, why = policy.route_of(vip, how), policy.why(vip, how)
    assert (route is None) is bool(why and not why.startswith("a last resort"))
    assert route is None or (route.communities == (GRACEFUL_SHUTDOWN,)) is bool(why)
    assert (route is not None) is (vip in policy.routes({vip: how}))


addresses = st.one_of(
    st.integers(0, 63).map(lambda low: ipaddress.IPv4Address(0xCB007100 + low)),
    st.integers(0, 63).map(lambda low: ipaddress.IPv6Address((0x20010DB8 << 96) + low)),
)


@st.composite
def prefixes(draw: st.DrawFn) -> Network:
    address = draw(addresses)
    length = draw(st.sampled_from([0, 8, *range(address.max_prefixlen - 6, address.max_prefixlen + 1)]))
    return ipaddress.ip_network((address, length), strict=False)


@settings(max_examples=300)
@example([], list(nets("203.0.113.0/28", "203.0.113.15")), ipaddress.ip_address("203.0.113.15"))
@given(st.lists(prefixes(), max_size=12), st.lists(prefixes(), max_size=12), addresses)
def test_filters_do_as_containment_says(accept: list[Network], reject: list[Network], vip: Address) -> None:
    def within(prefixes: list[Network]) -> list[Network]:
        return [one for one in prefixes if one.version == vip.version and vip in one]

    found = Filters(accept, reject).rejects(vip)
    if within(accept) or not within(reject):
        assert found is None
    else:
        assert found == min(within(reject), key=lambda one: one.prefixlen)
