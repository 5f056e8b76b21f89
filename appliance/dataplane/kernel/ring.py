"""The reader's end of a BPF ring buffer (Documentation/bpf/ringbuf.rst): records as a program put them there, in order.

Both positions lie in pages of the ring itself, so what was not taken when a process died is there for the next one.
"""

from __future__ import annotations

import errno
import mmap

from appliance.dataplane.kernel.map import Map, fence
from appliance.dataplane.spec import MapKind
from appliance.errors import KernelError

_BUSY = 1 << 31
"""BPF_RINGBUF_BUSY_BIT: the program has not finished writing it."""
_DISCARD = 1 << 30
_HEADER = 8
"""BPF_RINGBUF_HDR_SZ: length and flags, and an offset that only the kernel needs."""


class Ring:
    """One reader of a ring; two would take each other's records. `fileno` becomes readable when there are any."""

    def __init__(self, ring: Map) -> None:
        """Keeps a descriptor of its own. Raises KernelError where the map is no ring or cannot be mapped."""
        spec = ring.spec()
        if spec.kind is not MapKind.RINGBUF:
            raise KernelError("read", ring.label, errno.EINVAL, "it is no ring buffer")
        self._map, self._size = ring.duplicate(), spec.max_entries
        fd, page = self._map.fd, mmap.PAGESIZE
        try:
            # The reader's position, then the writer's; the data follow, mapped twice so that no record is cut in two.
            reader = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            writer = mmap.mmap(fd, page + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        except OSError as error:
            self._map.close()
            raise KernelError("map into memory", ring.label, error.errno or errno.EINVAL) from error
        self._position = memoryview(reader)[:8].cast("Q")
        self._end = memoryview(writer)[:8].cast("Q")
        self._data = memoryview(writer)[page:]
        self._lengths = self._data.cast("I")

    def fileno(self) -> int:
        """The descriptor for epoll."""
        return self._map.fd

    def waiting(self) -> int:
        """Bytes that have been written and not been taken."""
        return self._end[0] - self._position[0]

    def take(self, most: int) -> list[bytes]:
        """Take the next records, `most` at most. The program may go on writing meanwhile."""
        position, end, found = self._position[0], self._end[0], list[bytes]()
        fence()  # the position says that the lengths are there
        while position < end and len(found) < most:
            at = position & (self._size - 1)
            word = self._lengths[at // 4]
            if word & _BUSY:
                break
            fence()  # and the length that the record is
            length = word & (_DISCARD - 1)
            if not word & _DISCARD:
                found.append(bytes(self._data[at + _HEADER : at + _HEADER + length]))
            position += (length + _HEADER + 7) & ~7
        fence()
        self._position[0] = position
        return found

    def close(self) -> None:
        """Give the descriptor back; what is left in the ring stays there. May be repeated."""
        self._map.close()
