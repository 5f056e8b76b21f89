"""The protocol between the traffic tools and the echo server: numbered, checksummed frames.

    server                           client
    HELLO 0 "b1"          --------->                 who answers
                          <---------  DATA n payload
    DATA n reversed       --------->                 the payload backwards, so that nothing merely bounces
                          <---------  BYE n ""
    BYE n sha256          --------->                 of all payloads that the server received
    FAULT n "what"        --------->                 instead of an answer; the server then closes

A UDP datagram holds one frame; its answer is DATA n with the server's name, a zero byte, and the payload backwards.

Frame: kind (4 bytes), number, length, CRC-32 over the other three and the payload; 32-bit numbers in network order.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from dataclasses import dataclass

HEADER = struct.Struct("!4sIII")
LONGEST = 1 << 16

HELLO = b"helo"
DATA = b"data"
BYE = b"bye "
FAULT = b"flt "
KINDS = (HELLO, DATA, BYE, FAULT)


class WireError(Exception):
    """What arrived is not what was sent."""


@dataclass(frozen=True)
class Frame:
    """One frame; `number` counts from 0 on each connection."""

    kind: bytes
    number: int
    payload: bytes

    def encode(self) -> bytes:
        """Return the frame as it goes over the wire."""
        return HEADER.pack(self.kind, self.number, len(self.payload), self._checksum()) + self.payload

    def _checksum(self) -> int:
        return zlib.crc32(self.payload, zlib.crc32(self.kind + struct.pack("!II", self.number, len(self.payload))))


def decode_header(header: bytes) -> tuple[bytes, int, int, int]:
    """Return kind, number, length and checksum of a header. Raises WireError if it cannot be one."""
    kind, number, length, checksum = HEADER.unpack(header)
    if kind not in KINDS or length > LONGEST:
        raise WireError(f"this is no frame header: {header.hex()}")
    return kind, number, length, checksum


def decode(data: bytes) -> Frame:
    """Read exactly one frame. Raises WireError if it is damaged, too short or too long."""
    if len(data) < HEADER.size:
        raise WireError(f"{len(data)} bytes are no frame")
    kind, number, length, checksum = decode_header(data[: HEADER.size])
    frame = Frame(kind, number, data[HEADER.size :])
    if len(frame.payload) != length:
        raise WireError(f"frame {number} has {len(frame.payload)} bytes instead of {length}")
    if frame._checksum() != checksum:
        raise WireError(f"frame {number} has a wrong checksum")
    return frame


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Read the next frame of a connection. Raises WireError, or asyncio.IncompleteReadError at its end."""
    header = await reader.readexactly(HEADER.size)
    return decode(header + await reader.readexactly(decode_header(header)[2]))
