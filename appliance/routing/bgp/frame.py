"""What every BGP message begins with (RFC 4271 section 4.1). Pure."""

from __future__ import annotations

import struct
from enum import IntEnum

MARKER = b"\xff" * 16
HEADER = len(MARKER) + 3
"""Bytes of a header: the marker, the length of the whole message (two octets, big-endian) and its type."""
MAX_MESSAGE = 4096
"""Bytes of a message, header and all; longer ones (RFC 8654) are not agreed to."""


class Kind(IntEnum):
    """The types of messages."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5

    @property
    def label(self) -> str:
        """Return its name as the documents write it."""
        return self.name.replace("_", "-")


def framed(kind: int, body: bytes) -> bytes:
    """Return a message of one type; raises ValueError for one that is too long."""
    length = HEADER + len(body)
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length} bytes cannot be sent; {MAX_MESSAGE} are allowed")
    return MARKER + struct.pack(">HB", length, kind) + body
