"""Files of packets, read back by scapy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pcap import Link, header, record
from tests.pcap import Capture, Recorded, read

PACKETS = st.lists(st.tuples(st.floats(0, 2**32 - 1), st.binary(max_size=200), st.integers(0, 9000)))


@pytest.mark.parametrize("link", Link)
def test_a_file_without_packets(link: Link) -> None:
    assert read(header(link, 128)) == Capture(link, 128, [])


@given(PACKETS)
def test_packets_times_and_lengths(packets: list[tuple[float, bytes, int]]) -> None:
    written = header(Link.ETHERNET, 128) + b"".join(record(at, data, len(data) + more) for at, data, more in packets)
    found = read(written).packets
    assert [(one.octets, one.length) for one in found] == [(data, len(data) + more) for _, data, more in packets]
    for (at, _, _), one in zip(packets, found, strict=True):
        assert abs(one.seconds + one.microseconds / 1e6 - at) < 1e-5
        assert 0 <= one.microseconds < 1_000_000


def test_a_length_that_is_less_than_there_is_counts_as_none() -> None:
    found = read(header(Link.RAW, 99) + record(1.5, b"12345", 3)).packets
    assert found == [Recorded(b"12345", 5, 1, 500_000)]
