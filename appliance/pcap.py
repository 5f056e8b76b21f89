"""Files of packets as tcpdump and wireshark read them (draft-ietf-opsawg-pcap), times in microseconds. Pure."""

from __future__ import annotations

import struct
from enum import IntEnum


class Link(IntEnum):
    """What packets begin with, by the number of their LINKTYPE."""

    ETHERNET = 1
    RAW = 101
    """An IPv4 or an IPv6 header."""


def header(link: Link, longest: int) -> bytes:
    """What a file begins with; `longest`: bytes that are kept of a packet, at most."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, longest, link)


def record(at: float, packet: bytes, length: int | None = None) -> bytes:
    """What is appended for a packet. `at`: seconds since 1970; `length`: its bytes, where some are not kept."""
    seconds, fraction = divmod(round(at * 1_000_000), 1_000_000)
    whole = max(len(packet), len(packet) if length is None else length)
    return struct.pack("<IIII", seconds & 0xFFFFFFFF, fraction, len(packet), whole & 0xFFFFFFFF) + packet
