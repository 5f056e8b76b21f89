"""What is written down of dropped packets: the first bytes of the first ones of each second; and of no others."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import pytest

from appliance.dataplane.aside import DROP_OCTETS, DROPS_A_SECOND, DROPS_KEPT
from appliance.dataplane.drops import Dropped, dropped
from appliance.dataplane.enums import DROPS, Reason, Tail
from appliance.dataplane.kernel import Verdict
from appliance.dataplane.model import Action
from appliance.dataplane.model.exits import ACTIONS
from tests.dataplane.equivalence.pair import LOOPBACK, Pair, loaded, shape
from tests.dataplane.frames import Frame
from tests.dataplane.test_packets import DESIRED, TO_VIP

pytestmark = pytest.mark.root


def kept(pair: Pair) -> dict[Reason, list[Dropped]]:
    """What the loaded program has written down, by reason; those without anything are left out."""
    return {reason: packets for reason, packets in dropped(pair.real) if packets}


def numbered(number: int, size: int = 60) -> bytes:
    """A frame to a port that there is not, which tells its number."""
    return TO_VIP.udp(1, 9, number.to_bytes(4, "big")).padded(size).bytes


def number_of(packet: Dropped) -> int:
    """That number."""
    return int.from_bytes(packet.octets[42:46], "big")


@pytest.mark.parametrize("size", [60, DROP_OCTETS - 1, DROP_OCTETS, DROP_OCTETS + 1, 1514])
def test_the_first_bytes_and_the_length(pair: Pair, size: int) -> None:
    pair.apply("open", DESIRED)
    frame, before = numbered(7, size), time.monotonic_ns()
    assert pair.send(frame).action is Action.DROP
    after = time.monotonic_ns()
    pair.compare()
    [(reason, [packet])] = kept(pair).items()
    assert reason is packet.reason is Reason.UNKNOWN_PORT
    assert (packet.octets, packet.length, packet.interface) == (frame[:DROP_OCTETS], size, LOOPBACK)
    assert before <= packet.at <= after


def test_a_shorter_packet_shows_nothing_of_the_longer_one_before(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    for second, size in enumerate([200] * DROPS_KEPT + [14, 20]):
        pair.at(2000 + second)
        pair.send(TO_VIP.udp(1, 9, b"\xff" * 200).cut(size).bytes)
    pair.compare()
    [last, before, *_] = kept(pair)[Reason.MALFORMED]
    assert (last.length, len(last.octets)) == (20, 20)
    assert (before.length, len(before.octets)) == (14, 14)


def test_what_is_not_dropped_leaves_no_record(pair: Pair) -> None:
    pair.apply("open", replace(DESIRED, pass_unknown_port=True))
    for frame in (TO_VIP.tcp(1, 80), TO_VIP.icmp(8), TO_VIP.udp(1, 9), Frame().other(0x0806, bytes(28))):
        assert pair.send(frame.bytes).action is not Action.DROP
    assert kept(pair) == {}


def test_a_flood_is_written_down_up_to_a_bound_and_counted_beyond(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    for number in range(100):
        pair.send(numbered(number))
    pair.compare()
    assert [number_of(packet) for packet in kept(pair)[Reason.UNKNOWN_PORT]] == [3, 2, 1, 0]
    assert pair.real.reason(Reason.UNKNOWN_PORT) == 100
    # One flood does not silence another reason, and the next second has its own room.
    pair.send(TO_VIP.raw(47, b"").bytes)
    pair.at(1001)
    pair.send(numbered(100))
    pair.compare()
    found = kept(pair)
    assert len(found[Reason.PROTOCOL]) == 1
    assert [number_of(packet) for packet in found[Reason.UNKNOWN_PORT]] == [100, 3, 2, 1, 0]


def test_the_newest_take_the_place_of_the_oldest(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    seconds, many = 3 * DROPS_KEPT // DROPS_A_SECOND + 1, 10
    written: list[int] = []
    for second in range(seconds):
        pair.at(1000 + second)
        for number in range(second * many, (second + 1) * many):
            pair.send(numbered(number))
        written += range(second * many, second * many + DROPS_A_SECOND)
    pair.compare()
    packets = kept(pair)[Reason.UNKNOWN_PORT]
    assert [number_of(packet) for packet in packets] == written[: -DROPS_KEPT - 1 : -1]
    assert [packet.at for packet in packets] == sorted((packet.at for packet in packets), reverse=True)


def test_a_slow_trickle_is_written_down_whole(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    for number in range(DROPS_KEPT):
        pair.at(1000 + number // (DROPS_A_SECOND - 1))
        pair.send(numbered(number))
    assert len(kept(pair)[Reason.UNKNOWN_PORT]) == DROPS_KEPT


def test_a_clock_that_stands_still_ends_it(pair: Pair) -> None:
    """While no daemon runs, what there is room for is the last."""
    pair.apply("open", DESIRED)
    for number in range(10 * DROPS_KEPT):
        pair.send(numbered(number))
    assert len(kept(pair)[Reason.UNKNOWN_PORT]) == DROPS_A_SECOND
    assert pair.real.reason(Reason.UNKNOWN_PORT) == 10 * DROPS_KEPT


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one CPU")
def test_each_cpu_writes_its_own_and_they_are_read_as_one(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    here = os.sched_getaffinity(0)
    try:
        for number in range(3 * DROPS_A_SECOND):
            os.sched_setaffinity(0, {number % 2})
            assert pair.main.test_run(numbered(number)).verdict is Verdict.DROP
    finally:
        os.sched_setaffinity(0, here)
    packets = kept(pair)[Reason.UNKNOWN_PORT]
    assert [number_of(packet) for packet in packets] == list(range(2 * DROPS_A_SECOND))[::-1]


def test_drops_of_the_probe_program_are_written_down(pair: Pair) -> None:
    pair.apply("open", DESIRED)
    assert pair.send(TO_VIP.tcp(1, 80).bytes, probe=True).reason is Reason.PROBE_REFUSED
    pair.compare()
    assert [packet.octets for packet in kept(pair)[Reason.PROBE_REFUSED]] == [TO_VIP.tcp(1, 80).bytes]


def test_without_the_program_that_writes_them_down_they_are_dropped_all_the_same() -> None:
    with loaded(shape(resets=False)) as pair:
        pair.at(1000)
        pair.apply("open", DESIRED)
        assert pair.generation.maps["vc5_tails"].delete(int(Tail.DROP).to_bytes(4, sys.byteorder))
        assert pair.main.test_run(numbered(1)).verdict is Verdict.DROP
        assert kept(pair) == {}
        assert pair.real.reason(Reason.UNKNOWN_PORT) == 1


def test_the_reasons_are_those_for_which_the_model_drops() -> None:
    exits = {reason for reason in Reason if reason < Reason.TRACKED_HIT}
    assert set(DROPS) == {reason for reason in exits if ACTIONS.get(reason, Action.DROP) is Action.DROP} - {
        Reason.RESET
    }
