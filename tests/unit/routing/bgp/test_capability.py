"""Capabilities in OPEN messages, both ways (RFC 5492), and how much of a peer's liberties is borne."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.routing.bgp.capability import (
    Capabilities,
    Family,
    GracefulRestart,
    decode_parameters,
    encode_parameters,
)
from appliance.routing.bgp.notification import Refusal
from tests.profile import PARSER_INPUTS
from tests.unit.routing.bgp.samples import capabilities

V4, V6 = Family.IPV4, Family.IPV6

GOLDEN = [
    # what is said, and the end of the OPEN: length of all parameters, type 2, length of this one, capabilities
    (Capabilities(), "00"),
    (Capabilities(families=frozenset({V4})), "08 02 06 0104 00010001"),
    (Capabilities(families=frozenset({V4, V6})), "0e 02 0c 0104 00010001 0104 00020001"),
    (Capabilities(as_number=4200000001), "08 02 06 4104 fa56ea01"),
    (Capabilities(route_refresh=True, enhanced_refresh=True), "06 02 04 0200 4600"),
    (Capabilities(extended_next_hop=frozenset({(V4, V6)})), "0a 02 08 0506 000100010002"),
    # RFC 4724 section 3: R, time; RFC 8538: N; each family with F.
    (Capabilities(graceful_restart=GracefulRestart(False, 120)), "06 02 04 4002 0078"),
    (
        Capabilities(graceful_restart=GracefulRestart(True, 4095, True, ((V4, True), (V6, False)))),
        "0e 02 0c 400a cfff 00010180 00020100",
    ),
    (Capabilities(unknown=((73, b"\x02lb\x00"), (6, b""))), "0a 02 08 4904 026c6200 0600"),
    # RFC 9072: more than fits into a length of one octet.
    (
        Capabilities(unknown=((200, bytes(250)), (201, b"\x01"))),
        "ff ff 0102 02 00ff" + "c8fa" + "00" * 250 + "c90101",
    ),
]


@pytest.mark.parametrize(("said", "wire"), GOLDEN)
def test_both_ways(said: Capabilities, wire: str) -> None:
    assert encode_parameters(said).hex() == bytes.fromhex(wire).hex()
    assert decode_parameters(bytes.fromhex(wire)) == said


BORNE = [
    # how a peer may write it, and what it means
    ("10 02 06 0104 00010001 02 06 0104 00020001", Capabilities(families=frozenset({V4, V6}))),  # a parameter each
    ("0e 02 0c 0104 00010001 0104 00010001", Capabilities(families=frozenset({V4}))),  # the same one twice
    ("0e 02 0c 0104 00010080 0104 40040047", Capabilities()),  # VPN routes, BGP-LS
    ("08 02 06 0104 0001ff01", Capabilities(families=frozenset({V4}))),  # the reserved octet is to be ignored
    ("0e 02 0c 4104 00000001 4104 00000002", Capabilities(as_number=2)),
    ("0c 02 0a 4002 0001 4002 8002 0600", Capabilities(graceful_restart=GracefulRestart(True, 2), unknown=((6, b""),))),
    ("02 02 00", Capabilities()),  # a parameter without any
    ("0e 02 0c 4002 7078 4006 0078 0001 80 80", Capabilities(graceful_restart=GracefulRestart(False, 120))),
    ("10 02 0e 050c 0001 0001 0002 0001 0080 0002", Capabilities(extended_next_hop=frozenset({(V4, V6)}))),
    ("06 02 04 8000 8000", Capabilities(unknown=((128, b""),))),  # the first route refresh of one vendor
    ("ff ff 0009 02 0006 0104 00010001", Capabilities(families=frozenset({V4}))),  # RFC 9072 without need
    ("09 ff 0009 02 0006 0104 00010001", Capabilities(families=frozenset({V4}))),  # whatever the first length says
]


@pytest.mark.parametrize(("wire", "meant"), BORNE)
def test_what_a_peer_may_do_is_understood(wire: str, meant: Capabilities) -> None:
    assert decode_parameters(bytes.fromhex(wire)) == meant


REFUSED = [
    # the end of the OPEN, subcode, a word of why
    ("", 0, "ends before"),
    ("05 02 06 0104", 0, "5 bytes of optional parameters are announced, and 4 follow"),
    ("00 02", 0, "0 bytes of optional parameters are announced, and 1 follow"),
    ("01 02", 0, "cut off"),
    ("03 02 02 01", 0, "has 2 bytes, and 1 are left"),
    ("03 02 01 01", 0, "a capability is cut off"),
    ("06 02 04 0104 0001", 0, "a capability of type 1 has 4 bytes, and 2 are left"),
    ("07 02 05 0103 000100", 0, "capability 1 (MULTIPROTOCOL) has 3 bytes"),
    ("05 02 03 0201 00", 0, "capability 2 (ROUTE_REFRESH) has 1 bytes"),
    ("06 02 04 4102 0001", 0, "capability 65 (FOUR_OCTET_AS) has 2 bytes"),
    ("04 02 02 4000", 0, "capability 64 (GRACEFUL_RESTART) has 0 bytes"),
    ("07 02 05 4003 007800", 0, "capability 64 (GRACEFUL_RESTART) has 3 bytes"),
    ("08 02 06 0504 00010001", 0, "capability 5 (EXTENDED_NEXT_HOP) has 4 bytes"),
    ("04 01 02 0000", 4, "optional parameter of type 1"),
    ("ff ff 00", 0, "extended length"),
    ("ff ff 0002 0200", 0, "cut off"),
]


@pytest.mark.parametrize(("wire", "subcode", "why"), REFUSED)
def test_what_does_not_add_up_is_refused(wire: str, subcode: int, why: str) -> None:
    with pytest.raises(Refusal) as refused:
        decode_parameters(bytes.fromhex(wire))
    assert (refused.value.code, refused.value.subcode) == (2, subcode)
    assert why in refused.value.why


@given(capabilities)
def test_what_is_said_is_understood(said: Capabilities) -> None:
    assert decode_parameters(encode_parameters(said)) == said


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=40) | st.binary(max_size=38).map(lambda data: bytes([len(data) + 2, 2, len(data)]) + data))
def test_any_bytes_are_capabilities_or_a_refusal(data: bytes) -> None:
    try:
        said = decode_parameters(data)
    except Refusal:
        return
    assert decode_parameters(encode_parameters(said)) == said


@pytest.mark.parametrize(
    "said",
    [
        Capabilities(graceful_restart=GracefulRestart(time=4096)),
        Capabilities(graceful_restart=GracefulRestart(time=-1)),
        Capabilities(unknown=((256, b""),)),
        Capabilities(unknown=((6, bytes(256)),)),
    ],
)
def test_what_has_no_form_is_not_sent(said: Capabilities) -> None:
    with pytest.raises(ValueError):
        encode_parameters(said)
