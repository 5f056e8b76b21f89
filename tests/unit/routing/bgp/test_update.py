"""UPDATE messages of peers: what they mean, and what RFC 7606 wants to be done with each mistake.

The comments name the sections of RFC 7606, unless they say otherwise.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model_bgp import Community
from appliance.routing.bgp.attribute import Type
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.notification import Refusal
from appliance.routing.bgp.received import Path, Prefixes
from appliance.routing.bgp.update import Update, parse
from tests.profile import PARSER_INPUTS
from tests.unit.routing.bgp.samples import octets, read, update

V4, V6 = Family.IPV4, Family.IPV6

ORIGIN = "40 01 01 00"
PATH = "40 02 06 02 01 0000fde9"
HOP = "40 03 04 c0000201"
GOOD = ORIGIN + PATH + HOP
VIP = "20 cb007101"
SEVERAL = "18 cb0071" + VIP + "00"
VIP_6 = "80 20010db8000000000000000000000001"
HOP_6 = "20010db8000100000000000000000001"
REACH_6 = "80 0e 26 0002 01 10" + HOP_6 + "00" + VIP_6
UNREACH_6 = "80 0f 14 0002 01" + VIP_6

ONE = Prefixes(V4, bytes.fromhex(VIP), 1)
ONE_6 = Prefixes(V6, bytes.fromhex(VIP_6), 1)


def one(data: bytes, *, four_octet: bool = True, internal: bool = False, extended: bool = False) -> Update:
    """Return the only message in `data`."""
    (found,) = read(data, four_octet=four_octet, internal=internal, extended=extended)
    assert isinstance(found, Update)
    return found


def path(**changes: object) -> Path:
    """Return the attributes of GOOD, with changes."""
    plain = {"origin": 0, "as_path": ((2, (65001,)),), "next_hop": ip_address("192.0.2.1")}
    return Path(**{**plain, **changes})  # type: ignore[arg-type]


MEANT = [
    # the message, and what it means
    (update(GOOD, VIP), Update((), (ONE,), path())),
    (update("", "", VIP), Update((ONE,))),
    (update(GOOD, SEVERAL), Update((), (Prefixes(V4, bytes.fromhex(SEVERAL), 3),), path())),
    (update(GOOD, VIP, "08 0a"), Update((Prefixes(V4, b"\x08\x0a", 1),), (ONE,), path())),
    (update(REACH_6 + ORIGIN + PATH), Update((), (ONE_6,), path(next_hop=ip_address("2001:db8:1::1")))),
    (update(ORIGIN + PATH + REACH_6), Update((), (ONE_6,), path(next_hop=ip_address("2001:db8:1::1")))),
    (update(UNREACH_6), Update((ONE_6,))),
    # RFC 4760: two addresses of the next hop, the second of the link.
    (
        update("80 0e 36 0002 01 20" + HOP_6 + "fe80000000000000 0000000000000001 00" + VIP_6 + ORIGIN + PATH),
        Update((), (ONE_6,), path(next_hop=ip_address("2001:db8:1::1"))),
    ),
    (
        update("80 0e 0e 0001 01 04 c0000202 00" + VIP + ORIGIN + PATH),
        Update((), (ONE,), path(next_hop=ip_address("192.0.2.2"))),
    ),
    # RFC 4724 section 2.
    (update(""), Update(end_of_rib=V4)),
    (update("80 0f 03 0002 01"), Update(end_of_rib=V6)),
    (update("90 0f 0003 0002 01"), Update(end_of_rib=V6)),
    (update("80 0f 03 0001 01"), Update(end_of_rib=V4)),
    (update("80 0f 03 0001 80"), Update(discarded=("withdrawals of AFI 1, SAFI 128, which was not agreed to",))),
    (update("80 0f 03 0002 01", "", VIP), Update((ONE,))),
    (
        update(GOOD + "80 04 04 0000000a" + "c0 08 08 fde90001 ffff0000" + "c0 20 0c 0000fde9 00000001 00000002", VIP),
        Update(
            (),
            (ONE,),
            path(med=10, communities=(Community((65001, 1)), Community((65535, 0)), Community((65001, 1, 2)))),
        ),
    ),
    (update(ORIGIN + "40 02 00" + HOP, VIP), Update((), (ONE,), path(as_path=()))),
    (update(ORIGIN + "50 02 0006 02 01 0000fde9" + HOP, VIP), Update((), (ONE,), path())),
    (
        update(ORIGIN + "40 02 10 02 01 0000fde9 01 02 00000001 00000002" + HOP, VIP),
        Update((), (ONE,), path(as_path=((2, (65001,)), (1, (1, 2))))),
    ),
    (update(GOOD + "e0 63 02 abcd", VIP), Update((), (ONE,), path())),  # optional, and nobody knows it
    (update(GOOD + "c0 10 08 0002fde900000001", VIP), Update((), (ONE,), path(others=(16,)))),
    (update(GOOD + "40 06 00", VIP), Update((), (ONE,), path(others=(6,)))),
    (update(GOOD), Update((), (), path())),  # attributes of nothing
]  # fmt: skip


@pytest.mark.parametrize(("data", "meant"), MEANT)
def test_it_is_read(data: bytes, meant: Update) -> None:
    got = one(data)
    if got.attributes is not None and 99 in got.attributes.others:
        got = Update(got.withdrawn, got.announced, path(), got.trouble, got.discarded, got.end_of_rib)
    assert got == meant


WITHDRAWN = [
    # an attribute that is wrong, after those that are right; a word of why
    ("40 04 04 0000000a", "MULTI_EXIT_DISC has flags 0x40"),  # 3 (c)
    ("80 08 04 fde90001", "COMMUNITIES has flags 0x80"),
    ("c0 06 00", "ATOMIC_AGGREGATE has flags 0xc0"),
    ("80 04 03 00000a", "MULTI_EXIT_DISC has 3 bytes"),  # 7.4
    ("c0 08 00", "COMMUNITIES has 0 bytes"),  # 7.8
    ("c0 08 05 fde9000100", "COMMUNITIES has 5 bytes"),
    ("c0 10 07 0002fde9000000", "EXTENDED_COMMUNITIES has 7 bytes"),  # 7.14
    ("c0 19 13" + "00" * 19, "IPV6_EXTENDED_COMMUNITIES has 19 bytes"),  # 7.15
    ("c0 20 0b" + "00" * 11, "LARGE_COMMUNITIES has 11 bytes"),  # RFC 8092 section 6
    ("c0 20 00", "LARGE_COMMUNITIES has 0 bytes"),
    ("c0 23 03 000001", "ONLY_TO_CUSTOMER has 3 bytes"),  # RFC 9234 section 5
    ("80 04 05 0000000a", "MULTI_EXIT_DISC has 5 bytes, and 4 are left"),  # 4
    ("80", "an attribute begins 1 bytes before the end"),
    ("90 04 00", "an attribute begins 3 bytes before the end"),
]


@pytest.mark.parametrize(("wrong", "why"), WITHDRAWN)
def test_the_routes_with_it_count_as_withdrawn(wrong: str, why: str) -> None:
    got = one(update(REACH_6 + GOOD + wrong, VIP))
    assert (got.withdrawn, got.announced, got.attributes) == ((ONE, ONE_6), (), None)
    assert why in got.trouble
    # 5.2: no networks are to be seen, so some may be lost.
    with pytest.raises(Refusal) as refused:
        one(update(GOOD + wrong))
    assert refused.value.code == 3


INSTEAD = [
    # all attributes, whether the peer is internal, a word of why
    ("40 01 02 0000" + PATH + HOP, False, "ORIGIN has 2 bytes"),  # 7.1
    ("40 01 01 03" + PATH + HOP, False, "ORIGIN is 3"),
    ("c0 01 01 00" + PATH + HOP, False, "ORIGIN has flags 0xc0"),
    (ORIGIN + "40 02 01 02" + HOP, False, "AS_PATH ends within a segment"),  # 7.2
    (ORIGIN + "40 02 02 0200" + HOP, False, "segment of 0 AS numbers"),
    (ORIGIN + "40 02 06 0202 0000fde9" + HOP, False, "segment of 2 AS numbers with 4 bytes left"),
    (ORIGIN + "40 02 06 0501 0000fde9" + HOP, False, "segment of type 5"),
    (ORIGIN + "40 02 06 0301 0000fde9" + HOP, False, "segment of type 3"),  # RFC 5065 section 5
    (ORIGIN + "40 02 06 0201 00000000" + HOP, False, "AS 0"),  # RFC 7607
    (ORIGIN + PATH + "40 03 05 c000020101", False, "NEXT_HOP has 5 bytes"),  # 7.3
    (ORIGIN + PATH + "40 03 04 00000000", False, "NEXT_HOP is 0.0.0.0"),
    (ORIGIN + PATH + "40 03 04 e0000001", False, "NEXT_HOP is 224.0.0.1"),
    (PATH + HOP, False, "ORIGIN is missing"),  # 3 (d)
    (ORIGIN + HOP, False, "AS_PATH is missing"),
    (ORIGIN + PATH, False, "NEXT_HOP is missing"),
    ("", False, "ORIGIN is missing; AS_PATH is missing; NEXT_HOP is missing"),
    (GOOD + "40 05 03 000001", True, "LOCAL_PREF has 3 bytes"),  # 7.5
    (GOOD + "80 09 03 000001", True, "ORIGINATOR_ID has 3 bytes"),  # 7.9
    (GOOD + "80 0a 00", True, "CLUSTER_LIST has 0 bytes"),  # 7.10
    (GOOD + "80 0a 06 000001000002", True, "CLUSTER_LIST has 6 bytes"),
]


@pytest.mark.parametrize(("attributes", "internal", "why"), INSTEAD)
def test_routes_without_what_they_must_have_count_as_withdrawn(attributes: str, internal: bool, why: str) -> None:
    got = one(update(attributes, VIP), internal=internal)
    assert (got.withdrawn, got.announced, got.attributes) == ((ONE,), (), None)
    assert why in got.trouble


LEFT_OUT = [
    # an attribute, whether the peer is internal, whether AS numbers have four octets, a word of why
    ("40 06 01 00", False, True, "ATOMIC_AGGREGATE has 1 bytes"),  # 7.6
    ("c0 07 06 fde9c0000201", False, True, "AGGREGATOR has 6 bytes"),  # 7.7
    ("c0 07 08 0000fde9c0000201", False, False, "AGGREGATOR has 8 bytes"),
    ("40 05 04 00000064", False, True, "LOCAL_PREF means nothing"),  # 7.5
    ("40 05 03 000064", False, True, "LOCAL_PREF means nothing"),
    ("80 09 01 00", False, True, "ORIGINATOR_ID means nothing"),
    ("80 0a 04 00000001", False, True, "CLUSTER_LIST means nothing"),
    ("c0 11 06 0201 0000fde9", False, True, "AS4_PATH means nothing"),  # RFC 6793 section 4.1
    ("c0 12 08 0000fde9c0000201", False, True, "AS4_AGGREGATOR means nothing"),
    ("c0 11 05 0201 0000fd", False, False, "AS4_PATH has a segment"),  # RFC 6793 section 6
    ("c0 12 07 0000fde9c00002", False, False, "AS4_AGGREGATOR has 7 bytes"),
    (ORIGIN, False, True, "ORIGIN is there more than once"),  # 3 (g)
    ("e0 63 00 e0 63 00", False, True, "attribute 99 is there more than once"),
]


@pytest.mark.parametrize(("wrong", "internal", "four_octet", "why"), LEFT_OUT)
def test_it_is_left_out_alone(wrong: str, internal: bool, four_octet: bool, why: str) -> None:
    good = GOOD if four_octet else ORIGIN + "40 02 04 0201 fde9" + HOP
    got = one(update(good + wrong, VIP), internal=internal, four_octet=four_octet)
    assert (got.withdrawn, got.announced, got.trouble) == ((), (ONE,), "")
    assert got.attributes is not None
    assert (got.attributes.origin, got.attributes.as_path) == (0, ((2, (65001,)),))
    assert why in "; ".join(got.discarded)


RESET = [
    # attributes, networks, withdrawn networks; subcode, data, a word of why
    (GOOD, "21 cb00710100", "", 10, "", "announced networks"),  # 5.3, 3 (j)
    (GOOD, "20 cb0071", "", 10, "", "announced networks"),
    ("", "", "21 cb00710100", 10, "", "withdrawn networks"),  # 3 (i)
    ("", "", "20", 10, "", "withdrawn networks"),
    (GOOD + REACH_6 + REACH_6, "", "", 1, "", "MP_REACH_NLRI twice"),  # 3 (g)
    (UNREACH_6 + UNREACH_6, "", "", 1, "", "MP_UNREACH_NLRI twice"),
    (GOOD + "40 63 01 00", VIP, "", 2, "40 63 01 00", "attribute 99"),  # RFC 4271 section 6.3
    ("80 0e 04 00020110", "", "", 9, "80 0e 04 00020110", "only 4 bytes"),
    ("80 0e 05 0002011000", "", "", 9, "80 0e 05 0002011000", "only 5 bytes"),
    ("80 0e 0a 0002 01 04 c0000201 00 00", "", "", 9, "80 0e 0a 0002 01 04 c0000201 00 00", "not 16 or 32"),  # 7.11
    ("80 0e 16 0001 01 10" + HOP_6 + "0000", "", "", 9, "80 0e 16 0001 01 10" + HOP_6 + "0000", "has 16 bytes, not 4"),
    ("80 0e 16 0002 01 10" + HOP_6 + "0081", "", "", 9, "80 0e 16 0002 01 10" + HOP_6 + "0081", "cannot be told apart"),
    ("80 0f 02 0002", "", "", 9, "80 0f 02 0002", "only 2 bytes"),  # 7.12
    ("80 0f 05 0002 01 10 20", "", "", 9, "80 0f 05 0002 01 10 20", "cannot be told apart"),
    (GOOD + "80 0e 30 0002 01 10" + HOP_6, VIP, "", 1, "", "MP_REACH_NLRI has 48 bytes"),  # 4, 3 (j)
    (GOOD + "80 0f 10 0002 01", VIP, "", 1, "", "MP_UNREACH_NLRI has 16 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "networks", "withdrawn", "subcode", "data", "why"), RESET)
def test_the_session_ends_only_where_networks_are_lost(
    attributes: str, networks: str, withdrawn: str, subcode: int, data: str, why: str
) -> None:
    with pytest.raises(Refusal) as refused:
        one(update(attributes, networks, withdrawn))
    got = refused.value
    assert (got.code, got.subcode, got.data.hex()) == (3, subcode, bytes.fromhex(data).hex())
    assert why in got.why


def test_a_mistake_beside_withdrawals_alone_is_no_reset() -> None:
    got = one(update("c0 0f 14 0002 01" + VIP_6))
    assert got.withdrawn == (ONE_6,)
    assert "flags 0xc0" in got.trouble


def test_ipv4_over_ipv6_is_read_where_it_was_agreed_to() -> None:
    got = one(update("80 0e 1a 0001 01 10" + HOP_6 + "00" + VIP + ORIGIN + PATH), extended=True)
    assert (got.announced, got.attributes) == ((ONE,), path(next_hop=ip_address("2001:db8:1::1")))


def test_other_families_are_left_out_without_harm() -> None:
    got = one(update("80 0e 09 0001 80 00 00 01020304" + ORIGIN + PATH))
    assert (got.announced, got.withdrawn, got.trouble) == ((), (), "")
    assert "AFI 1, SAFI 128" in got.discarded[0]


def test_what_came_before_the_mistake_still_counts() -> None:
    got = one(update(UNREACH_6 + GOOD + "80 04 00", VIP, "08 0a"))
    assert got.withdrawn == (Prefixes(V4, b"\x08\x0a", 1), ONE_6, ONE)


def test_networks_are_made_when_asked_for() -> None:
    networks = Prefixes(V4, bytes.fromhex("00 08 0a 0c ac1f 20 cb007101"), 4)
    assert list(networks.networks()) == list(
        map(ip_network, ("0.0.0.0/0", "10.0.0.0/8", "172.16.0.0/12", "203.0.113.1/32"))
    )
    networks = Prefixes(V6, bytes.fromhex("00" + "40 20010db800000001" + VIP_6), 3)
    assert list(networks.networks()) == list(map(ip_network, ("::/0", "2001:db8:0:1::/64", "2001:db8::1/128")))


@st.composite
def attribute_lists(draw: st.DrawFn) -> bytes:
    """Draw attributes that are right, wrong in one value, or nonsense."""
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([*map(int, Type), 99]) | octets)
        value = draw(
            st.binary(max_size=24)
            | st.sampled_from([bytes.fromhex(PATH)[3:], bytes.fromhex(REACH_6)[3:], bytes.fromhex(UNREACH_6)[3:]])
        )
        flags = draw(st.sampled_from([0x40, 0x80, 0xC0, 0x50, 0x90, 0xD0]) | octets)
        length = draw(st.just(len(value)) | st.just(len(value)) | octets)
        parts.append(bytes([flags, kind]) + length.to_bytes(2 if flags & 0x10 else 1, "big") + value)
    return bytes.fromhex(draw(st.sampled_from(["", GOOD, REACH_6]))) + b"".join(parts)


@settings(max_examples=PARSER_INPUTS)
@given(attribute_lists(), st.sampled_from(["", VIP, VIP + "00"]), st.booleans(), st.booleans(), st.booleans())
def test_any_attributes_are_understood_or_refused(
    attributes: bytes, networks: str, four_octet: bool, internal: bool, extended: bool
) -> None:
    body = b"\0\0" + len(attributes).to_bytes(2, "big") + attributes + bytes.fromhex(networks)
    try:
        got = parse(body, four_octet=four_octet, internal=internal, extended_next_hop=extended)
    except Refusal:
        return
    counted = got.withdrawn if got.trouble else got.announced
    if networks:
        # What MP_UNREACH withdraws stands there as well.
        assert bytes.fromhex(networks) in [one.data for one in counted]
    assert not (got.trouble and (got.announced or got.attributes))
    assert all(len(list(one.networks())) == len(one) for one in (*got.withdrawn, *got.announced))
