"""Files of packets, read back by scapy."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapReader

from appliance.pcap import Link, header, record

PACKETS = st.lists(st.tuples(st.floats(0, 2**32 - 1), st.binary(max_size=200), st.integers(0, 9000)))


@pytest.mark.parametrize("link", Link)
def test_the_kind_of_packets(link: Link) -> None:
    reader = RawPcapReader(BytesIO(header(link, 128)))
    assert (reader.linktype, reader.snaplen, reader.nano) == (link, 128, False)


@given(PACKETS)
def test_packets_times_and_lengths(packets: list[tuple[float, bytes, int]]) -> None:
    written = header(Link.ETHERNET, 128) + b"".join(record(at, data, len(data) + more) for at, data, more in packets)
    found = list(RawPcapReader(BytesIO(written)))
    assert [data for data, _ in found] == [data for _, data, _ in packets]
    for (at, data, more), (_, meta) in zip(packets, found, strict=True):
        assert (meta.caplen, meta.wirelen) == (len(data), len(data) + more)
        assert abs(meta.sec + meta.usec / 1e6 - at) < 1e-5
        assert 0 <= meta.usec < 1_000_000


def test_a_length_that_is_less_than_there_is_counts_as_none() -> None:
    [(data, meta)] = RawPcapReader(BytesIO(header(Link.RAW, 99) + record(1.5, b"12345", 3)))
    assert (data, meta.wirelen, meta.sec, meta.usec) == (b"12345", 5, 1, 500_000)
