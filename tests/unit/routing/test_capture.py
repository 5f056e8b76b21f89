"""What people see of a session: lines of text, and a pcap file that tcpdump reads."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model_address import Address
from appliance.model_bgp import Community
from appliance.routing.bgp.capability import Capabilities, Family, GracefulRestart
from appliance.routing.bgp.message import Keepalive, Notification, Open, RouteRefresh, encode
from appliance.routing.bgp.notification import shutdown_data
from appliance.routing.bgp.update import end_of_rib, pack, withdraw
from appliance.routing.capture import PCAP_HEADER, Packets, Transcript
from appliance.routing.route import Attributes
from tests.profile import PARSER_INPUTS
from tests.unit.routing.bgp.samples import message, plain_messages, update

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.utils import RawPcapReader

V4, V6 = Family.IPV4, Family.IPV6
AT = 1_790_000_000.25
PEER, LOCAL = ip_address("192.0.2.1"), ip_address("192.0.2.9")
SENT, RECEIVED = "2026-09-21T14:13:20.250Z sent to 192.0.2.1 ", "2026-09-21T14:13:20.250Z received from 192.0.2.1 "

EVERYTHING = Open(
    4200000001,
    10,
    IPv4Address("192.0.2.9"),
    Capabilities(
        families=frozenset({V4, V6}),
        as_number=4200000001,
        route_refresh=True,
        enhanced_refresh=True,
        graceful_restart=GracefulRestart(True, 120, True, ((V4, True), (V6, False))),
        extended_next_hop=frozenset({(V4, V6)}),
        unknown=((73, b"\x02"), (6, b"")),
    ),
)
ROUTE = Attributes(PEER, (65001, 65001), 10, 100, (Community((65535, 0)), Community((65001, 1, 2))))


def packed(vip: str, attributes: Attributes) -> bytes:
    """Return the UPDATE of one route."""
    (data,) = pack([(ip_address(vip), attributes)], four_octet=True)
    return data


LINES = [
    # a message, and what is said of it
    (
        encode(EVERYTHING),
        (
            "OPEN AS 4200000001, hold time 10 s, router id 192.0.2.9, IPv4 and IPv6, four-octet AS, route refresh,"
            " enhanced route refresh, IPv4 over IPv6, graceful restart 120 s restarting notifications (IPv4 preserved"
            " and IPv6), capability 73 02, capability 6"
        ),
    ),
    (encode(Open(65001, 0, IPv4Address("1.1.1.1"), Capabilities())), "OPEN AS 65001, hold time 0 s, router id 1.1.1.1"),
    (encode(Keepalive()), "KEEPALIVE"),
    (
        encode(Notification(6, 2, shutdown_data("back soon"))),
        'NOTIFICATION 6/2 cease, administrative shutdown: "back soon"',
    ),
    (encode(RouteRefresh(V6)), "ROUTE-REFRESH send again IPv6"),
    (encode(RouteRefresh(V4, 1)), "ROUTE-REFRESH begin of IPv4"),
    (encode(RouteRefresh(V4, 2)), "ROUTE-REFRESH end of IPv4"),
    (message(5, "0001 07 80"), "ROUTE-REFRESH subtype 7 what is not known here"),
    (end_of_rib(V6), "UPDATE end of the IPv6 RIB"),
    (
        packed("203.0.113.1", ROUTE),
        (
            "UPDATE announced 203.0.113.1/32; next hop 192.0.2.1; origin IGP; path 65001 65001; MED 10;"
            " local preference 100; communities 65535:0 65001:1:2"
        ),
    ),
    (
        packed("203.0.113.1", Attributes(ip_address("fd00::1"))),
        "UPDATE announced 203.0.113.1/32; next hop fd00::1; origin IGP; empty path",
    ),
    (next(withdraw([ip_address("fd00::5")])), "UPDATE withdrawn fd00::5/128"),
    (
        next(withdraw([IPv4Address("10.0.0.0") + number for number in range(20)])),
        "UPDATE withdrawn " + " ".join(f"10.0.0.{number}/32" for number in range(16)) + " and 4 more",
    ),
    (
        update("40 01 01 03 40 02 00 40 03 04 c0000201", "08 0a"),
        "UPDATE withdrawn 10.0.0.0/8; counted as withdrawn because ORIGIN is 3",
    ),
    (
        update("40 01 01 02 40 02 0a 01 02 00000001 00000002 40 03 04 c0000201 c0 10 08" + "00" * 8, "08 0a"),
        "UPDATE announced 10.0.0.0/8; next hop 192.0.2.1; origin incomplete; path {1 2}; attributes 16",
    ),
    (message(9, "0102"), "type 9 that cannot be read, the peer sent a message of type 9"),
    (message(2, "ffff 0000"), "UPDATE that cannot be read, the peer's UPDATE has lists of 65535 and 0 bytes"),
    (b"GET / HTTP/1.0\r\n", "what is no message: 47 45 54 20"),
    (b"\xff" * 16 + b"\xff\xff\x02abc", "UPDATE that cannot be read, the peer sent a message with length 65535"),
]


@pytest.mark.parametrize(("data", "said"), LINES, ids=[said[:20] for _, said in LINES])
@pytest.mark.parametrize("sent", [True, False])
def test_a_message_is_a_line(data: bytes, said: str, sent: bool) -> None:
    transcript = Transcript(PEER, internal=True)
    (line,) = transcript.lines(AT, sent=sent, data=data)
    assert line.startswith((SENT if sent else RECEIVED) + said)
    if "because" in said or "cannot be read" in said or "no message" in said:
        assert line.endswith(data.hex(" ")[-5:])
    else:
        assert line == (SENT if sent else RECEIVED) + said


def test_how_updates_are_to_be_read_is_learnt_from_the_opens() -> None:
    transcript = Transcript(PEER)
    old = Open(65001, 9, IPv4Address("1.1.1.1"), Capabilities())
    list(transcript.lines(AT, sent=True, data=encode(EVERYTHING)))
    list(transcript.lines(AT, sent=False, data=encode(old)))
    (data,) = pack([(PEER, Attributes(LOCAL, (4200000001,)))], four_octet=False)
    (line,) = transcript.lines(AT, sent=True, data=data)
    assert "path 23456; attributes 17" in line


def test_it_may_begin_in_the_middle_of_a_message_and_go_on_behind_rubbish() -> None:
    route = packed("203.0.113.1", ROUTE)
    transcript = Transcript(PEER, internal=True)
    lines = list(transcript.lines(AT, sent=False, data=route[20:] + encode(Keepalive()) + b"rubbish" + route))
    assert [line.removeprefix(RECEIVED)[:9] for line in lines] == ["what is n", "KEEPALIVE", "what is n", "UPDATE an"]


@settings(max_examples=PARSER_INPUTS)
@given(st.lists(plain_messages.map(encode) | st.binary(max_size=30), max_size=4).map(b"".join), st.data())
def test_any_bytes_are_lines_and_none_gets_lost(wire: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(wire)))
    transcript = Transcript(PEER)
    for piece in (wire[:cut], wire[cut:]):
        for line in transcript.lines(AT, sent=False, data=piece):
            assert line.isprintable()
    # What is still held back is at most one message that may become whole.
    more = list(transcript.lines(AT, sent=False, data=bytes(4200) + encode(Keepalive())))
    assert more[-1].endswith("KEEPALIVE")


CONVERSATION = [
    (True, encode(EVERYTHING)),
    (False, encode(Open(65000, 90, IPv4Address("192.0.2.1"), Capabilities(as_number=65000)))),
    (True, encode(Keepalive())),
    (True, packed("203.0.113.1", Attributes(LOCAL, (4200000001,), 10))),
    (True, encode(RouteRefresh(V4))[:7]),
    (True, encode(RouteRefresh(V4))[7:]),
    (True, b"".join(pack([(IPv4Address("10.0.0.0") + n, ROUTE) for n in range(20_000)], four_octet=True))),
    (False, encode(Notification(6, 4, shutdown_data("maintenance")))),
]


def captured(local: Address, peer: Address) -> bytes:
    """Return the conversation as a pcap file."""
    packets = Packets(local, peer)
    said = (packets.records(AT + at, sent=sent, data=data) for at, (sent, data) in enumerate(CONVERSATION))
    return PCAP_HEADER + b"".join(said)


@pytest.mark.parametrize(("local", "peer"), [(LOCAL, PEER), (ip_address("fd00::9"), ip_address("fd00::1"))])
def test_packets_go_on_where_the_last_one_ended(tmp_path: Path, local: Address, peer: Address) -> None:
    streams = {True: bytearray(), False: bytearray()}
    file = tmp_path / "bgp.pcap"
    file.write_bytes(captured(local, peer))
    reader = RawPcapReader(str(file))
    assert reader.linktype == 101
    head = 40 if local.version == 6 else 20
    for packet, meta in reader:
        assert packet[0] >> 4 == local.version
        assert meta.usec == 250_000
        assert 0 <= meta.sec - AT + 0.25 < len(CONVERSATION)
        tcp = packet[head:]
        sent = tcp[:2] == (50179).to_bytes(2, "big")
        assert int.from_bytes(tcp[4:8], "big") == 1 + len(streams[sent])
        assert int.from_bytes(tcp[8:12], "big") == 1 + len(streams[not sent])
        streams[sent] += tcp[20:]
    reader.close()
    for sent, stream in streams.items():
        assert bytes(stream) == b"".join(data for mine, data in CONVERSATION if mine is sent)


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="there is no tcpdump here to read the file with")
@pytest.mark.parametrize(("local", "peer"), [(LOCAL, PEER), (ip_address("fd00::9"), ip_address("fd00::1"))])
def test_tcpdump_reads_it(tmp_path: Path, local: Address, peer: Address) -> None:
    file = tmp_path / "bgp.pcap"
    file.write_bytes(captured(local, peer))
    told = subprocess.run(["tcpdump", "-nvvr", file], capture_output=True, text=True, check=True, timeout=60)
    assert "incorrect" not in told.stdout
    assert "bad" not in told.stdout
    for said in (
        "my AS 23456, Holdtime 10s, ID 192.0.2.9",
        "Graceful Restart (64)",
        "Keepalive Message (4), length: 19",
        "203.0.113.1/32",
        "10.0.0.0/32",
        "Multi Exit Discriminator (4), length: 4, Flags [O]: 10",
        "4200000001",
        "Cease (6), subcode Administrative Reset (4)",
        "maintenance",
    ):
        assert said in told.stdout
