"""What the program of a fleet tells of remembered flows: when, how much of it, and who gets to read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.dataplane.abi import SETTLING
from appliance.dataplane.desired import Desired, DesiredService, Hop, Member
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.flowshare import News, whose
from appliance.dataplane.generation import Generation, remove
from appliance.dataplane.hashing import flow_hash, slot_of, whole_name
from appliance.dataplane.kernel import Ring, is_bpffs
from appliance.dataplane.newsring import NewsRing
from appliance.errors import KernelError
from appliance.model import Protocol, ServiceKey
from appliance.paths import BPFFS
from tests.dataplane.equivalence.pair import Difference, Pair, compiled, loaded, shape, text_of
from tests.dataplane.frames import BALANCER, Frame

pytestmark = pytest.mark.root

SHAPE = shape(resets=True, fleet=True)
VIP, CLIENT, IDLE, START = IPv4Address("203.0.113.10"), IPv4Address("198.51.100.7"), 5, 1000
KEY = ServiceKey(VIP, 80, Protocol.TCP)
A, B = IPv4Address("10.1.10.11"), IPv4Address("10.1.10.12")
TAKES = 32
"""Bytes of the ring for one of the news."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Pair]:
    with loaded(SHAPE) as pair:
        yield pair


def desired(up: IPv4Address, idle: int = IDLE) -> Desired:
    """One of the two backends is in service; the other one keeps what it has."""
    members = []
    for address in (A, B):
        state = State.AVAILABLE if address == up else State.DRAINING
        hop = Hop(2, bytes((2, 0, 0, 0, 0, int(address) & 255)) + BALANCER, IPv4Address("10.1.10.5"))
        members.append(Member(address, int(address == up), state, hop))
    return Desired((DesiredService(KEY, tuple(members), idle),), {VIP: True}, bytes(range(16)), idle)


def begin(pair: Pair, idle: int = IDLE) -> None:
    """A is in service, and all is settled; then B."""
    pair.clear()
    pair.reads = True
    pair.at(START)
    pair.apply("A", desired(A, idle))
    pair.at(START + 100)
    pair.sweep(desired(A, idle))
    pair.apply("B", desired(B, idle))


def packet(port: int, flags: str) -> bytes:
    return Frame().ipv4(CLIENT, VIP).tcp(port, 80, flags).bytes


def told(pair: Pair, port: int, flags: str) -> list[News]:
    """What a packet is told as, by the program."""
    pair.reads = False
    pair.send(packet(port, flags))
    found, expected = pair.ring.take(100), list(pair.model.news)
    pair.model.news.clear()
    assert found == expected
    return found


def test_news_tell_all_that_another_node_needs(fleet: Pair) -> None:
    begin(fleet)
    entry = fleet.tables[1].entry(KEY)
    assert entry is not None
    flow = flow_hash(fleet.plain.coefficients(), CLIENT, 4000, VIP, 80, Protocol.TCP)
    (new,) = told(fleet, 4000, "S")
    slot = entry.slots + slot_of(flow, entry.slot_count)
    number = fleet.tables[1].numbers(KEY)[B]
    assert new == News(whole_name(flow), number, slot, START + 100 + IDLE, candidate=True, opened=True)
    assert whose(fleet.real, new.destination) == (KEY, B)
    assert told(fleet, 4000, "S") == [], "a repeated SYN is no news"
    assert told(fleet, 4000, "A") == [replace(new, candidate=False, opened=False)]
    assert told(fleet, 4000, "A") == [], "a flow that goes on is no news"
    fleet.at(START + 101)
    assert told(fleet, 4000, "A") == []
    fleet.at(START + 103)
    assert told(fleet, 4000, "A") == [replace(new, candidate=False, opened=False, expiry=START + 103 + IDLE)], (
        "unless it was silent for more than a quarter of idle"
    )
    (old,) = told(fleet, 4001, "A")
    assert (whose(fleet.real, old.destination), old.candidate, old.opened) == ((KEY, A), True, False)
    assert told(fleet, 4002, "R") == []


def test_connections_that_are_not_known_are_counted_by_how_long_the_slot_has_been_tracked(fleet: Pair) -> None:
    idle = 2 * SETTLING
    begin(fleet, idle)

    def counted(port: int, flags: str, after: int) -> tuple[int, int]:
        fleet.at(START + 100 + after)
        before = [fleet.real.reason(reason) for reason in (Reason.TRACKED_FIRST, Reason.TRACKED_UNKNOWN)]
        told(fleet, port, flags)
        first, unknown = (fleet.real.reason(reason) for reason in (Reason.TRACKED_FIRST, Reason.TRACKED_UNKNOWN))
        return first - before[0], unknown - before[1]

    assert counted(4000, "A", SETTLING) == (0, 0), "older ones come in the first seconds"
    assert counted(4000, "A", SETTLING + 1) == (0, 0), "it is known by now"
    assert counted(4001, "R", SETTLING + 1) == (0, 0)
    assert counted(4002, "S", SETTLING + 1) == (0, 0)
    assert counted(4003, "A", SETTLING + 1) == (1, 0)
    assert counted(4003, "A", SETTLING + 1) == (0, 0), "each once"
    assert counted(4004, "A", idle) == (1, 0)
    assert counted(4005, "A", idle + 1) == (0, 1)


def test_nothing_is_told_where_nothing_is_tracked(fleet: Pair) -> None:
    begin(fleet)
    for seconds in (IDLE + 1, 3 * IDLE):
        fleet.at(START + 100 + seconds)
        fleet.sweep(desired(B))
    assert not any(fleet.tables[1].tracked().values())
    assert [told(fleet, 4000, flags) for flags in ("S", "A", "FA")] == [[], [], []]
    assert fleet.real.flows.tolist().count(0) == len(fleet.real.flows)


def fill_ring(pair: Pair) -> None:
    """Nobody takes the news: candidates are told while it is half empty, and confirmed flows until it is full.

    Raises Difference where the model tells of others.
    """
    begin(pair)
    pair.reads, port, time = False, 1024, START + 100
    most = SHAPE.news // TAKES
    while not pair.plain.reason(Reason.UNTOLD):
        pair.send(packet(port, "S"))
        port += 1
    assert len(pair.model.news) == most // 2 + 1
    while len(pair.model.news) < most - 1:
        time += 2 * IDLE
        pair.at(time)
        for flags in ("S", "A"):
            for number in range(24):
                pair.send(packet(port + number, flags))
        port += 24
    lost = pair.plain.reason(Reason.UNTOLD)
    pair.at(time + 2 * IDLE)
    for flags in ("S", "A"):
        pair.send(packet(port, flags))
    assert pair.plain.reason(Reason.UNTOLD) == lost + 2
    if where := pair.news_differ():
        raise Difference(where)


def test_a_flood_leaves_room_for_what_is_confirmed(fleet: Pair) -> None:
    fill_ring(fleet)
    pair_reads_again = told(fleet, 9, "S")
    assert len(pair_reads_again) == 1


def test_news_are_there_for_the_next_daemon_and_no_twin_adds_to_them(fleet: Pair) -> None:
    directory = BPFFS / f"vc5-test-news-{os.getpid()}"
    if not is_bpffs(BPFFS):
        pytest.skip(f"{BPFFS} is not mounted")
    begin(fleet)
    code = compiled(text_of(SHAPE)).code
    generation = Generation.load(SHAPE, "digest", code, fleet.generation.maps)
    try:
        generation.pin(directory)
        generation.programs["vc5_main"].test_run(packet(5000, "S"))
        with_twin = generation.twin(code)
        with_twin.programs["vc5_main"].test_run(packet(5001, "A"))
        with_twin.close()
        generation.close()
        opened = Generation.open(directory, SHAPE.cpus)
        assert (opened.shape.fleet, opened.shape.tracks_all) == (True, False)
        ring = NewsRing(opened.maps["vc5_news"])
        (one,) = ring.take(10)
        assert (whose(opened.memory, one.destination), ring.take(10)) == ((KEY, B), [])
        ring.close()
        opened.close()
    finally:
        remove(Path(directory))


def test_a_program_with_another_ring_has_its_own(fleet: Pair) -> None:
    other = replace(SHAPE, fleet=False)
    with Path("/dev/null").open(), loaded(other) as alone:
        assert alone.generation.maps["vc5_news"].spec().max_entries < SHAPE.news
    shared = Generation.load(SHAPE, "digest", compiled(text_of(SHAPE)).code, fleet.generation.maps)
    with shared.maps["vc5_news"] as ring:
        assert ring.info().id == fleet.generation.maps["vc5_news"].info().id
    shared.close()


def test_what_is_no_ring_is_refused(fleet: Pair) -> None:
    with pytest.raises(KernelError, match="no ring buffer"):
        Ring(fleet.generation.maps["vc5_flows"])
