"""What the prober sends, and what comes back of it."""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random

from appliance.dataplane.model.exits import STEERED, AnswerKey, probe_address
from appliance.model import Address, Protocol, ServiceKey
from tests.dataplane.equivalence import errors
from tests.dataplane.equivalence.ends import OPTIONS, STRANGER, STRANGER6, between, turns_zero, v6
from tests.dataplane.equivalence.pair import Pair
from tests.dataplane.equivalence.site import OWN, OWN6, PROBE, Site
from tests.dataplane.frames import Frame

STRANGE_NUMBERS = (0, 15, 16, 300, 511, 512, 513, 1 << 23)


def probe(pair: Pair, site: Site, random: Random, chains: tuple[tuple[tuple[int, bytes], ...], ...]) -> bytes:
    """A probe of some backend, sometimes spoilt. `chains` are of extension headers, which no probe may have."""
    service = random.choice(site.desired.services)
    numbers = sorted(pair.tables[1].numbers(service.key).values()) or [16]
    number = random.choice(numbers)
    if random.random() < 0.4:
        freed = [number for number in range(16, 256) if pair.plain.identities.get(number, "freed")]
        number = random.choice((*freed[:5], number - number % 16 + random.randrange(16), *STRANGE_NUMBERS))
    steered = STEERED if random.random() < 0.4 else 0
    family = service.key.vip.version if random.random() < 0.95 else 4
    target = probe_address(number | steered, family)
    if random.random() < 0.05:
        target = type(target)(int(target) ^ 1 << random.choice((24, 31) if target.version == 4 else (24, 31, 40, 70)))
    port = random.choice((service.key.port, 8080))
    options = random.choice((b"",) * 12 + (OPTIONS[0],))
    fragment = random.choice((0x4000,) * 9 + (0x2000,))
    if isinstance(target, IPv6Address):
        extensions = () if random.random() < 0.95 else random.choice(chains)
        ip = Frame().ipv6(PROBE.address6, target, extensions=extensions)
    else:
        ip = Frame().ipv4(PROBE.address, target, fragment=fragment, options=options)
    source = random.randrange(1024, 65536)
    memory, place = pair.plain, number % 512
    rewritten = memory.address(place, "own").packed + memory.address(place, "vip").packed
    prober = PROBE.address6.packed if family == 6 else PROBE.address.packed
    zero = turns_zero(prober + target.packed, rewritten)
    check = random.choice((None, None, None, 0, 0xFFFF, 0xFFFE, zero))
    echo = _echo(random, ip, family, 0, source)
    makes = (ip.tcp(source, port, checksum=check), ip.udp(source, port, b"q", checksum=check), echo)
    frame = bytearray(random.choices(makes, (8, 4, 6))[0].bytes)
    if random.random() < 0.1:
        frame[16:18] = random.choice((0, 5, 19, 20, 40, len(frame) - 13)).to_bytes(2, "big")
    if random.random() < 0.05:
        frame[random.randrange(12, len(frame))] = random.randrange(256)
    return bytes(frame)[: random.choice((2000,) * 19 + (random.randrange(14, len(frame)),))]


def answer(pair: Pair, random: Random) -> bytes | None:
    """The answer to one of the latest probes, sometimes spoilt; None before the first."""
    sent = list(pair.model.answers.items())
    if not sent:
        return None
    key, asked = random.choice(sent[-20:])
    number = asked & 0xFFFFFFFF
    own = pair.plain.address(number & ~STEERED, "own")
    if own.version != key.vip.version or random.random() < 0.15:
        own = v6(random.choice((*OWN6, STRANGER6))) if key.vip.version == 6 else random.choice((*OWN, STRANGER))
    options = random.choice((b"",) * 5 + (OPTIONS[0],))
    if key.protocol in (Protocol.TCP, Protocol.UDP) and random.random() < 0.5:
        return _error(random, key, own)
    ip = between(key.vip, own, options=options, ttl=random.choice((64, 1)))
    ports = (key.vip_port, key.own_port ^ random.choice((0,) * 9 + (1,)))
    if key.protocol not in (Protocol.TCP, Protocol.UDP):
        return _echo(random, ip, key.vip.version, 1, ports[1]).bytes
    if key.protocol == Protocol.UDP:
        prober = PROBE.address6 if key.vip.version == 6 else PROBE.address
        zero = turns_zero(key.vip.packed + own.packed, probe_address(number, key.vip.version).packed + prober.packed)
        return ip.udp(*ports, b"a" * random.randrange(9), checksum=random.choice((None, 0, zero))).bytes
    return ip.tcp(*ports, random.choice(("SA", "RA", "A"))).bytes


def _error(random: Random, key: AnswerKey, own: Address) -> bytes:
    """An error of the backend's, or of a router's, about a probe; sometimes about another packet."""
    asked = ServiceKey(own, key.own_port ^ random.choice((0,) * 9 + (1,)), Protocol(key.protocol))
    router = STRANGER6 if own.version == 6 else STRANGER
    said_by = random.choice((key.vip,) * 4 + (router,))
    return errors.about(random, asked, own, key.vip, key.vip_port, said_by).bytes


def _echo(random: Random, ip: Frame, family: int, reply: int, identifier: int) -> Frame:
    """An echo message; now and then another message, or one that is cut short."""
    kind = ((8, 0), (128, 129))[family == 6][reply if random.random() < 0.95 else 1 - reply]
    code = int(random.random() < 0.05)
    made = ip.icmp(
        kind, code, random.randbytes(random.choice((0, 1, 16, 40))), rest=identifier.to_bytes(2, "big") + b"\0\1"
    )
    return made if random.random() < 0.95 else ip.raw(58 if family == 6 else 1, made.body[: random.randrange(9)])
