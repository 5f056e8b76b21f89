"""Frames by chance, most of them for services, many for tracked slots, and every kind of oddity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from random import Random

from appliance.dataplane.hashing import flow_hash, slot_of
from appliance.model import Address, Protocol, ServiceKey
from tests.dataplane.equivalence import errors, prober
from tests.dataplane.equivalence.behind import from_backend, segment
from tests.dataplane.equivalence.ends import (
    CLIENTS,
    CLIENTS6,
    OPTIONS,
    STRANGER,
    STRANGER6,
    v4,
    v6,
)
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.equivalence.site import OWN, OWN6, VIPS, VIPS6, VLANS, Site
from tests.dataplane.frames import Frame

EXTENSIONS: tuple[tuple[tuple[int, bytes], ...], ...] = (
    ((0, bytes(8)),),
    ((60, bytes((0, 1)) + bytes(14)),),
    ((0, bytes(8)), (43, bytes(8)), (60, bytes(8))),
    ((51, bytes((0, 4)) + bytes(22)),),
    ((44, bytes(8)),),
    tuple((60, bytes(8)) for _ in range(6)),
    tuple((60, bytes(8)) for _ in range(7)),
)
"""Chains of extension headers: one, a long one, several, authentication, a fragment of one, six, seven."""
FLAGS: tuple[tuple[int, str | None], ...] = (
    (8, "S"),
    (9, "A"),
    (4, "PA"),
    (2, "FA"),
    (2, "R"),
    (1, "RA"),
    (1, "SA"),
    (1, "F"),
    (1, "SF"),
    (1, ""),
    (1, None),
)
"""TCP flags with their weights; None: any."""
POOL = 60
PADDED = (0, 60, 64, 300)
"""The least lengths of frames, bytes."""

Made = tuple[bytes, bool]
"""A frame, and whether it comes from the prober."""


@dataclass
class Traffic:
    """The clients. Remembers some flows, to send more packets of them."""

    pair: Pair
    site: Site
    flows: list[tuple[ServiceKey, Address, int]] = field(default_factory=list)
    pieces: errors.Pieces = field(default_factory=errors.Pieces)
    returned: errors.Pieces = field(default_factory=errors.Pieces)
    """Those of backends behind NAT."""
    about: float = 0.0
    """The share of frames that are about others, beside those that come by chance."""

    def frame(self, random: Random) -> Made:
        """Any frame."""
        if self.about and random.random() < self.about and self.site.desired.services:
            behind = (_answering, _answering) if self.pair.plain.shape.nat else ()
            made, probe = random.choice((_error, _pieces, *behind))(self, random)
        elif random.random() < 0.8 and self.site.desired.services:
            made, probe = self.steered(random).padded(random.choice(PADDED)).bytes, False
        else:
            odd = (*ODD, (40, _answering)) if self.pair.plain.shape.nat else ODD
            make = random.choices([make for _, make in odd], [weight for weight, _ in odd])[0]
            made, probe = make(self, random)
        return (made if probe else self._dressed(random, made)), probe

    def _dressed(self, random: Random, frame: bytes) -> bytes:
        """The frame with the tag that the program wants, mostly."""
        shape = self.pair.plain.shape
        if not shape.tagged or random.random() < (0.45 if shape.mixed else 0.03):
            return frame
        control = random.randrange(8) << 13 | random.choice((*VLANS, 100)) | random.choice((0, 0x1000))
        if random.random() < 0.02:
            control &= 0xF000
        return frame[:12] + b"\x81\0" + control.to_bytes(2, "big") + frame[12:]

    def steered(self, random: Random) -> Frame:
        """A packet for a service that any balancer has to forward if it can."""
        key, client, port = self.flow(random)
        ttl = random.choice((64, 64, 64, 255, 2, 1 + random.randrange(255)))
        options = random.choice(OPTIONS) if random.random() < 0.08 else b""
        # Now and then a checksum whose sum carries, or comes to nought.
        check = random.choice((0x0000, 0xFEFF, 0xFFFE, 0xFFFF)) if random.random() < 0.04 else None
        ident = random.randrange(65536)
        if isinstance(client, IPv6Address):
            traffic, label = random.randrange(256), random.randrange(1 << 20)
            extensions = random.choice(EXTENSIONS) if random.random() < 0.12 else ()
            ip = Frame().ipv6(client, v6(key.vip), hops=ttl, traffic=traffic, flow=label, extensions=extensions)
        else:
            ip = Frame().ipv4(client, v4(key.vip), ttl=ttl, options=options, ident=ident, checksum=check)
        data = random.randbytes(random.choice((0, 0, 1, 7, 30, 200)))
        if key.protocol is Protocol.UDP:
            return ip.udp(port, key.port, data, checksum=random.choice((None, None, 0)))
        flags = random.choices([flags for _, flags in FLAGS], [weight for weight, _ in FLAGS])[0]
        number = random.getrandbits(32)
        options = random.choice((b"", b"", b"\2\4\5\xb4", b"\1" * 40))
        if self.pair.plain.shape.nat:
            options = random.choice((options, segment(random)))
        return ip.tcp(
            port,
            key.port,
            random.randrange(256) if flags is None else flags,
            sequence=random.choice((number, 0xFFFFFFFF)),
            acknowledgement=number ^ 0x55AA55AA,
            options=options,
            data=data,
        )

    def flow(self, random: Random) -> tuple[ServiceKey, Address, int]:
        """The service, client and port of a flow: one of before, or another."""
        present = {service.key for service in self.site.desired.services}
        known = [flow for flow in self.flows if flow[0] in present]
        if known and random.random() < 0.6:
            several = random.choices(known, k=3)
            return next((flow for flow in several if self._meets_tracked(*flow)), several[0])
        tracked = [key for key, count in self.pair.tables[1].tracked().items() if count and key in present]
        aimed = bool(tracked) and random.random() < 0.9
        key = random.choice(tracked if aimed else sorted(present))
        client: Address = random.choice(CLIENTS6) if key.vip.version == 6 else random.choice(CLIENTS)
        port = random.randrange(1024, 65536)
        for _ in range(40 if aimed else 0):
            if self._meets_tracked(key, client, port):
                break
            port = random.randrange(1024, 65536)
        if len(self.flows) >= POOL:
            self.flows.pop(random.randrange(POOL))
        self.flows.append((key, client, port))
        return key, client, port

    def _meets_tracked(self, key: ServiceKey, client: Address, port: int) -> bool:
        slots, entry = self.pair.tables[1].slots(key), self.pair.tables[1].entry(key)
        assert slots is not None
        assert entry is not None
        k = self.pair.plain.coefficients()
        flow = flow_hash(k, client, port, key.vip, key.port, key.protocol, sticky=entry.sticky)
        return slot_of(flow, slots.count) in slots.tracked


def _wide(traffic: Traffic, random: Random) -> bool:
    """Whether an oddity is one of IPv6."""
    return traffic.pair.plain.shape.ipv6 and random.random() < 0.5


def _any_vip(traffic: Traffic, random: Random) -> Frame:
    ttl = random.choice((64, 1, 0))
    if _wide(traffic, random):
        return Frame().ipv6(random.choice(CLIENTS6), random.choice(VIPS6), hops=ttl)
    return Frame().ipv4(random.choice(CLIENTS), random.choice(VIPS), ttl=ttl)


def _not_ip(traffic: Traffic, random: Random) -> Made:
    kind = random.choice((0x0806, 0x86DD, 0x8847, 0x88CC, 0x0600, 0x0100))
    return Frame().other(kind, random.randbytes(random.choice((0, 5, 28, 46)))).bytes, False


def _tagged(traffic: Traffic, random: Random) -> Made:
    frame = traffic.steered(random).tagged(random.randrange(4096), random.choice((0x8100, 0x88A8)))
    if random.random() < 0.3:
        frame = frame.tagged(random.randrange(4096))
    return frame.bytes, False


def _not_vip(traffic: Traffic, random: Random) -> Made:
    ip = Frame().ipv4(random.choice(CLIENTS), STRANGER, options=random.choice((b"", OPTIONS[0])))
    if _wide(traffic, random):
        ip = Frame().ipv6(random.choice(CLIENTS6), random.choice((STRANGER6, IPv6Address("::"))))
    return random.choice((ip.tcp(5, 80), ip.udp(5, 80), ip.icmp(8), ip.raw(47, b"x" * 30))).bytes, False


def _from_vip(traffic: Traffic, random: Random) -> Made:
    options = random.choice((b"", b"", OPTIONS[0]))
    ip = Frame().ipv4(random.choice(VIPS), random.choice((STRANGER, *OWN, *VIPS)), options=options)
    if _wide(traffic, random):
        ip = Frame().ipv6(random.choice(VIPS6), random.choice((STRANGER6, *OWN6, *VIPS6)))
    makes = (ip.tcp(80, 40000, "SA"), ip.udp(53, 40000), ip.icmp(0), ip.raw(50, b"x" * 30))
    return random.choice(makes).bytes, False


def _unknown_port(traffic: Traffic, random: Random) -> Made:
    ip = _any_vip(traffic, random)
    port = random.choice((0, 81, 8443, 65535))
    return random.choice((ip.tcp(4000, port), ip.udp(4000, port), ip.tcp(4000, 53), ip.udp(4000, 80))).bytes, False


def _protocol(traffic: Traffic, random: Random) -> Made:
    return _any_vip(traffic, random).raw(
        random.choice((2, 41, 47, 50, 58, 132, 255)), random.randbytes(40)
    ).bytes, False


def _icmp(traffic: Traffic, random: Random) -> Made:
    kind = random.choice((8, 8, 8, 8, 3, 11, 12, 0, 5, 13, 17))
    code = random.choice((0, 0, 0, 4, 1))
    ip = Frame().ipv4(
        random.choice(CLIENTS),
        random.choice(VIPS),
        ttl=random.choice((64, 1, 255)),
        tos=random.randrange(256),
        options=random.choice((b"", b"", OPTIONS[1])),
    )
    if _wide(traffic, random):
        kind = random.choice((128, 128, 128, 128, 1, 2, 3, 4, 127, 129, 133, 135, 136, 137, 138, 0))
        extensions = random.choice(EXTENSIONS) if random.random() < 0.2 else ()
        hops = random.choice((64, 1, 255))
        ip = Frame().ipv6(random.choice(CLIENTS6), random.choice(VIPS6), hops=hops, extensions=extensions)
    frame = ip.icmp(kind, code, random.randbytes(random.choice((0, 56, 57)))).padded(60)
    return frame.bytes, False


def _hop_limit(traffic: Traffic, random: Random) -> Made:
    frame = bytearray(traffic.steered(random).bytes)
    frame[21 if frame[12] == 0x86 else 22] = random.choice((0, 1, 2))
    return bytes(frame), False


def _fragment(traffic: Traffic, random: Random) -> Made:
    if _wide(traffic, random):
        part = bytes(2) + random.choice((b"\0\1", b"\0\0", b"\0\x08", b"\1\1", b"\0\6")) + random.randbytes(4)
        chain = random.choice((((44, part),), ((60, bytes(8)), (44, part), (43, bytes(8)))))
        ip = Frame().ipv6(random.choice(CLIENTS6), random.choice((*VIPS6, STRANGER6)), extensions=chain)
        return random.choice((ip.tcp(4000, 80), ip.udp(4000, 53), ip.icmp(128))).bytes, False
    frame = bytearray(traffic.steered(random).bytes)
    frame[20:22] = random.choice((0x2000, 0x2001, 0x0001, 0x1FFF, 0x8000, 0x4000, 0xC000, 0x6000)).to_bytes(2, "big")
    return bytes(frame), False


def _cut(traffic: Traffic, random: Random) -> Made:
    whole = random.choice((traffic.steered(random), _any_vip(traffic, random).icmp(8))).bytes
    return whole[: random.randrange(14, len(whole) + 1)], False


def _shortened(traffic: Traffic, random: Random) -> Made:
    """An honest packet but for one of its length fields."""
    frame = bytearray(traffic.steered(random).bytes)
    if frame[12] == 0x86:
        return _shortened6(frame, random), False
    header = (frame[14] & 15) * 4
    which = random.randrange(4)
    if which == 0:
        length = random.choice((0, 19, 20, 21, 27, 28, 39, 40, 41, len(frame) - 15, len(frame) - 14, len(frame) - 13))
        frame[16:18] = max(0, length).to_bytes(2, "big")
    elif which == 1:
        frame[14] = random.choice((0x40, 0x44, 0x46, 0x4F, 0x55, 0x65, 0x05))
    elif frame[23] == 6:
        frame[14 + header + 12] = random.randrange(16) << 4
    else:
        length = random.choice((0, 7, 8, 9, len(frame) - 14 - header, len(frame) - 13 - header))
        frame[14 + header + 4 : 14 + header + 6] = length.to_bytes(2, "big")
    return bytes(frame), False


def _shortened6(frame: bytearray, random: Random) -> bytes:
    which = random.randrange(4)
    if which == 0:
        length = random.choice((0, 1, 7, 8, 9, 19, 20, 21, len(frame) - 55, len(frame) - 54, len(frame) - 53, 65535))
        frame[18:20] = max(0, length).to_bytes(2, "big")
    elif which == 1:
        frame[14] = random.choice((0x40, 0x50, 0x70, 0x00, 0xF5))
    elif which == 2:
        # A next header that makes an extension header of the transport.
        frame[20] = random.choice((0, 43, 44, 51, 60, 58, 1, 59))
    else:
        at = random.choice((58, 59, 66))
        if at < len(frame):
            frame[at] = random.randrange(256)
    return bytes(frame)


def _mutated(traffic: Traffic, random: Random) -> Made:
    frame = bytearray(traffic.steered(random).bytes)
    for _ in range(random.choice((1, 1, 2, 4))):
        frame[random.randrange(12, min(len(frame), 60))] = random.randrange(256)
    return bytes(frame), False


def _garbage(traffic: Traffic, random: Random) -> Made:
    body = random.randbytes(random.randrange(0, 80))
    if random.random() < 0.5:
        body = b"\x45" + body[1:16] + random.choice(VIPS).packed + body[20:]
    return Frame().other(random.choice((0x0800, 0x0800, 0x86DD)), body).bytes, False


def _probe(traffic: Traffic, random: Random) -> Made:
    return prober.probe(traffic.pair, traffic.site, random, EXTENSIONS), True


def _answer(traffic: Traffic, random: Random) -> Made:
    made = prober.answer(traffic.pair, random)
    return (made, False) if made else _probe(traffic, random)


def _error(traffic: Traffic, random: Random) -> Made:
    """An ICMP error about a packet that a backend sent to a client, sometimes spoilt."""
    return errors.about_flow(random, *traffic.flow(random)).padded(random.choice(PADDED)).bytes, False


def _pieces(traffic: Traffic, random: Random) -> Made:
    """A fragment: of a datagram of which others may be under way, in any order."""
    return errors.piece(random, *traffic.flow(random), traffic.pieces).padded(random.choice(PADDED)).bytes, False


def _answering(traffic: Traffic, random: Random) -> Made:
    return from_backend(traffic.site, random, traffic.returned), False


ODD: tuple[tuple[int, Callable[[Traffic, Random], Made]], ...] = (
    (3, _not_ip),
    (3, _tagged),
    (3, _not_vip),
    (4, _from_vip),
    (5, _unknown_port),
    (2, _protocol),
    (8, _icmp),
    (4, _hop_limit),
    (3, _fragment),
    (14, _pieces),
    (10, _error),
    (8, _cut),
    (8, _shortened),
    (8, _mutated),
    (3, _garbage),
    (9, _probe),
    (16, _answer),
)
