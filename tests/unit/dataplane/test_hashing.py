"""The flow hash leaves an attacker nothing to aim with; the perfect hash finds what was put in, and nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from random import Random
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dataplane import hashing, maglev
from appliance.dataplane.abi import COEFFICIENTS, SOURCE_PARTS, TAG_BITS, WORDS
from appliance.dataplane.hashing import PerfectHash
from appliance.dataplane.lookup import key_word
from appliance.dataplane.shape import DIRECT_LIMIT, direct_positions
from appliance.errors import PlanError
from appliance.model import Protocol, ServiceKey

SEEDS = 1_000
SETS = 1 << 9
"""The fewest sets there are: the fewest bits of a flow's name."""

Packet = tuple[int, int, int, int, int]
"""Source, source port, VIP, VIP port, protocol."""
TCP, UDP = 6, 17
SOURCE, VIP = int(IPv4Address("203.0.113.9")), int(IPv4Address("192.0.2.1"))
BASE: Packet = (SOURCE, 40_000, VIP, 443, TCP)
WIDTHS = (32, 16, 32, 16, 8)
ADDRESSES, PORTS = st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)


def flow_hash(k: Sequence[int], packet: Packet) -> int:
    """The hash of a packet over IPv4."""
    source, source_port, vip, vip_port, protocol = packet
    return hashing.flow_hash(k, IPv4Address(source), source_port, IPv4Address(vip), vip_port, protocol)


def with_field(packet: Packet, at: int, value: int) -> Packet:
    """The packet with one field changed."""
    source, source_port, vip, vip_port, protocol = (value if i == at else old for i, old in enumerate(packet))
    return source, source_port, vip, vip_port, protocol


def pairs() -> dict[str, tuple[Packet, Packet]]:
    """Pairs of different packets that somebody who knows the hash, but not the seed, might try."""
    found: dict[str, tuple[Packet, Packet]] = {}
    for at, width in enumerate(WIDTHS):
        for bit in range(width):
            found[f"field {at}, bit {bit}"] = (BASE, with_field(BASE, at, BASE[at] ^ 1 << bit))
    for step in (1, 2, 3, 256, 1021, 4096, 20_000):
        found[f"ports {step} apart"] = (BASE, with_field(BASE, 1, BASE[1] + step))
        found[f"sources {step} apart"] = (BASE, with_field(BASE, 0, SOURCE + step))
    swapped = (VIP, 40_000, SOURCE, 443, TCP)
    found["addresses swapped"] = (BASE, swapped)
    found["ports swapped"] = (BASE, (SOURCE, 443, VIP, 40_000, TCP))
    found["both ends swapped"] = (BASE, (VIP, 443, SOURCE, 40_000, TCP))
    found["source equal to the VIP, another equal pair"] = ((VIP, 80, VIP, 80, TCP), (SOURCE, 80, SOURCE, 80, TCP))
    found["protocol"] = (BASE, (*BASE[:4], UDP))
    found["nothing and its complement"] = ((0, 0, 0, 0, 0), (0xFFFFFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFF, 0xFF))
    for name, value in {"low bits": 0x0000FFFF, "high bits": 0xFFFF0000, "alternate bits": 0xAAAAAAAA}.items():
        found[f"addresses of equal xor, {name}"] = (BASE, (SOURCE ^ value, 40_000, VIP ^ value, 443, TCP))
        bits = value >> 16 | value & 0xFF
        found[f"ports of equal xor, {name}"] = (BASE, (SOURCE, 40_000 ^ bits, VIP, 443 ^ bits, TCP))
    found["addresses of equal sum"] = (BASE, (SOURCE + 77, 40_000, VIP - 77, 443, TCP))
    found["ports of equal sum"] = (BASE, (SOURCE, 40_077, VIP, 443 - 77, TCP))
    found["the top bit of both addresses"] = (BASE, (SOURCE ^ 1 << 31, 40_000, VIP ^ 1 << 31, 443, TCP))
    found["an address bit and a port bit"] = (BASE, (SOURCE ^ 1 << 16, 40_000 ^ 1, VIP, 443, TCP))
    return found


PAIRS = pairs()
MAGLEV = maglev.table([(IPv4Address("10.1.10.1") + n, 1) for n in range(10)], 641)
VIEWS: dict[str, tuple[Callable[[int], int], float]] = {
    "the slot of 1,021": (lambda flow: hashing.slot_of(flow, 1021), 1 / 1021),
    "the slot of 65,521": (lambda flow: hashing.slot_of(flow, 65_521), 1 / 65_521),
    "the set": (lambda flow: hashing.flow_name(flow, SETS)[0], 1 / SETS),
    "the low bits of the tag": (lambda flow: hashing.flow_name(flow, SETS)[1] & 0x3FF, 1 / 1024),
    "the high bits of the tag": (lambda flow: hashing.flow_name(flow, SETS)[1] >> TAG_BITS - 10, 1 / 1024),
    "the whole name": (lambda flow: hash(hashing.flow_name(flow, SETS)), 1 / (SETS << TAG_BITS)),
}


def seed(number: int) -> bytes:
    """Seeds that share nothing."""
    return hashlib.blake2b(number.to_bytes(4, "big"), digest_size=16).digest()


def limit(trials: int, chance: float, tests: int) -> int:
    """So many collisions come up by chance in any of so many tests less often than once in 10,000 runs."""
    left, collisions = 1.0, 0
    while left > 1e-4 / tests:
        left -= math.comb(trials, collisions) * chance**collisions * (1 - chance) ** (trials - collisions)
        collisions += 1
    return collisions


@pytest.fixture(scope="module")
def flows() -> list[list[tuple[int, int]]]:
    """For each seed, the hashes of all pairs."""
    keys = [hashing.coefficients(seed(number)) for number in range(SEEDS)]
    return [[(flow_hash(k, a), flow_hash(k, b)) for a, b in PAIRS.values()] for k in keys]


@pytest.mark.parametrize("view", VIEWS)
def test_no_pair_collides_more_often_than_chance(view: str, flows: list[list[tuple[int, int]]]) -> None:
    function, chance = VIEWS[view]
    allowed = limit(SEEDS, chance, len(PAIRS) * len(VIEWS))
    collisions = [0] * len(PAIRS)
    for row in flows:
        for pair, (a, b) in enumerate(row):
            collisions[pair] += function(a) == function(b)
    assert {name: n for name, n in zip(PAIRS, collisions, strict=True) if n >= allowed} == {}


def test_a_weak_key_is_found_out() -> None:
    """The same count condemns a seed that is merely xor-ed in before a multiplication."""

    def weak(k: int, packet: Packet) -> int:
        source, source_port, vip, vip_port, _ = packet
        return ((source ^ vip ^ k) * 0x9E3779B97F4A7C15 + (source_port << 16 | vip_port)) & hashing.MASK

    keys = [hashing.coefficients(seed(number))[0] for number in range(SEEDS)]
    a, b = PAIRS["addresses swapped"]
    same = sum(hashing.slot_of(weak(k, a), 1021) == hashing.slot_of(weak(k, b), 1021) for k in keys)
    assert same >= limit(SEEDS, 1 / 1021, len(PAIRS) * len(VIEWS))


@pytest.mark.parametrize(("sources", "ports"), [(0, 1), (0, 2), (0, 256), (1, 0), (256, 0), (1, 7919)])
def test_clients_in_even_steps_spread_over_the_slots(sources: int, ports: int) -> None:
    """200 connections, whose sources or ports are so far apart, among the slots of 10 backends: under every seed they
    spread as by chance. By the limit on the sum of squares, 100 seeds all keep within it 999 times in 1,000."""
    worst = 0.0
    for number in range(100):
        k = hashing.coefficients(seed(number))
        load = [0] * 10
        for n in range(200):
            flow = flow_hash(k, (SOURCE + n * sources, (20_000 + n * ports) % 2**16, VIP, 443, TCP))
            load[MAGLEV[hashing.slot_of(flow, len(MAGLEV))]] += 1
        worst = max(worst, sum((count - 20) ** 2 / 20 for count in load))
    assert worst < 38


def test_every_slot_is_used_alike() -> None:
    """Of random hashes; chi-square of 641 slots, within five standard deviations."""
    draw, count = Random(1), 641
    load = [0] * count
    for _ in range(count * 100):
        load[hashing.slot_of(draw.getrandbits(64), count)] += 1
    assert abs(sum((n - 100) ** 2 / 100 for n in load) - (count - 1)) < 5 * math.sqrt(2 * (count - 1))


def test_known_answers() -> None:
    """A change of the hash moves every flow of every balancer: it must not happen by accident."""
    k = hashing.coefficients(bytes(range(16)))
    assert len(k) == COEFFICIENTS + SOURCE_PARTS + WORDS
    material = hashlib.blake2b(bytes(range(16)), digest_size=40, person=b"vc5 flow hash").digest()
    wide = hashlib.blake2b(bytes(range(16)), digest_size=56, person=b"vc5 flow hash 6").digest()
    assert b"".join(value.to_bytes(8, "little") for value in k) == material + bytes((wide[0] | 1,)) + wide[1:]
    flow = flow_hash(k, BASE)
    source, vip = (int.from_bytes(address.to_bytes(4, "big"), "little") for address in (SOURCE, VIP))
    ports = int.from_bytes((40_000).to_bytes(2, "big") + (443).to_bytes(2, "big"), "little")
    assert flow == (k[0] + (k[1] + source) * (k[2] + vip) + (k[3] + ports) * (k[4] + TCP)) % 2**64
    flows = (0, 1 << 31, 1 << 32, 0xB504F333F9DE6484, 2**64 - 1)
    assert [hashing.slot_of(flow, 1021) for flow in flows] == [h * (h + 1) % 2**64 * 1021 >> 64 for h in flows]
    number, tag = hashing.flow_name(flow, SETS)
    assert 0 <= number < SETS
    assert 0 <= tag < 1 << TAG_BITS


def test_known_answer_over_ipv6() -> None:
    k = hashing.coefficients(bytes(range(16)))
    source, vip = IPv6Address("2001:db8:9::7"), IPv6Address("2001:db8:5::10")
    half, *words = (
        int.from_bytes(one.packed[at : at + size], "little")
        for one, pieces in ((source, ((0, 8), (8, 4), (12, 4))), (vip, ((0, 4), (4, 4), (8, 4), (12, 4))))
        for at, size in pieces
    )
    ports = int.from_bytes((40_000).to_bytes(2, "big") + (443).to_bytes(2, "big"), "little")
    summed = sum(factor * word for factor, word in zip(k[5:], (half, *words), strict=True))
    expected = (k[0] + summed + (k[3] + ports) * (k[4] + TCP)) % 2**64
    assert hashing.flow_hash(k, source, 40_000, vip, 443, TCP) == expected
    factors = hashing.hash_factors(k, vip, TCP)
    multiplied = sum(factor * word for factor, word in zip(k[5:8], (half, *words[:2]), strict=True))
    assert (multiplied + ports * factors.ports + factors.rest) % 2**64 == expected


ADDRESS = int(IPv6Address("2001:db8:9::7"))
SOURCE_PAIRS = {
    **{f"bit {bit}": (ADDRESS, ADDRESS ^ 1 << bit) for bit in range(128)},
    **{f"bits {bit} and {bit - 64}": (ADDRESS, ADDRESS ^ (1 << bit | 1 << bit - 64)) for bit in range(64, 128)},
    **{f"{step} apart": (ADDRESS, ADDRESS + step) for step in (1, 255, 1 << 32, 1 << 56, 1 << 63, 1 << 64, 1 << 96)},
    "halves swapped": (ADDRESS, (ADDRESS & hashing.MASK) << 64 | ADDRESS >> 64),
    "the last bytes of both halves": (ADDRESS, ADDRESS ^ (0xFF << 64 | 0xFF)),
    "complement": (ADDRESS, ADDRESS ^ (1 << 128) - 1),
}


def test_no_pair_of_ipv6_sources_collides_more_often_than_chance() -> None:
    """Twice the chance where only the first halves differ: those have one coefficient of 64 bits."""
    vip, keys = IPv6Address("2001:db8:5::10"), [hashing.coefficients(seed(number)) for number in range(SEEDS)]
    found: dict[str, int] = {}
    for name, pair in SOURCE_PAIRS.items():
        a, b = (IPv6Address(address) for address in pair)
        flows = [[hashing.flow_hash(k, one, 40_000, vip, 443, TCP) for one in (a, b)] for k in keys]
        assert all(x != y for x, y in flows), f"{name}: one flow's name for two"
        found[name] = sum(hashing.slot_of(x, 1021) == hashing.slot_of(y, 1021) for x, y in flows)
    allowed = limit(SEEDS, 2 / 1021, len(SOURCE_PAIRS))
    assert {name: count for name, count in found.items() if count >= allowed} == {}


def test_every_seed_gives_other_coefficients() -> None:
    drawn = list(chain.from_iterable(hashing.coefficients(seed(number)) for number in range(SEEDS)))
    assert len(set(drawn)) == SEEDS * (COEFFICIENTS + SOURCE_PARTS + WORDS)
    # Every bit is set about half of the time: 12,000 draws have a standard deviation of 55; one in twelve is odd.
    for bit in range(64):
        assert abs(sum(value >> bit & 1 for value in drawn) - 6000 - (500 if bit == 0 else 0)) < 400


@given(st.integers(0, 2**64 - 1), st.sampled_from([2, 512, 1 << 17, 1 << 23]), st.integers(1, 204_797))
def test_slot_set_and_tag_stay_in_range(flow: int, sets: int, count: int) -> None:
    number, tag = hashing.flow_name(flow, sets)
    assert 0 <= number < sets
    assert 0 <= tag < 1 << TAG_BITS
    assert 0 <= hashing.slot_of(flow, count) < count


def service_words(count: int, random: Random) -> list[int]:
    """Keys as configurations have them: consecutive addresses, a few ports, two protocols."""
    base = random.randrange(1 << 24, 1 << 31)
    ports = (80, 443, 53, 8080)
    keys = (
        ServiceKey(IPv4Address(base + number // 8), ports[number % 4], Protocol.TCP if number & 4 else Protocol.UDP)
        for number in range(count)
    )
    return [key_word(key) for key in keys]


@pytest.mark.parametrize("size", [2, 4, 16, 256, 2048, 65_536])
def test_every_key_is_found_where_it_was_placed(size: int) -> None:
    random = Random(size)
    counts = {0, 1, 2, size // 4, size // 2 - 1, size // 2} & set(range(size // 2 + 1))
    for count in sorted(counts) if size < 65_536 else (1024, size // 2):
        spread = {random.getrandbits(64) | 1 for _ in range(2 * count)}
        addresses = list(range(1 << 25, (1 << 25) + count))
        for keys in (service_words(count, random), addresses, sorted(spread)[:count]):
            made = hashing.perfect_hash(keys, size)
            assert len(made.displacements) == size
            assert all(0 <= displacement < size for displacement in made.displacements)
            assert len(set(made.positions)) == len(keys)
            assert tuple(hashing.position(key, made.multiplier, made.displacements) for key in keys) == made.positions


@given(st.sets(st.integers(1, 2**64 - 1), max_size=8), st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_any_key_has_one_position(keys: set[int], others: list[int]) -> None:
    placed = sorted(keys)
    made = hashing.perfect_hash(placed, 16)
    where = dict(zip(placed, made.positions, strict=True))
    for key in (*placed, *others):
        at = hashing.position(key, made.multiplier, made.displacements)
        assert 0 <= at < 16
        assert where.get(key, at) == at


@pytest.mark.parametrize("count", [0, 1, 2, 40, DIRECT_LIMIT])
def test_few_keys_need_no_displacements(count: int) -> None:
    random = Random(count)
    size = direct_positions(count)
    for keys in (service_words(count, random), [random.getrandbits(32) for _ in range(count)]):
        made = hashing.direct_hash(keys, size)
        assert made.displacements == ()
        assert len(set(made.positions)) == count
        assert all(0 <= at < size for at in made.positions)
        assert tuple(hashing.direct_position(key, made.multiplier, size) for key in keys) == made.positions


@pytest.mark.parametrize("build", [hashing.perfect_hash, hashing.direct_hash])
def test_the_multiplier_tells_where_the_table_lies(build: Callable[[Sequence[int], int, int], PerfectHash]) -> None:
    keys = service_words(40, Random(3))
    made = [build(keys, 256, copy) for copy in (0, 1)]
    assert [table.multiplier & 1 for table in made] == [0, 1]
    assert all(len(set(table.positions)) == len(keys) for table in made)


@given(ADDRESSES, ADDRESSES, PORTS, PORTS, st.sampled_from([TCP, UDP]), st.binary(min_size=16, max_size=16))
def test_a_hash_multiplied_out_is_the_same(
    source: int, vip: int, source_port: int, vip_port: int, protocol: int, drawn: bytes
) -> None:
    k = hashing.coefficients(drawn)
    factors = hashing.hash_factors(k, IPv4Address(vip), protocol)
    both = hashing.word16(source_port) | hashing.word16(vip_port) << 16
    expected = flow_hash(k, (source, source_port, vip, vip_port, protocol))
    assert (hashing.word32(source) * factors.source + both * factors.ports + factors.rest) & hashing.MASK == expected


def test_the_same_keys_are_placed_alike() -> None:
    keys = service_words(100, Random(1))
    assert hashing.perfect_hash(keys, 256) == hashing.perfect_hash(keys, 256)
    assert hashing.direct_hash(keys, 2048) == hashing.direct_hash(keys, 2048)


def test_keys_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(PlanError, match="no perfect hash for 2 keys on 16 positions"):
        hashing.perfect_hash([7, 7], 16)
    with pytest.raises(PlanError, match="no direct hash for 2 keys on 32 positions"):
        hashing.direct_hash([7, 7], 32)


def test_building_for_1024_services() -> None:
    """The time is printed (pytest -rP), not judged: the machine may be busy."""
    keys = service_words(1024, Random(2))
    started = perf_counter()
    made = hashing.perfect_hash(keys, 2048)
    print(f"1,024 keys: {1000 * (perf_counter() - started):.1f} ms")
    assert len(set(made.positions)) == 1024
