"""Packet in, packet out: ICMP errors and fragments of services behind NAT, both ways."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from appliance.dataplane.enums import Reason
from appliance.dataplane.model import Action
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.frames import BALANCER, ROUTER, Frame
from tests.dataplane.routed import FAR, NEAR
from tests.dataplane.test_packets_nat import (
    BACKEND,
    BACKEND6,
    CLIENT,
    CLIENT6,
    MAC,
    OWN,
    UNRESOLVED,
    VIP,
    VIP6,
    loaded_pair,
    pair,
)

__all__ = ["loaded_pair", "pair"]

pytestmark = pytest.mark.root

PASS, DROP, TX = Action.PASS, Action.DROP, Action.TX
FORWARD, RETURN, NOT_VIP = Reason.FORWARD, Reason.RETURN, Reason.NOT_VIP
WAN, WAN6 = "198.51.100.1", "2001:db8:9::1"
FIRST, LATER, LAST = 0x2000, 0x2003, 0x0006


@dataclass(frozen=True)
class Row:
    """Frames one after the other, what becomes of the last one, and why."""

    why: str
    frames: tuple[Frame, ...]
    action: Action
    reason: Reason
    after: Frame | None = None


def quoted(frame: Frame, size: int | None = None) -> bytes:
    """The packet in a frame, or its first bytes."""
    return frame.bytes[14:][:size]


def there(inner: Frame, *, size: int | None = None, ttl: int = 64) -> tuple[Frame, ...]:
    """An error of a router's to the VIP, about what came from there."""
    return (Frame().ipv4(WAN, VIP, ttl=ttl).icmp(3, 4, quoted(inner, size), rest=b"\0\0\5\0"),)


def arrived(inner: Frame, *, size: int | None = None) -> Frame:
    return Frame(MAC, BALANCER).ipv4(WAN, BACKEND, ttl=63).icmp(3, 4, quoted(inner, size), rest=b"\0\0\5\0")


def there6(inner: Frame, *, size: int | None = None) -> tuple[Frame, ...]:
    return (Frame().ipv6(WAN6, VIP6).icmp(2, 0, quoted(inner, size), rest=b"\0\0\5\0"),)


def arrived6(inner: Frame, *, size: int | None = None) -> Frame:
    return Frame(MAC, BALANCER).ipv6(WAN6, BACKEND6, hops=63).icmp(2, 0, quoted(inner, size), rest=b"\0\0\5\0")


def back(inner: Frame, *, source: str = BACKEND, to: str = CLIENT, size: int | None = None, ttl: int = 64) -> Frame:
    """An error of a backend's, or of a router near it, to a client."""
    return Frame(sender=MAC).ipv4(source, to, ttl=ttl).icmp(3, 3, quoted(inner, size))


def returned(inner: Frame, *, source: str = VIP, size: int | None = None) -> Frame:
    return Frame(FAR, NEAR).ipv4(source, CLIENT, ttl=63).icmp(3, 3, quoted(inner, size))


def back6(inner: Frame, *, source: str = BACKEND6, size: int | None = None) -> Frame:
    return Frame(sender=MAC).ipv6(source, CLIENT6).icmp(1, 4, quoted(inner, size))


def returned6(inner: Frame, *, source: str = VIP6, size: int | None = None) -> Frame:
    return Frame(FAR, NEAR).ipv6(source, CLIENT6, hops=63).icmp(1, 4, quoted(inner, size))


SAID, SAID6 = Frame().ipv4(VIP, CLIENT), Frame().ipv6(VIP6, CLIENT6)
SENT, SENT6 = Frame().ipv4(BACKEND, CLIENT), Frame().ipv6(BACKEND6, CLIENT6)
ASKED, ASKED6 = Frame().ipv4(CLIENT, VIP), Frame().ipv6(CLIENT6, VIP6)
CAME, CAME6 = Frame().ipv4(CLIENT, BACKEND), Frame().ipv6(CLIENT6, BACKEND6)
DATA = bytes(range(64))


def piece(source: str, target: str, field: int, body: bytes, protocol: int = 17, **more: int) -> Frame:
    return Frame().ipv4(source, target, fragment=field, ident=77, **more).raw(protocol, body)  # type: ignore[arg-type]


def piece6(source: str, target: str, field: int, body: bytes, **more: int) -> Frame:
    head = bytes(2) + field.to_bytes(2, "big") + (0x01020304).to_bytes(4, "big")
    return Frame().ipv6(source, target, extensions=((44, head),), **more).raw(17, body)


def datagram(source: str, target: str, ports: tuple[int, int]) -> bytes:
    """The bytes of a datagram with its checksum, to be cut."""
    made = Frame().ipv6(source, target) if ":" in source else Frame().ipv4(source, target)
    return made.udp(*ports, DATA).body


def moved(frame: Frame, macs: bytes) -> Frame:
    return frame.macs(macs)


ON, OFF = MAC + BALANCER, FAR + NEAR


def asked(target: str, port: int, part: slice) -> bytes:
    return datagram(CLIENT6 if ":" in target else CLIENT, target, (4, port))[part]


def answered(source: str, port: int, part: slice) -> bytes:
    return datagram(source, CLIENT6 if ":" in source else CLIENT, (port, 4))[part]


HEAD, TAIL = slice(0, 24), slice(24, None)
THERE1 = piece(CLIENT, VIP, FIRST, asked(VIP, 53, HEAD))
BACK1 = piece(BACKEND, CLIENT, FIRST, answered(BACKEND, 5353, HEAD))
THERE61 = piece6(CLIENT6, VIP6, 1, asked(VIP6, 53, HEAD))
BACK61 = piece6(BACKEND6, CLIENT6, 1, answered(BACKEND6, 5353, HEAD))

ROWS = (
    # Errors to the VIP, about what the backend sent.
    Row("about TCP", there(SAID.tcp(80, 4, "A")), TX, FORWARD, arrived(SENT.tcp(8080, 4, "A"))),
    Row("about TCP, 8 bytes of it", there(SAID.tcp(80, 4), size=28), TX, FORWARD, arrived(SENT.tcp(8080, 4), size=28)),
    Row("without its checksum", there(SAID.tcp(80, 4), size=36), TX, FORWARD, arrived(SENT.tcp(8080, 4), size=36)),
    Row("with its checksum", there(SAID.tcp(80, 4), size=38), TX, FORWARD, arrived(SENT.tcp(8080, 4), size=38)),
    Row("about UDP", there(SAID.udp(53, 4, DATA)), TX, FORWARD, arrived(SENT.udp(5353, 4, DATA))),
    Row(
        "about UDP without checksum",
        there(SAID.udp(53, 4, DATA, checksum=0)),
        TX,
        FORWARD,
        arrived(SENT.udp(5353, 4, DATA, checksum=0)),
    ),
    Row("about IPv6", there6(SAID6.tcp(80, 4, "A")), TX, FORWARD, arrived6(SENT6.tcp(8080, 4, "A"))),
    Row("about UDP over IPv6", there6(SAID6.udp(53, 4, DATA)), TX, FORWARD, arrived6(SENT6.udp(5353, 4, DATA))),
    Row(
        "about IPv6 with a header more",
        there6(Frame().ipv6(VIP6, CLIENT6, extensions=((60, bytes(8)),)).tcp(80, 4), size=56),
        TX,
        FORWARD,
        arrived6(Frame().ipv6(BACKEND6, CLIENT6, extensions=((60, bytes(8)),)).tcp(8080, 4), size=56),
    ),
    Row("about no service", there(SAID.tcp(8080, 4)), DROP, Reason.ICMP_ERROR),
    Row("with no hop left", there(SAID.tcp(80, 4), ttl=1), DROP, Reason.TTL),
    # Errors of the backend, or from beside it, about what the client sent.
    Row("back about TCP", (back(CAME.tcp(4, 8080)),), TX, RETURN, returned(ASKED.tcp(4, 80))),
    Row("back about 8 bytes", (back(CAME.tcp(4, 8080), size=28),), TX, RETURN, returned(ASKED.tcp(4, 80), size=28)),
    Row("back about UDP", (back(CAME.udp(4, 5353, DATA)),), TX, RETURN, returned(ASKED.udp(4, 53, DATA))),
    Row(
        "back about UDP without checksum",
        (back(CAME.udp(4, 5353, DATA, checksum=0)),),
        TX,
        RETURN,
        returned(ASKED.udp(4, 53, DATA, checksum=0)),
    ),
    Row(
        "back from a router",
        (back(CAME.tcp(4, 8080), source="10.1.10.99"),),
        TX,
        RETURN,
        returned(ASKED.tcp(4, 80), source="10.1.10.99"),
    ),
    Row("back about IPv6", (back6(CAME6.tcp(4, 8080)),), TX, RETURN, returned6(ASKED6.tcp(4, 80))),
    Row("back about UDP over IPv6", (back6(CAME6.udp(4, 5353, DATA)),), TX, RETURN, returned6(ASKED6.udp(4, 53, DATA))),
    Row(
        "back from a router over IPv6",
        (back6(CAME6.tcp(4, 8080), source="2001:db8:10::99"),),
        TX,
        RETURN,
        returned6(ASKED6.tcp(4, 80), source="2001:db8:10::99"),
    ),
    Row(
        "back to a client whose router is not resolved",
        (back(Frame().ipv4(UNRESOLVED, BACKEND).tcp(4, 8080), to=UNRESOLVED),),
        PASS,
        Reason.NO_ROUTE,
        Frame(sender=MAC).ipv4(VIP, UNRESOLVED).icmp(3, 3, quoted(Frame().ipv4(UNRESOLVED, VIP).tcp(4, 80))),
    ),
    Row("back with no hop left", (back(CAME.tcp(4, 8080), ttl=1),), DROP, Reason.TTL),
    Row("back about another port", (back(CAME.tcp(4, 80)),), PASS, NOT_VIP),
    Row("back about somebody else's packet", (back(Frame().ipv4(WAN, BACKEND).tcp(4, 8080)),), PASS, NOT_VIP),
    Row("back about a fragment", (back(Frame().ipv4(CLIENT, BACKEND, fragment=3).tcp(4, 8080)),), PASS, NOT_VIP),
    Row("back to the balancer itself", (back(Frame().ipv4(OWN, BACKEND).tcp(4, 8080), to=OWN),), PASS, NOT_VIP),
    Row("back to somebody else's MAC", (moved(back(CAME.tcp(4, 8080)), ROUTER + MAC),), PASS, NOT_VIP),
    # Fragments.
    Row(
        "a first one",
        (THERE1,),
        TX,
        FORWARD,
        moved(piece(CLIENT, BACKEND, FIRST, asked(BACKEND, 5353, HEAD), ttl=63), ON),
    ),
    Row(
        "a later one",
        (THERE1, piece(CLIENT, VIP, LAST, asked(VIP, 53, TAIL))),
        TX,
        FORWARD,
        moved(piece(CLIENT, BACKEND, LAST, asked(VIP, 53, TAIL), ttl=63), ON),
    ),
    Row("one without the first", (piece(CLIENT, VIP, LATER, DATA),), DROP, Reason.FRAGMENT),
    Row(
        "a first one back", (BACK1,), TX, RETURN, moved(piece(VIP, CLIENT, FIRST, answered(VIP, 53, HEAD), ttl=63), OFF)
    ),
    Row(
        "a later one back",
        (BACK1, piece(BACKEND, CLIENT, LAST, answered(BACKEND, 5353, TAIL))),
        TX,
        RETURN,
        moved(piece(VIP, CLIENT, LAST, answered(BACKEND, 5353, TAIL), ttl=63), OFF),
    ),
    Row("one back without the first", (piece(BACKEND, CLIENT, LATER, DATA),), PASS, NOT_VIP),
    Row("one back of another datagram", (BACK1, piece("10.1.10.12", CLIENT, LATER, DATA)), PASS, NOT_VIP),
    Row("one back of another protocol", (BACK1, piece(BACKEND, CLIENT, LATER, DATA, 6)), PASS, NOT_VIP),
    Row("one back with no hop left", (BACK1, piece(BACKEND, CLIENT, LATER, DATA, ttl=1)), DROP, Reason.TTL),
    Row("a first one of a ping", (piece(BACKEND, CLIENT, FIRST, DATA, 1),), PASS, NOT_VIP),
    Row(
        "a first one over IPv6",
        (THERE61,),
        TX,
        FORWARD,
        moved(piece6(CLIENT6, BACKEND6, 1, asked(BACKEND6, 5353, HEAD), hops=63), ON),
    ),
    Row(
        "a later one over IPv6",
        (THERE61, piece6(CLIENT6, VIP6, 24, asked(VIP6, 53, TAIL))),
        TX,
        FORWARD,
        moved(piece6(CLIENT6, BACKEND6, 24, asked(VIP6, 53, TAIL), hops=63), ON),
    ),
    Row(
        "a first one back over IPv6",
        (BACK61,),
        TX,
        RETURN,
        moved(piece6(VIP6, CLIENT6, 1, answered(VIP6, 53, HEAD), hops=63), OFF),
    ),
    Row(
        "a later one back over IPv6",
        (BACK61, piece6(BACKEND6, CLIENT6, 24, answered(BACKEND6, 5353, TAIL))),
        TX,
        RETURN,
        moved(piece6(VIP6, CLIENT6, 24, answered(BACKEND6, 5353, TAIL), hops=63), OFF),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=[row.why.replace(" ", "-") for row in ROWS])
def test_part(pair: Pair, row: Row) -> None:
    for frame in row.frames[:-1]:
        pair.send(frame.bytes)
    left = pair.send(row.frames[-1].bytes)
    pair.compare()
    assert (left.action, left.reason) == (row.action, row.reason)
    assert left.frame == (row.after or row.frames[-1]).bytes


def test_a_quoted_checksum_does_not_come_out_as_none(pair: Pair) -> None:
    """Of UDP, 0 would mean that there is none."""
    every = (number.to_bytes(2, "big") for number in range(1 << 16))
    data = next(each for each in every if SENT.udp(5353, 4, each).body[6:8] == b"\xff\xff")
    left = pair.send(there(SAID.udp(53, 4, data))[0].bytes)
    pair.compare()
    assert left.frame == arrived(SENT.udp(5353, 4, data)).bytes


def test_every_row_has_its_own_reason_why() -> None:
    assert len({row.why for row in ROWS}) == len(ROWS)
