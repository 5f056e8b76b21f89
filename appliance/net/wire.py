"""Netlink's framing: messages in a datagram, attributes in a message. No input or output."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pyroute2.netlink import NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port; host byte order."""
_STATUS = struct.Struct("=i")  # struct nlmsgerr and the body of NLMSG_DONE begin with 0 or a negative errno
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length with this header, type
_ATTRIBUTE_TYPE = 0x3FFF  # NLA_TYPE_MASK


class Packet(NamedTuple):
    """One message of a datagram; `data` is all of it, header included."""

    kind: int
    flags: int
    data: bytes

    @property
    def error(self) -> int:
        """The errno of a refusal, else 0."""
        if self.kind not in (NLMSG_ERROR, NLMSG_DONE) or len(self.data) < HEADER.size + _STATUS.size:
            return 0
        (status,) = _STATUS.unpack_from(self.data, HEADER.size)
        return int(-status)

    @property
    def last(self) -> bool:
        """Whether it ends a dump."""
        return bool(self.kind == NLMSG_DONE)

    @property
    def interrupted(self) -> bool:
        """Whether things changed while they were dumped."""
        return bool(self.flags & NLM_F_DUMP_INTR)


def split(datagram: bytes) -> Iterator[Packet]:
    """Yield the messages of a datagram; what is cut off at its end is left out."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, flags, _, _ = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > len(datagram):
            return
        yield Packet(kind, flags, datagram[offset : offset + length])
        offset += length + 3 & ~3


def attributes(data: bytes, offset: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of the attributes between two offsets; what is cut off or malformed ends the list."""
    end = len(data) if end is None else end
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > end:
            return
        yield kind & _ATTRIBUTE_TYPE, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3
