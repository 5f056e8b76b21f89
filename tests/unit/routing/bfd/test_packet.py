"""Packets: golden bytes, both ways, held against scapy's codec, and whatever a stranger may send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.bfd import BFD

from appliance.routing.bfd.packet import (
    DIAGNOSTICS,
    DROPS,
    LENGTH,
    MICROSECONDS,
    Diagnostic,
    Drop,
    Packet,
    State,
    Unusable,
    decode,
    diagnostic_words,
    encode,
)
from tests.profile import PARSER_INPUTS

# By hand from the picture of RFC 5880 section 4.1, and what it says.
GOLDEN = {
    "20400318" + "0a0b0c0d" + "00000000" + "000f4240" + "000f4240" + "00000000": Packet(
        State.DOWN, 0x0A0B0C0D, desired_us=1_000_000, required_us=1_000_000
    ),
    "20e80318" + "12345678" + "9abcdef0" + "000493e0" + "000493e0" + "00000000": Packet(
        State.UP,
        0x12345678,
        0x9ABCDEF0,
        poll=True,
        control_independent=True,
        multiplier=3,
        desired_us=300_000,
        required_us=300_000,
    ),
    "21d20518" + "00000001" + "00000002" + "00002710" + "ffffffff" + "0000c350": Packet(
        State.UP,
        1,
        2,
        diagnostic=Diagnostic.SILENCE,
        final=True,
        demand=True,
        multiplier=5,
        desired_us=10_000,
        required_us=MICROSECONDS,
        echo_us=50_000,
    ),
    "27080118" + "ffffffff" + "00000003" + "000f4240" + "00000000" + "00000000": Packet(
        State.ADMIN_DOWN,
        MICROSECONDS,
        3,
        diagnostic=Diagnostic.ADMINISTRATIVELY_DOWN,
        control_independent=True,
        multiplier=1,
        desired_us=1_000_000,
        required_us=0,
    ),
}


@pytest.mark.parametrize(("text", "packet"), GOLDEN.items())
def test_golden_bytes_both_ways(text: str, packet: Packet) -> None:
    assert decode(bytes.fromhex(text)) == packet
    assert encode(packet).hex() == text


NUMBERS = st.integers(0, MICROSECONDS)
PACKETS = st.builds(
    Packet,
    state=st.sampled_from(State),
    mine=st.integers(1, MICROSECONDS),
    yours=st.integers(1, MICROSECONDS),
    diagnostic=st.integers(0, 31),
    poll=st.booleans(),
    final=st.booleans(),
    control_independent=st.booleans(),
    demand=st.booleans(),
    multiplier=st.integers(1, 255),
    desired_us=NUMBERS,
    required_us=NUMBERS,
    echo_us=NUMBERS,
)


@given(PACKETS, st.binary(max_size=4))
def test_what_goes_in_comes_out(packet: Packet, more: bytes) -> None:
    assert decode(encode(packet) + more) == packet


@given(PACKETS)
def test_scapy_reads_the_same(packet: Packet) -> None:
    read = BFD(encode(packet))
    flags = str(read.flags)
    assert (read.version, read.sta, read.diag, read.len) == (1, packet.state, packet.diagnostic, LENGTH)
    assert (read.my_discriminator, read.your_discriminator) == (packet.mine, packet.yours)
    assert (read.min_tx_interval, read.min_rx_interval) == (packet.desired_us, packet.required_us)
    assert (read.echo_rx_interval, read.detect_mult) == (packet.echo_us, packet.multiplier)
    assert ("P" in flags, "F" in flags) == (packet.poll, packet.final)
    assert ("C" in flags, "D" in flags) == (packet.control_independent, packet.demand)


GOOD = bytes.fromhex("20c00318" + "12345678" + "9abcdef0" + "000493e0" + "000493e0" + "00000000")


def changed(at: int, value: int) -> bytes:
    return GOOD[:at] + bytes([value]) + GOOD[at + 1 :]


# RFC 5880 section 6.8.6, check by check.
REFUSED = {
    "nothing": (b"", Drop.SHORT),
    "one byte less": (GOOD[:-1], Drop.SHORT),
    "version 0": (changed(0, 0x00), Drop.VERSION),
    "version 2": (changed(0, 0x40), Drop.VERSION),
    "length 23": (changed(3, 23), Drop.LENGTH),
    "length 25 of 24": (changed(3, 25), Drop.LENGTH),
    "multiplier 0": (changed(2, 0), Drop.MULTIPLIER),
    "multipoint": (changed(1, 0xC1), Drop.MULTIPOINT),
    "no discriminator": (GOOD[:4] + bytes(4) + GOOD[8:], Drop.DISCRIMINATOR),
    "up, and has not heard us": (GOOD[:8] + bytes(4) + GOOD[12:], Drop.STATE),
    "authenticated": (changed(1, 0xC4), Drop.AUTHENTICATED),
    "authenticated, with a password": (changed(1, 0xC4)[:3] + b"\x1b" + GOOD[4:] + b"\x01\x03\x01", Drop.AUTHENTICATED),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(data: bytes, reason: Drop) -> None:
    with pytest.raises(Unusable) as refused:
        decode(data)
    assert refused.value.reason is reason


def decoded(data: bytes) -> Packet | None:
    """Return the packet, None where it is dropped; anything but a drop is a failure."""
    try:
        return decode(data)
    except Unusable as refused:
        return None if str(refused) == DROPS[refused.reason] else Packet(State.DOWN, 0)


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=80) | st.tuples(st.binary(min_size=24, max_size=24), st.binary()).map(lambda two: two[0]))
def test_any_bytes_are_a_packet_or_a_counted_drop(data: bytes) -> None:
    packet = decoded(data)
    if packet is not None:
        again = encode(packet)
        assert again[:3] + again[4:] == data[:3] + data[4:LENGTH]


@settings(max_examples=PARSER_INPUTS)
@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 255)), max_size=4))
def test_a_packet_with_some_bytes_changed(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    packet = decoded(bytes(data))
    assert packet is None or packet.mine


def test_everything_has_words() -> None:
    assert set(DROPS) == set(Drop)
    assert set(DIAGNOSTICS) == set(Diagnostic)
    assert [state.words for state in State] == ["admin-down", "down", "init", "up"]
    assert diagnostic_words(3) == "neighbour signalled session down"
    assert diagnostic_words(17) == "diagnostic 17"
