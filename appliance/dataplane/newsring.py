"""The ring in which the program tells of remembered flows, read by the daemon, which tells the fleet."""

from __future__ import annotations

import struct

from appliance.dataplane.aside import NEWS
from appliance.dataplane.enums import NewsFlag
from appliance.dataplane.flowshare import News
from appliance.dataplane.kernel import Map, Ring

_NEWS = struct.Struct("=QIIII")
assert _NEWS.size == NEWS.size


class NewsRing:
    """The news of one generation (`generation.maps["vc5_news"]`). There is one reader at a time.

    Generations whose rings have the same size share one, as they do other tables, so nothing is lost when programs
    swap; and what a daemon that died did not take is there for the next one.
    """

    def __init__(self, ring: Map) -> None:
        """Raises KernelError."""
        self._ring = Ring(ring)

    def fileno(self) -> int:
        """The descriptor for epoll; it is readable while there is news."""
        return self._ring.fileno()

    def take(self, most: int) -> list[News]:
        """The next news, `most` at most, in the order in which they happened on each CPU."""
        return [_news(record) for record in self._ring.take(most)]

    def close(self) -> None:
        """Let go of the ring."""
        self._ring.close()


def _news(record: bytes) -> News:
    name, destination, slot, expiry, flags = _NEWS.unpack(record[: _NEWS.size])
    candidate, opened = bool(flags & NewsFlag.CANDIDATE), bool(flags & NewsFlag.OPENED)
    return News(name, destination, slot, expiry, candidate=candidate, opened=opened)
