"""What is told of kept descriptors while the program lives: a file in memory, which somebody else holds open as well.

A program may be killed while it writes, so there are two places, written by turns. Each begins with the number of the
writing, the length of the text and its checksum; whoever reads takes the later one of those that are whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable

from appliance.control.heritage import Bequest, Heritage, decode, encode
from appliance.errors import HostError

PLACE = 1 << 20
"""Bytes of a place; only those that are written take memory."""
HEADER = struct.Struct("=QII")


class Ledger:
    """One file in memory. It is this program's to close."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Go on with the one that a former program left, or make one."""
        self.descriptor = os.memfd_create("vc5-kept") if descriptor is None else descriptor
        self._number = max((number for number, _ in _whole(self.descriptor)), default=0)

    def write(self, entries: Iterable[Bequest]) -> None:
        """Replace what is told. Raises HostError where that is too much, with everything as it was."""
        text = encode(Heritage("", tuple(entries)))
        if len(text) > PLACE - HEADER.size:
            raise HostError(f"{len(text)} bytes of state are too much to keep; there is room for {PLACE - HEADER.size}")
        number = self._number + 1
        os.pwrite(self.descriptor, HEADER.pack(number, len(text), zlib.crc32(text)) + text, number % 2 * PLACE)
        self._number = number


def read(descriptor: int) -> Heritage:
    """Return what was last told; nothing where no place is whole. The descriptor stays open. Raises nothing."""
    found = max(_whole(descriptor), default=None)
    return decode(found[1]) if found is not None else Heritage("", notes=("what was kept is not told",))


def _whole(descriptor: int) -> list[tuple[int, bytes]]:
    found = []
    for place in (0, PLACE):
        try:
            content = os.pread(descriptor, PLACE, place)
        except OSError:
            continue
        if len(content) < HEADER.size:
            continue
        number, length, checksum = HEADER.unpack_from(content)
        text = content[HEADER.size :][:length]
        if number and len(text) == length and zlib.crc32(text) == checksum:
            found.append((number, text))
    return found
