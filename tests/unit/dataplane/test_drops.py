"""Reading what was written down of dropped packets, while the program may write."""

from __future__ import annotations

from appliance.dataplane.abi import REASON_STRIDE
from appliance.dataplane.aside import DROP_REASONS, DROPPED, DROPS_KEPT, DROPS_NUMBER
from appliance.dataplane.drops import Dropped, dropped
from appliance.dataplane.enums import DROPS, Reason
from appliance.dataplane.memory import Elements, Memory
from appliance.dataplane.model.drops import Drops
from appliance.dataplane.shape import Shape

SHAPE = Shape(cpus=4, services=128, destinations=512, slots=1 << 15, sets=4)


def filled(*given: tuple[int, Reason, bytes]) -> Memory:
    """A memory in which CPUs have dropped frames, one after the other, a second each."""
    memory = Memory.plain(SHAPE)
    drops = Drops(memory)
    for at, (cpu, reason, frame) in enumerate(given, 1):
        memory.settings.put(0, "time", at)
        drops.record(cpu, reason, frame, 3)
        ring = (cpu * DROP_REASONS + reason) * DROPS_KEPT
        number = memory.reasons[cpu * REASON_STRIDE + reason + DROPS_NUMBER]
        memory.drops.put(ring + number % DROPS_KEPT, "at", at * 1_000_000_000)
    return memory


def found(memory: Memory) -> dict[Reason, list[Dropped]]:
    """What is read, by reason."""
    return {reason: packets for reason, packets in dropped(memory) if packets}


def test_every_reason_is_told_of() -> None:
    assert [(reason, packets) for reason, packets in dropped(Memory.plain(SHAPE))] == [(one, []) for one in DROPS]


def test_cpus_are_read_together_newest_first() -> None:
    memory = filled(
        (3, Reason.TTL, b"first" * 40), (0, Reason.TTL, b"second"), (3, Reason.TTL, b"third"), (1, Reason.DEAD, b"")
    )
    assert found(memory) == {
        Reason.TTL: [
            Dropped(Reason.TTL, 3_000_000_000, 3, 5, b"third"),
            Dropped(Reason.TTL, 2_000_000_000, 3, 6, b"second"),
            Dropped(Reason.TTL, 1_000_000_000, 3, 200, (b"first" * 40)[:128]),
        ],
        Reason.DEAD: [Dropped(Reason.DEAD, 4_000_000_000, 3, 0, b"")],
    }


def test_no_more_than_a_ring_of_one_cpu_is_told() -> None:
    memory = filled(*((at % 3, Reason.TTL, bytes([at])) for at in range(100)))
    assert [one.octets[0] for one in found(memory)[Reason.TTL]] == list(range(99, 99 - DROPS_KEPT, -1))


def test_a_record_that_is_being_written_is_passed_over() -> None:
    memory = filled((0, Reason.TTL, b"one"), (0, Reason.TTL, b"two"))
    memory.drops.put(Reason.TTL * DROPS_KEPT + 1, "number", 0)
    assert [one.octets for one in found(memory)[Reason.TTL]] == [b"two"]


class Overtaken(Elements):
    """Records of which the program replaces one as soon as it has been read."""

    def bytes_of(self, element: int, name: str, size: int) -> bytes:
        octets = super().bytes_of(element, name, size)
        if element == Reason.TTL * DROPS_KEPT + 1:
            self.put(element, "number", 1 + DROPS_KEPT)
        return octets


class Busy(Memory):
    """Tables with such records."""

    @property
    def drops(self) -> Elements:
        return Overtaken(self.raw["vc5_drops"], DROPPED)


def test_a_record_that_is_replaced_while_it_is_read_is_passed_over() -> None:
    memory = filled((0, Reason.TTL, b"one"), (0, Reason.TTL, b"two"))
    assert [one.octets for one in found(Busy(SHAPE, memory.raw))[Reason.TTL]] == [b"two"]


def test_lengths_that_make_no_sense_stay_within_the_record() -> None:
    memory = filled((0, Reason.TTL, b"x" * 200))
    memory.drops.put(Reason.TTL * DROPS_KEPT + 1, "kept", 0xFFFFFFFF)
    [one] = found(memory)[Reason.TTL]
    assert one.octets == b"x" * 128
