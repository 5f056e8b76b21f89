"""Frames about frames: ICMP errors that quote a packet of a flow, and datagrams in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from random import Random

from appliance.model import Address, Protocol, ServiceKey
from tests.dataplane.frames import Frame

ROUTERS: tuple[Address, ...] = (IPv4Address("198.51.100.254"), IPv4Address("10.9.9.9"))
ROUTERS6: tuple[Address, ...] = (IPv6Address("2001:db8:9::fe"), IPv6Address("fe80::1"))
ERRORS = ((3, 4), (3, 3), (3, 1), (11, 0), (12, 0))
ERRORS6 = ((1, 4), (2, 0), (3, 0), (4, 1), (5, 0), (100, 0))
CHAINS: tuple[tuple[tuple[int, bytes], ...], ...] = (
    (),
    ((0, bytes(8)),),
    ((60, bytes((0, 1)) + bytes(14)), (43, bytes(8))),
    ((44, bytes((0, 0, 0, 1)) + bytes(4)),),
    ((44, bytes((0, 0, 0, 9)) + bytes(4)),),
    ((51, bytes((0, 4)) + bytes(22)), (60, bytes(8))),
    tuple((60, bytes(8)) for _ in range(6)),
    tuple((60, bytes(8)) for _ in range(7)),
)
IDENTIFICATIONS = (0, 1, 0x0100, 0xFFFF)
IDENTIFICATIONS6 = (0, 1, 0x01020304, 0xFFFF0001)


def between(source: Address, destination: Address, chain: tuple[tuple[int, bytes], ...] = (), **fields: int) -> Frame:
    """An IP header between two addresses of one family. `fields` are those of IPv4, but for `ttl`."""
    if isinstance(source, IPv6Address):
        assert isinstance(destination, IPv6Address)
        return Frame().ipv6(source, destination, extensions=chain, hops=fields.get("ttl", 64))
    assert isinstance(destination, IPv4Address)
    return Frame().ipv4(source, destination, **fields)  # type: ignore[arg-type]


def about_flow(random: Random, key: ServiceKey, client: Address, port: int) -> Frame:
    """An error about a packet that a backend sent to a client, sometimes spoilt."""
    vip = key.vip if random.random() < 0.95 else type(key.vip)(int(key.vip) ^ 1)
    router = random.choice(ROUTERS6 if key.vip.version == 6 else ROUTERS)
    return about(random, key, vip, client, port, router)


def about(random: Random, key: ServiceKey, seen: Address, client: Address, port: int, router: Address) -> Frame:
    """An error of a router's about a packet from a service, which it has `seen` come from there, to a client."""
    wide = key.vip.version == 6
    sound = random.random() < 0.6
    chain = random.choice(CHAINS) if wide and random.random() < 0.3 else ()
    fields = {} if sound else {"fragment": random.choice((0x4000, 0x2000, 0x0001, 0x2003, 0x8000))}
    inner = between(seen, client, chain, **fields)
    if not wide and random.random() < 0.2:
        inner = Frame().ipv4(str(seen), str(client), options=random.choice((b"\1" * 4, b"\1" * 40)))
    udp = (key.protocol is Protocol.UDP) == (random.random() < 0.97)
    data = bytes(random.choice((random.randrange(60), 300)))
    check = random.choice((None, None, None, 0))
    inner = inner.udp(key.port, port, data, checksum=check) if udp else inner.tcp(key.port, port, "A", data=data)
    quoted = bytearray(inner.bytes[14:])
    if not sound and random.random() < 0.4:
        quoted[random.randrange(min(50, len(quoted)))] = random.randrange(256)
    least = len(inner.header) + 8
    most = least if sound and random.random() < 0.5 else random.choice((least - 1, least, random.randrange(80), 1500))
    outer_chain = random.choice(CHAINS) if wide and random.random() < 0.15 else ()
    outer = between(router, key.vip, outer_chain, ttl=random.choice((64, 255, 64, 1, 2)))
    if not wide and random.random() < 0.1:
        outer = Frame().ipv4(str(router), str(key.vip), options=b"\1" * random.choice((4, 40)))
    kind, code = random.choice(ERRORS6 if wide else ERRORS)
    return outer.icmp(kind, code, bytes(quoted[: max(0, most)]), rest=b"\0\0\5\x78")


@dataclass
class Pieces:
    """Datagrams of which some fragments have been sent."""

    sent: list[tuple[ServiceKey, Address, int, int]] = field(default_factory=list)


def piece(random: Random, key: ServiceKey, client: Address, port: int, pieces: Pieces) -> Frame:
    """A fragment of a datagram: the first one of another, or any of one of before."""
    wide = key.vip.version == 6
    which = random.choice(IDENTIFICATIONS6 if wide else IDENTIFICATIONS)
    kind = random.random()
    if kind < 0.6 and pieces.sent:
        # Those of before, now and then with a field of another.
        key, client, port, which = random.choice(pieces.sent[-4:])
        if random.random() < 0.1:
            which ^= 1 << random.randrange(32 if key.vip.version == 6 else 16)
        return _fragment(random, key, client, port, which, random.choice((1, 9, 185, 0x1FFF)))
    if kind < 0.95:
        pieces.sent.append((key, client, port, which))
        del pieces.sent[:-40]
        return _fragment(random, key, client, port, which, 0)
    return _fragment(random, key, client, port, which, random.randrange(1, 0x2000))


def _fragment(random: Random, key: ServiceKey, client: Address, port: int, which: int, offset: int) -> Frame:
    more = random.random() < 0.5 or not offset
    ttl = random.choice((64, 64, 64, 64, 2, 1))
    if key.vip.version == 6:
        head = bytes(2) + (offset << 3 | more).to_bytes(2, "big") + which.to_bytes(4, "big")
        before = random.choice(((), (), (), ((0, bytes(8)),)))
        behind = random.choice(((), (), (), ((60, bytes(8)),), ((44, head),))) if not offset else ()
        ip = between(client, key.vip, (*before, (44, head), *behind), ttl=ttl)
    else:
        ip = between(client, key.vip, fragment=0x2000 * more | offset, ident=which, ttl=ttl)
    protocol = int(key.protocol)
    if random.random() < 0.05:
        protocol = random.choice((1, 6, 17, 47, 58))
    if offset:
        return ip.raw(protocol, random.randbytes(random.choice((0, 3, 8, 200))))
    if protocol == Protocol.UDP:
        made = ip.udp(port, key.port, random.randbytes(32), length=random.choice((4000, 4000, 40, 8, 7, 65535)))
    elif protocol == Protocol.TCP:
        made = ip.tcp(port, key.port, random.choice(("A", "S", "PA", "R")), data=random.randbytes(12))
    else:
        return ip.raw(protocol, random.randbytes(24))
    if random.random() < 0.1:
        # Too short for its ports, or its header.
        return ip.raw(protocol, replace(made).body[: random.randrange(0, 24)])
    return made
