"""From messages of routes to nouns. The messages are bytes as the kernel sends them."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.messages import decode
from appliance.net.route_messages import is_default, route_requests
from appliance.net.routes import NexthopNews, Path, RouteNews, RouteTable, Way
from appliance.net.view import Message
from appliance.net.wire import split

NEW, DEL, GET = 24, 25, 26
DST, OIF, GATEWAY, PRIORITY, MULTIPATH, TABLE, VIA, ENCAP_TYPE, NH_ID = 1, 4, 5, 6, 9, 15, 18, 21, 30
TEN = ip_address("10.0.0.0").packed
DOC = ip_address("2001:db8::").packed
V4, OTHER = ip_address("192.0.2.7").packed, ip_address("192.0.2.8").packed
V6 = ip_address("fe80::7").packed


def attribute(kind: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        value = struct.pack("=I", value)
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def route(
    *attributes: tuple[int, bytes | int],
    kind: int = NEW,
    family: int = AF_INET,
    length: int = 8,
    source: int = 0,
    tos: int = 0,
    table: int = 254,
    protocol: int = 4,
    type_: int = 1,
    flags: int = 0,
    message_flags: int = 0,
) -> bytes:
    """struct rtmsg and attributes."""
    header = struct.pack("=BBBBBBBBI", family, length, source, tos, table, protocol, 0, type_, flags)
    return message(kind, header + b"".join(attribute(*one) for one in attributes), message_flags)


def ways(*each: tuple[int, int, tuple[tuple[int, bytes | int], ...]]) -> tuple[int, bytes]:
    """RTA_MULTIPATH of (interface, flags, attributes)."""
    value = b""
    for interface, flags, attributes in each:
        body = b"".join(attribute(*one) for one in attributes)
        value += struct.pack("=HBBi", 8 + len(body), flags, 0, interface) + body
    return (MULTIPATH, value)


def news(*ways: Way, gone: bool = False, replaces: bool = False, metric: int = 0) -> RouteNews:
    return RouteNews((TEN, 8, metric), (Path(ways),) if ways else (), replaces, gone)


def news6(*paths: Path, gone: bool = False, replaces: bool = False) -> RouteNews:
    return RouteNews((DOC, 32, 1024), paths, replaces, gone)


TO_TEN = ((DST, TEN), (OIF, 5))
TO_DOC = ((DST, DOC), (PRIORITY, 1024))
REPLACE = 0x100

CASES: list[tuple[bytes, Message | None]] = [
    (route(*TO_TEN, (GATEWAY, V4)), news(Way(5, V4))),
    (route(*TO_TEN, (GATEWAY, V4), (PRIORITY, 7)), news(Way(5, V4), metric=7)),
    (route(*TO_TEN), news(Way(5))),
    (route(*TO_TEN, (TABLE, 254)), news(Way(5))),
    (route(*TO_TEN, kind=DEL), news(Way(5), gone=True)),
    (route(*TO_TEN, message_flags=REPLACE), news(Way(5), replaces=True)),
    (route(*TO_TEN, kind=DEL, message_flags=REPLACE), news(Way(5), gone=True)),
    (route((OIF, 5), (GATEWAY, V4), length=0), RouteNews((bytes(4), 0, 0), (Path((Way(5, V4),)),))),
    (route((OIF, 5), length=0, family=AF_INET6), RouteNews((bytes(16), 0, 0), (Path((Way(5),)),))),
    (route(*TO_TEN, (VIA, struct.pack("=H", AF_INET6) + V6)), news(Way(5, V6))),
    (route(*TO_TEN, (GATEWAY, bytes(4))), news(Way(5))),
    (route(*TO_TEN, (GATEWAY, V4), flags=1), news(Way(5, V4, usable=False))),
    (route(*TO_TEN, (GATEWAY, V4), flags=16), news(Way(5, V4))),
    (route(*TO_TEN, (ENCAP_TYPE, b"\1\0")), news(Way(5, usable=False))),
    (
        route((DST, TEN), ways((5, 0, ((GATEWAY, V4),)), (6, 1, ((GATEWAY, OTHER),)), (7, 0, ()))),
        news(Way(5, V4), Way(6, OTHER, usable=False), Way(7)),
    ),
    (
        route((DST, TEN), (NH_ID, 9), ways((5, 0, ((GATEWAY, V4),)))),
        RouteNews((TEN, 8, 0), (Path((Way(5, V4),), nexthop=9),)),
    ),
    (
        route(*TO_DOC, ways((5, 0, ((GATEWAY, V6),)), (6, 0, ((GATEWAY, V6),))), family=AF_INET6, length=32),
        news6(Path((Way(5, V6),), sibling=True), Path((Way(6, V6),), sibling=True)),
    ),
    (route(*TO_DOC, (OIF, 5), family=AF_INET6, length=32), news6(Path((Way(5),)))),
    (
        route(*TO_DOC, (OIF, 5), (GATEWAY, V6), family=AF_INET6, length=32, protocol=9),
        news6(Path((Way(5, V6),))),
    ),
    (
        route(*TO_DOC, (NH_ID, 9), ways((5, 0, ()), (6, 0, ())), family=AF_INET6, length=32),
        news6(Path((Way(5), Way(6)), nexthop=9)),
    ),
    # None for ordinary packets:
    (route(*TO_TEN, table=255), None),
    (route(*TO_TEN, (TABLE, 1000), table=252), None),
    (route(*TO_TEN, tos=8), None),
    (route(*TO_DOC, (OIF, 5), family=AF_INET6, length=32, source=64), None),
    (route(*TO_TEN, flags=0x200), None),
    (route(*TO_TEN, family=28), None),
    (route(*TO_TEN, length=33), None),
    (route((DST, DOC), (OIF, 5)), None),
    (route((DST, TEN)), None),
    (route((DST, TEN), type_=6), None),
    (route((DST, TEN), type_=6, kind=DEL), None),
    (route((DST, TEN), type_=6, message_flags=REPLACE), news(replaces=True)),
    (message(104, struct.pack("=BBBBI", 2, 0, 0, 0, 0) + attribute(1, 9)), NexthopNews(9)),
    (message(105, struct.pack("=BBBBI", 2, 0, 0, 0, 0) + attribute(1, 9)), NexthopNews(9)),
    (message(105, b""), None),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_decode(data: bytes, expected: Message | None) -> None:
    (packet,) = split(data)
    found = decode(packet)
    assert found == expected
    if isinstance(found, RouteNews) and isinstance(expected, RouteNews):  # what equality of paths leaves out
        assert repr(found) == repr(expected)


def test_a_default_route_is_told_at_a_glance() -> None:
    for data, expected in CASES:
        (packet,) = split(data)
        if isinstance(expected, RouteNews):
            assert is_default(packet) is (expected.key[1] == 0)


@given(
    st.sampled_from([NEW, DEL, 104, 105]),
    st.sampled_from([AF_INET, AF_INET6, 0, 10]),
    st.integers(0, 255),
    st.binary(max_size=120),
)
def test_any_bytes_are_taken_in_without_raising(kind: int, family: int, length: int, data: bytes) -> None:
    header = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 4, 0, 1, 0)
    table = RouteTable(range(100))
    for body in (data, header + data, header + attribute(OIF, 5) + data):
        for packet in split(message(kind, body, REPLACE)):
            found = decode(packet)
            if isinstance(found, RouteNews):
                table.take(found)
            elif isinstance(found, NexthopNews):
                table.touch(found)
    assert all(found.interface < 100 for found in table.routes())


def test_requests_name_table_and_interface() -> None:
    four, six = struct.pack("=BBBBBBBBI", AF_INET, *[0] * 8), struct.pack("=BBBBBBBBI", AF_INET6, *[0] * 8)
    main = attribute(TABLE, 254)
    assert route_requests([7, 5]) == tuple(
        message(GET, family + main + attribute(OIF, index), 0x301) for family in (four, six) for index in (5, 7)
    )
    assert route_requests(range(1, 18)) == tuple(message(GET, family + main, 0x301) for family in (four, six))
    assert route_requests([]) == ()
