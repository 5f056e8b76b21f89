"""What backends behind NAT send."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random

from appliance.model import Address, Protocol, ServiceKey
from tests.dataplane.equivalence import errors
from tests.dataplane.equivalence.ends import CLIENTS, CLIENTS6, OPTIONS, STRANGER, STRANGER6, between, turns_zero
from tests.dataplane.equivalence.site import Site
from tests.dataplane.frames import Frame


def from_backend(site: Site, random: Random, pieces: errors.Pieces) -> bytes:
    """Mostly the answer of a backend behind NAT to a client; or an error about what that sent, or a fragment."""
    service = random.choice(site.desired.services)
    one, key = random.choice(service.members), service.key
    clients: list[Address] = [*CLIENTS6] if key.vip.version == 6 else [*CLIENTS]
    client = random.choice(clients * 4 + [one.hop.own if one.hop else clients[0], STRANGER6, ip_address("10.77.0.1")])
    client = client if client.version == key.vip.version else clients[0]
    port, kind = one.port or key.port, random.random()
    # What the client is to the backend, as a service is to its clients.
    asked = ServiceKey(client, random.randrange(1024, 1028), key.protocol)
    if kind < 0.15:
        seen = client if random.random() < 0.95 else STRANGER6 if client.version == 6 else STRANGER
        said_by = random.choice((one.address,) * 4 + (one.hop.own if one.hop else one.address,))
        said_by = said_by if said_by.version == client.version else one.address
        return _misled(random, errors.about(random, asked, seen, one.address, port, said_by)).bytes
    if kind < 0.4:
        return _misled(random, errors.piece(random, asked, one.address, port, pieces)).bytes
    ttl, options = random.choice((64, 64, 64, 64, 2, 1, 0)), random.choice((b"",) * 8 + OPTIONS)
    ip = between(one.address, client, ttl=ttl, options=options)
    if random.random() < 0.05:
        ip = replace(ip, to=random.choice((ip.sender, b"\xff" * 6, ip.to[:5] + b"\x11", b"\x03" + ip.to[1:])))
    ports = random.choice((one.port or key.port,) * 9 + (key.port, 9)), random.randrange(65536)
    data = random.randbytes(random.choice((0, 1, 2, 9, 500, 700)))
    check = random.choice((None,) * 6 + (0, 0xFFFF, 0xFFFE))
    if key.protocol is Protocol.UDP:
        old = one.address.packed + ports[0].to_bytes(2, "big")
        zero = turns_zero(old, key.vip.packed + key.port.to_bytes(2, "big"))
        frame = ip.udp(*ports, data, checksum=random.choice((check, zero))).bytes
    else:
        frame = ip.tcp(
            *ports, random.choice(("SA", "SA", "A", "PA", "RA")), options=segment(random), checksum=check
        ).bytes
    if random.random() < 0.08:
        frame = frame[: random.randrange(14, len(frame) + 1)]
    elif random.random() < 0.08:
        changed = bytearray(frame)
        changed[random.randrange(12, min(len(frame), 60))] = random.randrange(256)
        frame = bytes(changed)
    return frame


def _misled(random: Random, frame: Frame) -> Frame:
    """The frame, now and then not for the balancer."""
    return replace(frame, to=frame.sender) if random.random() < 0.03 else frame


def segment(random: Random) -> bytes:
    """TCP options with the largest segment at any offset, and nonsense."""
    size = random.choice((b"\5\xb4", b"\x02\x18", b"\x02\x17", b"\x02\x19", b"\xff\xff", b"\0\0"))
    before = random.choice((b"", b"\1", b"\1" * 3, b"\3\3\7", b"\4\2", b"\5\1", b"\1" * 36, b"\1" * 37))
    kind = random.choice((b"\2\4",) * 9 + (b"\2\3", b"\2\0", b"\0\4", b"\2\xff"))
    options = (before + kind + size + random.choice((b"", b"\1", b"\3\3\7", b"\4\2")))[:40]
    return options + bytes(-len(options) % 4)
