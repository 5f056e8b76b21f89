"""Routes as UPDATE messages: golden bytes, read back by us and by another implementation, and the limits."""

from __future__ import annotations

import struct
import warnings
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model_address import Address
from appliance.model_bgp import Community
from appliance.routing.bgp.attribute import AS_TRANS
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.message import Update
from appliance.routing.bgp.update import end_of_rib, pack, withdraw
from appliance.routing.route import Attributes
from tests.unit.routing.bgp.samples import MARKER, many, read, routes_4, routes_6, vips

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.config import conf as scapy_conf
    from scapy.contrib import bgp as scapy_bgp

VIP, VIP_6 = ip_address("203.0.113.1"), ip_address("2001:db8::1")
HOP, HOP_6 = ip_address("192.0.2.1"), ip_address("2001:db8:1::1")
COMMUNITIES = tuple(map(Community, [(65535, 0), (65001, 1, 2), (65001, 7), (65535, 0)]))
EBGP = Attributes(HOP, (65001,))

ORIGIN, PATH, NEXT_HOP = "40 01 01 00", "40 02 06 02 01 0000fde9", "40 03 04 c0000201"

GOLDEN = [
    # VIP, its attributes, whether the peer takes AS numbers of four octets; the message without the marker
    (VIP, EBGP, True, "0030 02 0000 0014" + ORIGIN + PATH + NEXT_HOP + "20 cb007101"),
    (VIP, EBGP, False, "002e 02 0000 0012" + ORIGIN + "40 02 04 02 01 fde9" + NEXT_HOP + "20 cb007101"),
    (
        VIP,
        Attributes(HOP, (), med=10, local_pref=100),
        True,
        "0038 02 0000 001c" + ORIGIN + "40 02 00" + NEXT_HOP + "80 04 04 0000000a 40 05 04 00000064 20 cb007101",
    ),
    # RFC 6793: AS_TRANS, and the real path beside it.
    (
        VIP,
        Attributes(HOP, (4200000001, 65001)),
        False,
        "003d 02 0000 0021" + ORIGIN + "40 02 06 02 02 5ba0 fde9" + NEXT_HOP
        + "c0 11 0a 02 02 fa56ea01 0000fde9 20 cb007101",
    ),
    # RFC 1997, RFC 8326 (65535:0), RFC 8092; the same one twice is sent once.
    (
        VIP,
        Attributes(HOP, (65001,), communities=COMMUNITIES),
        True,
        "004a 02 0000 002e" + ORIGIN + PATH + NEXT_HOP
        + "c0 08 08 ffff0000 fde90007 c0 20 0c 0000fde9 00000001 00000002 20 cb007101",
    ),
    # RFC 4760, and RFC 7606 section 5.1: the networks come first.
    (
        VIP_6,
        Attributes(HOP_6, (65001,)),
        True,
        "004e 02 0000 0037 90 0e 0026 0002 01 10 20010db8000100000000000000000001 00"
        " 80 20010db8000000000000000000000001" + ORIGIN + PATH,
    ),
    # RFC 8950: an IPv4 route over an IPv6 next hop.
    (
        VIP,
        Attributes(HOP_6, (65001,)),
        True,
        "0042 02 0000 002b 90 0e 001a 0001 01 10 20010db8000100000000000000000001 00 20 cb007101" + ORIGIN + PATH,
    ),
]  # fmt: skip


def hexadecimal(message: str) -> str:
    """Return a golden message with its real length, which is checked against the written one."""
    return bytes.fromhex(MARKER + message).hex(" ")


@pytest.mark.parametrize(("vip", "attributes", "four_octet", "wire"), GOLDEN)
def test_golden(vip: Address, attributes: Attributes, four_octet: bool, wire: str) -> None:
    assert [one.hex(" ") for one in pack([(vip, attributes)], four_octet=four_octet)] == [hexadecimal(wire)]


def test_withdrawals_and_ends_of_the_rib() -> None:
    both = list(withdraw([VIP, VIP_6, IPv4Address("203.0.113.2")]))
    assert [one.hex(" ") for one in both] == [
        hexadecimal("0021 02 000a 20 cb007101 20 cb007102 0000"),
        hexadecimal("002e 02 0000 0017 80 0f 14 0002 01 80 20010db8000000000000000000000001"),
    ]
    assert end_of_rib(Family.IPV4).hex(" ") == hexadecimal("0017 02 0000 0000")
    assert end_of_rib(Family.IPV6).hex(" ") == hexadecimal("001d 02 0000 0006 80 0f 03 0002 01")
    assert list(withdraw([])) == []
    assert list(pack([], four_octet=True)) == []


def told(messages: list[bytes], *, four_octet: bool) -> dict[Address, Attributes]:
    """Return what a peer knows after these messages, as our own reader sees it."""
    known: dict[Address, Attributes] = {}
    for data in messages:
        assert len(data) <= 4096
        (one,) = read(data, four_octet=four_octet, internal=True, extended=True)
        assert isinstance(one, Update)
        assert (one.trouble, one.discarded) == ("", ())
        for networks in one.withdrawn:
            for network in networks.networks():
                del known[network.network_address]
        for networks in one.announced:
            path = one.attributes
            assert path is not None
            assert path.next_hop is not None
            assert path.origin == 0
            numbers = tuple(number for kind, part in path.as_path for number in part if kind == 2)
            made = Attributes(path.next_hop, numbers, path.med, path.local_pref, path.communities)
            known |= {network.network_address: made for network in networks.networks()}
    return known


def expected(attributes: Attributes, *, four_octet: bool) -> Attributes:
    """Return what a peer sees of them: ordinary communities ahead of large ones, and no AS number that is too long."""
    ordered = sorted(dict.fromkeys(attributes.communities), key=lambda one: one.large)
    path = tuple(number if four_octet or number <= 0xFFFF else AS_TRANS for number in attributes.as_path)
    return Attributes(attributes.next_hop, path, attributes.med, attributes.local_pref, tuple(ordered))


@given(st.lists(routes_4 | routes_6, max_size=8), st.booleans())
def test_what_is_packed_is_read(routes: list[tuple[Address, Attributes]], four_octet: bool) -> None:
    last = dict(routes)
    known = told(list(pack(last.items(), four_octet=four_octet)), four_octet=four_octet)
    assert known == {vip: expected(attributes, four_octet=four_octet) for vip, attributes in last.items()}


@given(st.sets(vips, max_size=8))
def test_what_is_withdrawn_is_gone(gone: set[Address]) -> None:
    hops = {4: Attributes(HOP), 6: Attributes(HOP_6)}
    messages = list(pack([(vip, hops[vip.version]) for vip in gone], four_octet=True)) + list(withdraw(gone))
    assert told(messages, four_octet=True) == {}


def attribute_of(message: Any, kind: int) -> Any:
    """Return an attribute as scapy sees it."""
    (found,) = [one.attribute for one in message.path_attr if one.type_code == kind]
    return found


@given(st.lists(routes_4 | routes_6, min_size=1, max_size=4), st.booleans())
def test_another_implementation_reads_the_same(routes: list[tuple[Address, Attributes]], four_octet: bool) -> None:
    # Scapy does not know next hops of IPv6 for IPv4 routes, nor takes large communities apart.
    last = {vip: one for vip, one in routes if one.next_hop.version == vip.version}
    scapy_conf.max_list_count = 1000
    scapy_bgp.bgp_module_conf.use_2_bytes_asn = not four_octet
    seen = {}
    for data in pack(last.items(), four_octet=four_octet):
        message = scapy_bgp.BGPHeader(data)[scapy_bgp.BGPUpdate]
        kinds = [one.type_code for one in message.path_attr]
        ascending = [kind for kind in kinds if kind != 14]
        assert ascending == sorted(set(ascending))
        assert 14 not in kinds[1:]
        if 14 in kinds:
            reach = attribute_of(message, 14)
            networks, next_hop = reach.nlri, reach.nh_v6_addr
            assert (reach.afi, reach.safi, reach.nh_addr_len) == (2, 1, 16)
        else:
            networks, next_hop = message.nlri, attribute_of(message, 3).next_hop
        segments = attribute_of(message, 2).segments
        path = [number for segment in segments for number in segment.segment_value]
        for network in networks:
            address, _, bits = network.prefix.partition("/")
            vip = ip_address(address)
            assert int(bits) == vip.max_prefixlen
            one = last[vip]
            wanted = expected(one, four_octet=four_octet)
            assert ip_address(next_hop) == one.next_hop
            assert tuple(path) == wanted.as_path
            assert (4 in kinds) == (one.med is not None)
            assert one.med is None or attribute_of(message, 4).med == one.med
            assert one.local_pref is None or attribute_of(message, 5).local_pref == one.local_pref
            ordinary = [community.parts for community in wanted.communities if not community.large]
            if ordinary:
                assert list(struct.iter_unpack(">HH", bytes(attribute_of(message, 8)))) == ordinary
            seen[vip] = one
    assert seen == last


def test_ten_thousand_vips_take_few_and_full_messages() -> None:
    vips_4: list[tuple[Address, Attributes]] = [(IPv4Address("10.0.0.0") + number, EBGP) for number in range(5000)]
    over_6 = Attributes(HOP_6, (65001,))
    vips_6: list[tuple[Address, Attributes]] = [(IPv6Address("fd00::") + number, over_6) for number in range(5000)]
    messages = list(pack(vips_4 + vips_6, four_octet=True))
    # 4096 - 19 - 4 - 20 bytes for prefixes of 5, and 4096 - 19 - 4 - 25 - 13 for prefixes of 17.
    assert len(messages) == -(-5000 // (4053 // 5)) + -(-5000 // (4035 // 17))
    assert len(told(messages, four_octet=True)) == 10000
    gone = list(withdraw([vip for vip, _ in vips_4 + vips_6]))
    assert max(map(len, gone)) <= 4096
    assert len(gone) == -(-5000 // (4073 // 5)) + -(-5000 // (4066 // 17))
    assert told(messages + gone, four_octet=True) == {}


REFUSED = [
    # VIP, attributes, a word of why
    (VIP_6, EBGP, "IPv6 route cannot have the next hop 192.0.2.1"),
    (VIP, Attributes(ip_address("0.0.0.0"), (65001,)), "0.0.0.0 cannot be a next hop"),
    (VIP_6, Attributes(ip_address("::"), (65001,)), ":: cannot be a next hop"),
    (VIP, Attributes(ip_address("ff02::1"), (65001,)), "ff02::1 cannot be a next hop"),
    (VIP, Attributes(HOP, (0,)), "AS 0 cannot be in a path"),
    (VIP, Attributes(HOP, (1 << 32,)), "AS 4294967296"),
    (VIP, Attributes(HOP, (), med=-1), "a MED of -1"),
    (VIP, Attributes(HOP, (), local_pref=1 << 32), "a local preference of 4294967296"),
    (VIP, Attributes(HOP, (), communities=(Community((65536, 1)),)), "community 65536:1"),
    (VIP, Attributes(HOP, (), communities=(Community((1, 2, 1 << 32)),)), "community 1:2:4294967296"),
    (VIP, Attributes(HOP, (), communities=(Community((1,)),)), "community 1 "),
    (VIP, Attributes(HOP, (65001,), communities=many(1012)), "1012 communities and 1 AS numbers are too many"),
    (VIP_6, Attributes(HOP_6, (65001,), communities=many(1004)), "1004 communities and 1 AS numbers are too many"),
    (VIP, Attributes(HOP, (65001,) * 1500), "0 communities and 1500 AS numbers are too many"),
]


@pytest.mark.parametrize(("vip", "attributes", "why"), REFUSED)
def test_what_cannot_be_sent_is_an_error_ahead_of_everything(vip: Address, attributes: Attributes, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        pack([(VIP, EBGP), (vip, attributes)], four_octet=True)


def test_attributes_may_fill_a_message_up_to_one_route() -> None:
    # 4096 - 19 - 4 - 20 (ORIGIN, AS_PATH, NEXT_HOP) - 4 - 5 for the route: 4044 bytes, 1011 communities.
    messages = list(pack([(VIP, Attributes(HOP, (65001,), communities=many(1011)))], four_octet=True))
    assert [len(one) for one in messages] == [4096]
    assert list(told(messages, four_octet=True)) == [VIP]
    messages = list(pack([(VIP_6, Attributes(HOP_6, (65001,), communities=many(1003)))], four_octet=True))
    assert [len(one) for one in messages] == [4094]
