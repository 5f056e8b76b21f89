"""Single values: what each kind reads from a text."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from appliance.config.addresses import HostAddress, HostName, Server, ServerKind, VirtualAddress, VirtualKind
from appliance.config.explain import codes_text
from appliance.config.findings import Invalid
from appliance.config.kinds import Boolean, Choice, Duration, Integer, ScalarKind, duration_text
from appliance.config.outlets import Listening, MulticastGroup, RouterId, Secret, Url, without_password
from appliance.config.policy import FormKind
from appliance.config.prefixes import BlockedPrefix, VlanId, VlanPrefix
from appliance.config.routing import (
    AsNumber,
    CommunityKind,
    Filter,
    HoldTime,
    Hops,
    PeerAddress,
    PrefixName,
    PrefixOrAddress,
)
from appliance.config.values import RequestPath, Seed, SegmentSize, StatusCodes
from appliance.config.values_check import DomainName, Payload, ResponseCodes
from appliance.config.values_fleet import ByteRate, FleetKey, FleetPeer, rate_text
from appliance.model import CheckKind, Protocol
from appliance.model_address import Endpoint
from appliance.model_bgp import Community

DAY = Duration(0, 86400)
FIVE = ip_address("10.1.1.5")
SIX = ip_address("2001:db8::6")

READ: list[tuple[ScalarKind, str, Any]] = [
    (Integer(-5, 5), "-5", -5),
    (Integer(0, 5), "0", 0),
    *[(Boolean(), word, True) for word in ("true", "yes", "on", "True", "YES", "oN")],
    *[(Boolean(), word, False) for word in ("false", "no", "off", "False", "NO", "oFF")],
    (DAY, "0", 0.0),
    (DAY, "2", 2.0),
    (DAY, "0.5", 0.5),
    (DAY, "500ms", 0.5),
    (DAY, "2s", 2.0),
    (DAY, "15m", 900.0),
    (DAY, "1.5h", 5400.0),
    (DAY, "0.1ms", 0.0001),
    (StatusCodes(), "200", frozenset({200})),
    (StatusCodes(), " 200  302-300 ", frozenset({200, 300, 301, 302})),
    (StatusCodes(), "any", frozenset()),
    (RequestPath(), "alive?x=%20", "/alive?x=%20"),
    (RequestPath(), "/", "/"),
    (Seed(), "00112233445566778899AABBCCDDEEFF", bytes.fromhex("00112233445566778899aabbccddeeff")),
    (FleetKey(), "sixteen letters!", b"sixteen letters!"),
    (FleetKey(), "ä" * 7 + "xy", b"\xc3\xa4" * 7 + b"xy"),
    (FleetPeer(), "10.1.1.5", Endpoint(FIVE, 0)),
    (FleetPeer(), "10.1.1.5:9876", Endpoint(FIVE, 9876)),
    (FleetPeer(), "2001:db8::6", Endpoint(SIX, 0)),
    (FleetPeer(), "[2001:db8::6]", Endpoint(SIX, 0)),
    (FleetPeer(), "[2001:db8::6]:65535", Endpoint(SIX, 65535)),
    *[(ByteRate(1, 10**10), text, rate) for text, rate in (("1", 1), ("12k", 12_000), ("3K", 3000), ("4M", 4_000_000))],
    (ByteRate(1, 10**10), "10G", 10**10),
    (VirtualKind(), "10.1.1.5", VirtualAddress(FIVE)),
    (VirtualKind(), "10.1.1.5*", VirtualAddress(FIVE, enabled=False)),
    (ServerKind(), "10.1.1.5", Server(FIVE)),
    (ServerKind(), "10.1.1.5*", Server(FIVE, enabled=False)),
    (ServerKind(), "10.1.1.5  weight=0", Server(FIVE, weight=0)),
    (ServerKind(), "10.1.1.5* weight=100", Server(FIVE, weight=100, enabled=False)),
    (VirtualKind(), "2001:DB8:0:0::0006", VirtualAddress(SIX)),
    (VirtualKind(), "[2001:db8::6]", VirtualAddress(SIX)),
    (VirtualKind(), "[2001:db8::6]*", VirtualAddress(SIX, enabled=False)),
    (ServerKind(), "2001:db8::6 weight=3", Server(SIX, weight=3)),
    (ServerKind(), "2001:db8::6*", Server(SIX, enabled=False)),
    (ServerKind(), "[2001:db8::6]* weight=0", Server(SIX, weight=0, enabled=False)),
    (HostName(), "www.example.com:8080", "www.example.com:8080"),
    (HostName(), "10.1.1.5", "10.1.1.5"),
    (HostName(), "2001:0DB8::6", "2001:db8::6"),
    (HostName(), "[2001:db8::0006]", "2001:db8::6"),
    (HostName(), "[2001:DB8::6]:8080", "[2001:db8::6]:8080"),
    (VlanId(), "1", 1),
    (VlanId(), "4094", 4094),
    (VlanPrefix(4), "10.1.1.0/24", ip_interface("10.1.1.0/24")),
    (VlanPrefix(4), "10.1.1.254/24", ip_interface("10.1.1.254/24")),
    (VlanPrefix(4), "10.1.1.1/31", ip_interface("10.1.1.1/31")),
    (VlanPrefix(6), "2001:DB8::1/64", ip_interface("2001:db8::1/64")),
    (VlanPrefix(6), "2001:db8::ffff/112", ip_interface("2001:db8::ffff/112")),
    (BlockedPrefix(), "0.0.0.0/0", ip_network("0.0.0.0/0")),
    (BlockedPrefix(), "192.0.2.1/32", ip_network("192.0.2.1/32")),
    (BlockedPrefix(), "2001:db8::/32", ip_network("2001:db8::/32")),
    (DomainName(), ".", ""),
    (DomainName(), "a.Example_1.com.", "a.Example_1.com"),
    (ResponseCodes(), "NXDOMAIN NOERROR NXDOMAIN", (0, 3)),
    (ResponseCodes(), "any", ()),
    (Payload(), "PING\n", b"PING\n"),
    (Payload(), "ä", b"\xc3\xa4"),
    (Payload(), "hex:00fF", b"\0\xff"),
    (SegmentSize(), "0", 0),
    (SegmentSize(), "536", 536),
    (Choice({"new": 1}, also={"old": 2}), "old", 2),
    (AsNumber(), "65001", 65001),
    (AsNumber(), "4294967294", 4294967294),
    (AsNumber(), "1.10", 65546),
    (AsNumber(), "0.1", 1),
    (AsNumber(), "65535.65534", 4294967294),
    (HoldTime(10), "0", 10),
    (HoldTime(10), "3", 3),
    (HoldTime(10), "65535", 65535),
    (Hops(), "1", 1),
    (Hops(), "255", 255),
    (Hops(), "Yes", 255),
    (Hops(), "off", 0),
    (CommunityKind(), "65000:10", Community((65000, 10))),
    (CommunityKind(), "0:65535", Community((0, 65535))),
    (CommunityKind(), "blackhole", Community((65535, 666))),
    (CommunityKind(), "4294967295:0:1", Community((4294967295, 0, 1))),
    (PeerAddress(), "127.0.0.1", ip_address("127.0.0.1")),
    (PeerAddress(), "[2001:DB8::6]", SIX),
    (PeerAddress(), "2001:db8::6", SIX),
    (PrefixOrAddress(), "10.1.1.5", ip_network("10.1.1.5/32")),
    (PrefixOrAddress(), "2001:db8::6", ip_network("2001:db8::6/128")),
    (PrefixOrAddress(), "0.0.0.0/0", ip_network("0.0.0.0/0")),
    (Filter(), "any", (ip_network("0.0.0.0/0"), ip_network("::/0"))),
    (Filter(), "10.1.1.5", (ip_network("10.1.1.5/32"),)),
    (Filter(), "2001:db8::/32", (ip_network("2001:db8::/32"),)),
    (Filter(), "site-a.1", "site-a.1"),
    (Filter(), "10a", "10a"),
    (PrefixName(), "Any", "Any"),
    (HostAddress(6), "[2001:db8::6]", SIX),
    (HostAddress(4), "10.1.1.5", FIVE),
    (Listening(), ":80", Endpoint(None, 80)),
    (Listening(), "0.0.0.0:80", Endpoint(None, 80)),
    (Listening(), "[::]:80", Endpoint(None, 80)),
    (Listening(), "127.0.0.1:65535", Endpoint(ip_address("127.0.0.1"), 65535)),
    (Listening(), "[2001:db8::6]:1", Endpoint(SIX, 1)),
    (MulticastGroup(), "239.255.255.255:1", Endpoint(ip_address("239.255.255.255"), 1)),
    (MulticastGroup(), "[ff02::1]:9999", Endpoint(ip_address("ff02::1"), 9999)),
    (RouterId(), "0.0.0.1", ip_address("0.0.0.1")),
    (RouterId(), "255.255.255.255", ip_address("255.255.255.255")),
    (Secret(3), "ä1", "ä1"),
    (Url(), "https://u:p@[2001:db8::6]:9200/x?y=#z", "https://u:p@[2001:db8::6]:9200/x?y=#z"),
    (Url(), "http://elastic", "http://elastic"),
]

REFUSED: list[tuple[ScalarKind, str]] = [
    *[
        (VirtualKind(), text)
        for text in ("2001:db8::6**", "[2001:db8::6", "2001:db8::6]", "[[2001:db8::6]]", "[]", ":")
    ],
    *[(VirtualKind(), text) for text in ("[2001:db8::6]:80", "2001:db8::6/64", "2001:db8::6%1", "[2001:db8::6*]")],
    *[(ServerKind(), text) for text in ("[10.1.1.5]", "::ffff:10.1.1.5", "2001:db8::6 3", "2001:db8::6weight=3")],
    *[(HostName(), text) for text in ("", "[]", "[a]", "[10.1.1.5]", "[2001:db8::6", "[2001:db8::6]:", "[::g]", "a/b")],
    *[(HostName(), text) for text in ("[2001:db8::6]:080", "2001:db8::6%1", "a" * 256, "1:2:3:4:5:6:7:8:9")],
    *[(VlanId(), text) for text in ("", "0", "4095", "01", "-1", "1.0", "0x1")],
    *[(VlanPrefix(4), text) for text in ("", "/", "10.1.1.0/", "/24", "10.1.1.0/-1", "10.1.1.0/2 4", "10.1.1.0/024")],
    *[(VlanPrefix(4), text) for text in ("10.1.1.255/24", "224.0.0.0/4", "0.0.0.0/0", "10.1.1.0/24/24", "9" * 5000)],
    *[(VlanPrefix(6), text) for text in ("::/0", "fe80::/64", "2001:db8::/129", "2001:db8::%1/64", "10.0.0.0/8")],
    *[(BlockedPrefix(), text) for text in ("", "any", "10.1.1.1/24", "2001:db8::1/64", "10.1.1.1", "10.1.1.0/٣")],
    *[(DomainName(), text) for text in ("", "..", "a..b", ".a", "-a", "a-", "a b", "ä", "a" * 64, "a." * 127 + "aa")],
    *[(ResponseCodes(), text) for text in ("", " ", "0", "noerror", "any NOERROR", "NOERROR,NXDOMAIN")],
    *[(Payload(), text) for text in ("", "hex:", "hex:0", "hex:0g", "hex:00 00", "a" * 1025, "hex:" + "00" * 1025)],
    *[(SegmentSize(), text) for text in ("", "-1", "1", "535", "65536", "00")],
    *[(Integer(0, 99), text) for text in ("", "1.0", "+1", "1 ", "1_0", "0x1", "00", "-0", "100", "9" * 5000, "1e1")],
    *[(Boolean(), text) for text in ("", "1", "0", "y", "n", "truE ", "ﬁ", "null")],
    *[(DAY, text) for text in ("", "-1", ".5", "1.", "1 s", "1S", "1m30s", "1e3", "inf", "nan", "25h", "9" * 5000)],
    *[(StatusCodes(), text) for text in ("", " ", "20", "0", "2000", "200,300", "200-", "-300", "Any", "099")],
    *[(RequestPath(), text) for text in ("", " ", "/a b", "/ä", "/#x", "/\n", "x" * 1025)],
    *[(Seed(), text) for text in ("", "0" * 32, "0x" + "1" * 30, "1" * 31 + "g", "12" * 15, "12" * 17)],
    *[(VirtualKind(), text) for text in ("", "*", "10.1.1.5**", "*10.1.1.5", "10.1.1.5 *", "10.1.1", "10.1.1.05")],
    *[(ServerKind(), text) for text in ("", "10.1.1.5 weight", "10.1.1.5 weight=", "10.1.1.5weight=1")],
    *[(ServerKind(), text) for text in ("10.1.1.5 weight=1 weight=2", "10.1.1.5 3", "10.1.1.5\tweight=1", " 10.1.1.5")],
    *[(AsNumber(), text) for text in ("", "0", "-1", "1.", ".1", "1.1.1", "0.0", "0.23456", "65535", "65535.65535")],
    *[(AsNumber(), text) for text in ("4294967295", "9" * 5000, "1.65536", "65536.0", "01", "1.01", "٣", "AS1")],
    *[(HoldTime(10), text) for text in ("", "1", "2", "-3", "65536", "3s", "00")],
    *[(Hops(), text) for text in ("", "0", "256", "far", "1.5")],
    *[(CommunityKind(), text) for text in ("", ":", "1", "1:", ":1", "1:2:3:4", "65536:0", "0:65536", "01:1", "٣:1")],
    *[(CommunityKind(), text) for text in ("1:2:4294967296", "No-Export", "9" * 5000, "x" * 5000, "1:9" * 1000)],
    *[(PeerAddress(), text) for text in ("", "[]", "[10.1.1.5]", "10.1.1.5:179", "fe80::1", "::", "ff02::1", "a")],
    *[(PeerAddress(), text) for text in ("2001:db8::6%eth0", "255.255.255.255", "10.1.1.5/32", "9:" * 5000, "1" * 99)],
    *[(PrefixOrAddress(), text) for text in ("", "any", "10.1.1.1/24", "10.1.1", "[2001:db8::6]", "2001:db8::6%1")],
    *[
        (Filter(), text)
        for text in ("", "a b", "10.1.1.300", "10.1.1.1/24", "-a", "x" * 65, "2001:db8::/129", ":", "/")
    ],
    *[(PrefixName(), text) for text in ("", "any", "10.1.1.1", "1", "a/b", "a:b", "-a", "x" * 65)],
    *[(HostAddress(4), text) for text in ("", "2001:db8::6", "127.0.0.1")],
    *[(HostAddress(6), text) for text in ("", "10.1.1.5", "::1")],
    *[(Listening(), text) for text in ("", "80", ":", ":0", ":65536", "a:80", "2001:db8::6:80", "[10.1.1.5]:80:1")],
    *[(Listening(), text) for text in ("224.0.0.1:80", "[fe80::1%a]:80", "[]:80", "10.1.1.5", "9" * 5000, ":080")],
    *[(MulticastGroup(), text) for text in ("", ":9", "10.1.1.1:9", "224.0.0.1", "ff02::1:9", "[224.0.0.1]:9")],
    *[(RouterId(), text) for text in ("", "0.0.0.0", "1", "2001:db8::6", "1.2.3", "1.2.3.04")],
    *[(Secret(3), text) for text in ("", "1234", "ää", "a\n", "\ud800")],
    *[(Url(), text) for text in ("", "https://", "ftp://a", "elastic", "https://a b", "https://a/\n", "https://-a")],
    *[(Url(), text) for text in ("https://a:0", "https://a/" + "x" * 2048, "HTTPS://a", "https://[a]")],
    *[(FleetKey(), text) for text in ("", "fifteen letters", "x" * 1025, "a" * 20, "a secret\nof two lines")],
    *[(FleetPeer(), text) for text in ("", ":9876", "10.1.1.5:", "10.1.1.5:0", "10.1.1.5:65536", "10.1.1.5:08")],
    *[(FleetPeer(), text) for text in ("[10.1.1.5]:80", "[]:80", "a:80", "224.0.0.1", "10.1.1.5:9876:1", "9" * 5000)],
    *[(ByteRate(10, 10**10), text) for text in ("", "0", "9", "11G", "4MB", "-5", "05", "1.5M", "M", "٣M", "9" * 5000)],
    *[(FormKind(), text) for text in ("", "*", "/", "80/", "/http", "http/80", "80/TCP", "HTTP", "080", "0", "65536")],
    *[(FormKind(), text) for text in ("80**", "80/tcp/tcp", "ssh/tcp", "2525/smtp", "-1", "8 0", "٣", "9" * 5000)],
]


@pytest.mark.parametrize(("kind", "text", "value"), READ)
def test_read(kind: ScalarKind, text: str, value: Any) -> None:
    assert kind.parse(text) == value
    assert type(kind.parse(text)) is type(value)


@pytest.mark.parametrize(("kind", "text"), REFUSED, ids=lambda value: repr(value)[:40])
def test_refused(kind: ScalarKind, text: str) -> None:
    with pytest.raises(Invalid):
        kind.parse(text)


@pytest.mark.parametrize("kind", [Secret(3), Url(), FleetKey()], ids=["secret", "url", "key"])
def test_no_message_repeats_a_secret(kind: ScalarKind) -> None:
    with pytest.raises(Invalid) as caught:
        kind.parse("hush hush")
    assert caught.value.message
    assert "hush" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://a", "https://a"),
        ("https://u:p@a/x@y", "https://***@a/x@y"),
        ("http://token@a:1?b@c", "http://***@a:1?b@c"),
        ("http://a?b@c", "http://a?b@c"),
    ],
)
def test_urls_without_passwords(url: str, text: str) -> None:
    assert Url().parse(url) == url
    assert without_password(url) == text


@pytest.mark.parametrize("text", ["1", "1001", "12k", "4M", "1500k", "10G"])
def test_rates_are_written_as_they_are_read(text: str) -> None:
    assert rate_text(ByteRate(1, 10**10).parse(text)) == text


@pytest.mark.parametrize("text", [":80", "127.0.0.1:80", "[2001:db8::6]:80"])
def test_endpoints_are_written_as_they_are_read(text: str) -> None:
    assert str(Listening().parse(text)) == text


TCP, UDP = Protocol.TCP, Protocol.UDP

FORMS = [
    ("80", 80, (TCP,), CheckKind.SYN),
    ("65535/tcp", 65535, (TCP,), CheckKind.SYN),
    ("1/udp", 1, (UDP,), None),
    ("http", 80, (TCP,), CheckKind.HTTP),
    ("8000/http", 8000, (TCP,), CheckKind.HTTP),
    ("https", 443, (TCP,), CheckKind.HTTPS),
    ("8443/https", 8443, (TCP,), CheckKind.HTTPS),
    ("domain", 53, (TCP, UDP), CheckKind.DNS),
    ("5353/domain", 5353, (TCP, UDP), CheckKind.DNS),
    ("domain/tcp", 53, (TCP,), CheckKind.DNS),
    ("domain/udp", 53, (UDP,), CheckKind.DNS),
    ("ftp", 21, (TCP,), CheckKind.SYN),
    ("ssh", 22, (TCP,), CheckKind.SYN),
    ("telnet", 23, (TCP,), CheckKind.SYN),
    ("smtp", 25, (TCP,), CheckKind.SYN),
    ("pop2", 109, (TCP,), CheckKind.SYN),
    ("pop3", 110, (TCP,), CheckKind.SYN),
    ("imap", 143, (TCP,), CheckKind.SYN),
    ("imaps", 993, (TCP,), CheckKind.SYN),
]


@pytest.mark.parametrize("star", ["", "*"])
@pytest.mark.parametrize(("text", "port", "protocols", "default"), FORMS)
def test_forms(text: str, port: int, protocols: tuple[Protocol, ...], default: CheckKind | None, star: str) -> None:
    form = FormKind().parse(text + star)
    assert (form.port, form.protocols, form.default, form.starred) == (port, protocols, default, bool(star))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (0.0125, "12.5ms"),
        (1.5, "1.5s"),
        (90, "90s"),
        (900, "15m"),
        (5400, "90m"),
        (86400, "24h"),
    ],
)
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert DAY.parse(text) == seconds


@pytest.mark.parametrize("text", ["any", "200", "200-299", "200 204 300-302 599", "100-999"])
def test_codes_text_is_what_was_read(text: str) -> None:
    assert codes_text(tuple(sorted(StatusCodes().parse(text)))) == text
