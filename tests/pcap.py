"""Files of packets, as another reads them: scapy."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from scapy.utils import RawPcapReader


@dataclass(frozen=True)
class Recorded:
    """A packet of a file: what is kept of it, its whole length, and seconds and microseconds since 1970."""

    octets: bytes
    length: int
    seconds: int
    microseconds: int


@dataclass(frozen=True)
class Capture:
    """A file: what its packets begin with, by LINKTYPE, how many bytes of each there are at most, and the packets."""

    link: int
    longest: int
    packets: list[Recorded]


def read(content: bytes) -> Capture:
    """Read a file with times in microseconds; raises where it is none."""
    file: Any = BytesIO(content)
    reader = RawPcapReader(file)
    assert not reader.nano
    packets = [Recorded(octets, meta.wirelen, meta.sec, meta.usec) for octets, meta in reader]
    return Capture(reader.linktype, reader.snaplen, packets)
