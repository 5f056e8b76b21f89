"""Messages as bytes, both ways; what RFC 4271 section 6 answers to those that are wrong; and any bytes at all."""

from __future__ import annotations

import warnings
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.routing.bgp.capability import Capabilities, Family
from appliance.routing.bgp.message import (
    Keepalive,
    Message,
    Notification,
    Open,
    Reader,
    RouteRefresh,
    Update,
    encode,
)
from appliance.routing.bgp.notification import Refusal
from tests.profile import PARSER_INPUTS
from tests.unit.routing.bgp.samples import MARKER, message, plain_messages, read

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.contrib import bgp as scapy_bgp

V4, V6 = Family.IPV4, Family.IPV6
BOTH = Capabilities(families=frozenset({V4, V6}), as_number=65001, route_refresh=True)
ROUTER = IPv4Address("192.0.2.1")

GOLDEN: list[tuple[Open | Notification | Keepalive | RouteRefresh, str]] = [
    (Open(65001, 90, ROUTER, Capabilities()), "001d 01 04 fde9 005a c0000201 00"),
    (
        Open(65001, 10, ROUTER, BOTH),
        "0033 01 04 fde9 000a c0000201 16 02 14 0104 00010001 0104 00020001 0200 4104 0000fde9",
    ),
    # RFC 6793: AS_TRANS where the number does not fit.
    (
        Open(4200000001, 0, ROUTER, Capabilities(as_number=4200000001)),
        "0025 01 04 5ba0 0000 c0000201 08 02 06 4104 fa56ea01",
    ),
    (Notification(6, 2, b"\x03bye"), "0019 03 06 02 03 627965"),
    (Notification(4), "0015 03 04 00"),
    (Keepalive(), "0013 04"),
    (RouteRefresh(V4), "0017 05 0001 00 01"),
    (RouteRefresh(V6, 1), "0017 05 0002 01 01"),
    (RouteRefresh(V6, 2), "0017 05 0002 02 01"),
]


@pytest.mark.parametrize(("said", "wire"), GOLDEN)
def test_both_ways(said: Open | Notification | Keepalive | RouteRefresh, wire: str) -> None:
    data = bytes.fromhex(MARKER + wire)
    assert encode(said).hex(" ") == data.hex(" ")
    assert read(data) == [said]


REFUSED = [
    # what comes, code, subcode, data, a word of why
    ("ff" * 15 + "fe", 1, 1, "", "is it a BGP speaker?"),
    (b"GET / HTTP/1.0".hex(), 1, 1, "", "47 45 54"),
    ("fffe", 1, 1, "", "16 bytes of ff"),
    (MARKER + "0012", 1, 2, "0012", "lengths are 19 to 4096"),
    (MARKER + "1001", 1, 2, "1001", "length 4097"),
    (MARKER + "ffff", 1, 2, "ffff", "length 65535"),
    (MARKER + "0013 00", 1, 3, "00", "type 0"),
    (MARKER + "0013 06", 1, 3, "06", "type 6"),
    (MARKER + "0014 04", 1, 2, "0014", "KEEPALIVE is 19"),
    (MARKER + "001c 01", 1, 2, "001c", "OPEN is 29 to 4096"),
    (MARKER + "0016 02", 1, 2, "0016", "UPDATE is 23 to 4096"),
    (MARKER + "0016 05 000100", 1, 2, "0016", "ROUTE-REFRESH with length 22"),
    (MARKER + "0018 05 0001000100", 1, 2, "0018", "ROUTE-REFRESH with length 24"),
    # RFC 7313 section 5: the whole message is the data.
    (MARKER + "0018 05 0001010100", 7, 1, MARKER + "0018 05 0001010100", "it has 23 bytes"),
    (MARKER + "0016 05 000102", 7, 1, MARKER + "0016 05 000102", "it has 23 bytes"),
    # OPEN: version, AS, hold time, router id.
    (MARKER + "001d 01 03 fde9 005a c0000201 00", 2, 1, "0004", "version 3"),
    (MARKER + "001d 01 05 0000 0001 00000000 00", 2, 1, "0004", "version 5"),
    (MARKER + "001d 01 04 0000 005a c0000201 00", 2, 2, "0000", "AS number is 0"),
    (MARKER + "0025 01 04 5ba0 005a c0000201 08 02 06 4104 00000000", 2, 2, "00000000", "AS number is 0"),
    (MARKER + "0025 01 04 0000 005a c0000201 08 02 06 4104 0000fde9", 2, 2, "0000", "AS number is 0"),
    (MARKER + "001d 01 04 fde9 0001 c0000201 00", 2, 6, "0001", "hold time of 1 s"),
    (MARKER + "001d 01 04 fde9 0002 c0000201 00", 2, 6, "0002", "hold time of 2 s"),
    (MARKER + "001d 01 04 fde9 005a 00000000 00", 2, 3, "00000000", "router id is 0.0.0.0"),
    (MARKER + "001d 01 04 fde9 005a e0000005 00", 2, 3, "e0000005", "router id is 224.0.0.5"),
    (MARKER + "001d 01 04 fde9 005a c0000201 01", 2, 0, "", "optional parameters"),
    (MARKER + "001e 01 04 fde9 005a c0000201 00 02", 2, 0, "", "optional parameters"),
    (MARKER + "0021 01 04 fde9 005a c0000201 04 01 02 0000", 2, 4, "", "type 1"),
    (MARKER + "0024 01 04 fde9 005a c0000201 07 02 05 0103 000100", 2, 0, "", "MULTIPROTOCOL"),
    # UPDATE: lists that do not fit.
    (MARKER + "0017 02 0001 0000", 3, 1, "", "lists of 1 and 0 bytes"),
    (MARKER + "0017 02 0000 0001", 3, 1, "", "lists of 0 and 1 bytes"),
    (MARKER + "0017 02 ffff 0000", 3, 1, "", "lists of 65535"),
]


@pytest.mark.parametrize(("wire", "code", "subcode", "data", "why"), REFUSED)
def test_what_is_wrong_is_answered_as_the_documents_say(
    wire: str, code: int, subcode: int, data: str, why: str
) -> None:
    with pytest.raises(Refusal) as refused:
        read(bytes.fromhex(wire))
    got = refused.value
    assert (got.code, got.subcode, got.data.hex()) == (code, subcode, bytes.fromhex(data).hex())
    assert why in got.why


TAKEN = [
    # what comes, and what it means
    ("001d 01 04 fde9 0000 c0000201 00", Open(65001, 0, ROUTER, Capabilities())),  # no keepalives wanted
    ("001d 01 04 fde9 0003 7f000001 00", Open(65001, 3, IPv4Address("127.0.0.1"), Capabilities())),
    (
        "0025 01 04 fde8 005a c0000201 08 02 06 4104 0000fde9",  # the capability has the last word
        Open(65001, 90, ROUTER, Capabilities(as_number=65001), as_field=65000),
    ),
    # RFC 4271 section 6.4: nothing that is wrong with a NOTIFICATION is answered.
    ("0013 03", Notification(0, 0, b"")),
    ("0014 03 06", Notification(0, 0, b"\x06")),
    ("0016 03 63 63 63", Notification(99, 99, b"\x63")),
    ("0017 05 0001 00 80", RouteRefresh(None, 0)),  # VPN routes
    ("0017 05 4004 00 47", RouteRefresh(None, 0)),
    ("0017 05 0001 03 01", RouteRefresh(None, 3)),  # a subtype of the future
    ("0017 02 0000 0000", Update(end_of_rib=V4)),
]


@pytest.mark.parametrize(("wire", "meant"), TAKEN)
def test_what_a_peer_may_send_is_taken(wire: str, meant: Message) -> None:
    assert read(bytes.fromhex(MARKER + wire)) == [meant]


@given(st.lists(plain_messages, max_size=6), st.data())
def test_what_is_written_is_read_in_whatever_pieces_it_comes(
    said: list[Open | Notification | Keepalive | RouteRefresh], data: st.DataObject
) -> None:
    wire = b"".join(map(encode, said))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = Reader()
    got: list[object] = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        reader.feed(wire[begin:end])
        got += reader.messages()
    assert got == said


@given(plain_messages)
def test_another_implementation_reads_the_same(said: Open | Notification | Keepalive | RouteRefresh) -> None:
    header = scapy_bgp.BGPHeader(encode(said))
    assert header.len == len(encode(said))
    match said:
        case Open():
            body = header[scapy_bgp.BGPOpen]
            assert (body.version, body.my_as, body.hold_time) == (4, said.as_field, said.hold_time)
            assert body.bgp_id == str(said.router_id)
        case Notification():
            body = header[scapy_bgp.BGPNotification]
            assert (body.error_code, body.error_subcode) == (said.code, said.subcode)
        case Keepalive():
            assert header.type == 4
        case RouteRefresh():
            body = header[scapy_bgp.BGPRouteRefresh]
            assert said.family is not None
            assert (body.afi, body.subtype, body.safi) == (said.family.afi, said.subtype, said.family.safi)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw what a peer may send: messages that are right or nearly so, and rubbish."""
    parts = draw(
        st.lists(
            st.one_of(
                plain_messages.map(encode),
                st.builds(message, st.integers(0, 6), st.binary(max_size=60)),
                st.builds(
                    lambda gone, attributes, come: message(
                        2,
                        len(gone).to_bytes(2, "big") + gone + len(attributes).to_bytes(2, "big") + attributes + come,
                    ),
                    st.just(b"") | st.binary(max_size=9),
                    st.binary(max_size=60),
                    st.just(b"") | st.binary(max_size=9),
                ),
            ),
            max_size=4,
        )
    )
    wire = bytearray(b"".join(parts))
    for _ in range(draw(st.integers(0, 3))):
        if wire:
            wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
    return bytes(wire) + draw(st.binary(max_size=4))


def outcome(pieces: list[bytes], **agreed: bool) -> tuple[list[Message], tuple[int, int, bytes] | None]:
    """Return the messages in these pieces, and how it ended."""
    reader = Reader()
    got: list[Message] = []
    for name, value in agreed.items():
        setattr(reader, name, value)
    try:
        for piece in pieces:
            reader.feed(piece)
            for one in reader.messages():
                got.append(one)
    except Refusal as refusal:
        return got, (refusal.code, refusal.subcode, refusal.data)
    return got, None


@settings(max_examples=PARSER_INPUTS)
@given(streams() | st.binary(max_size=80), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_any_bytes_are_messages_or_a_refusal_in_whatever_pieces(
    wire: bytes, four_octet: bool, internal: bool, extended: bool, data: st.DataObject
) -> None:
    agreed = {"four_octet": four_octet, "internal": internal, "extended_next_hop": extended}
    whole = outcome([wire], **agreed)
    assert whole[1] is None or 1 <= whole[1][0] <= 7
    for one in whole[0]:
        if isinstance(one, Update):
            for networks in (*one.withdrawn, *one.announced):
                assert len(list(networks.networks())) == len(networks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    pieces = [wire[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert outcome(pieces, **agreed) == whole


def test_bytes_one_by_one_are_the_same_as_all_at_once() -> None:
    wires = [bytes.fromhex(wire) for wire, *_ in REFUSED] + [bytes.fromhex(MARKER + wire) for wire, _ in TAKEN]
    for wire in wires:
        after = encode(Keepalive()) + wire
        assert outcome([after[at : at + 1] for at in range(len(after))]) == outcome([after])


def test_nothing_is_read_after_a_refusal() -> None:
    reader = Reader()
    reader.feed(encode(Keepalive()) + b"no marker")
    messages = reader.messages()
    assert next(messages) == Keepalive()
    with pytest.raises(Refusal) as first:
        next(messages)
    reader.feed(encode(Keepalive()))
    with pytest.raises(Refusal) as again:
        list(reader.messages())
    assert again.value is first.value


def test_what_is_agreed_counts_from_the_next_message_on() -> None:
    path = "400101 00 4002 06 0201 0000fde9 400304 c0000201"
    body = bytes.fromhex("0000 0014" + path + "18cb0071")
    reader = Reader()
    reader.feed(encode(Open(65001, 9, ROUTER, BOTH)) + message(2, body))
    got: list[Message] = []
    for one in reader.messages():
        reader.four_octet = True
        got.append(one)
    assert isinstance(got[1], Update)
    assert got[1].attributes is not None
    assert got[1].attributes.as_path == ((2, (65001,)),)


@pytest.mark.parametrize(
    "said",
    [
        Notification(256),
        RouteRefresh(None),
        RouteRefresh(V4, 256),
        Open(70000, 9, ROUTER, Capabilities()),
        Open(65001, 9, ROUTER, Capabilities(as_number=65002)),
        Open(65001, 65536, ROUTER, Capabilities()),
        Open(65001, 9, ROUTER, Capabilities(unknown=tuple((200, bytes([i]) * 255) for i in range(16)))),
    ],
)
def test_what_has_no_form_is_not_sent(said: Open | Notification | RouteRefresh) -> None:
    with pytest.raises(ValueError):
        encode(said)


def test_a_notification_is_cut_to_what_a_message_may_carry() -> None:
    assert len(encode(Notification(1, 1, bytes(9000)))) == 4096
