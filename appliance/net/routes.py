"""The routes of the main table that leave by the watched interfaces, put together message by message. Pure.

The kernel's messages are about routes, of which several may share prefix and metric; a route may have several ways
(multipath). What leaves by other interfaces is not kept, and of the rest no more than `MOST` ways, since a host may
hold a full BGP table: default routes always, of the others those that were told of first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

from appliance.model import Address, Network, Route

MOST = 10_000
"""Ways kept; some 600 bytes each."""

Key = tuple[bytes, int, int]
"""Destination in network byte order, prefix length in bits, metric."""


@dataclass(frozen=True)
class Way:
    """One next hop. `gateway` is packed, empty where the destination is on the link.

    Not `usable`: its link is down, or it needs an encapsulation (MPLS, SRv6).
    """

    interface: int
    gateway: bytes = b""
    usable: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class Path:
    """One route of the kernel: its ways; the id of its nexthop object, 0 if it has none.

    An IPv6 route with a gateway, unless it was learned from router advertisements, is a `sibling` of the others of its
    prefix and metric: together they are what one replacement replaces.
    """

    ways: tuple[Way, ...]
    nexthop: int = field(default=0, compare=False)
    sibling: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class RouteNews:
    """Paths that are there now, beside the others of their key or instead of them (`replaces`); or that are `gone`."""

    key: Key
    paths: tuple[Path, ...]
    replaces: bool = False
    gone: bool = False


@dataclass(frozen=True)
class NexthopNews:
    """A nexthop object changed, or is gone."""

    id: int


@dataclass(frozen=True)
class _Entry:
    paths: tuple[Path, ...]
    routes: tuple[Route, ...]


class RouteTable:
    """The routes by `watched` interface indices."""

    def __init__(self, watched: Collection[int] = (), most: int = MOST) -> None:
        self.watched = frozenset(watched)
        self.stale = False
        """Whether something happened after which only asking for all routes tells how they are."""
        self.doubtful = False
        """Whether a replacement may have hit another route than is thought here; it most often has not."""
        self.left_out = 0
        """How many paths were not taken because there are too many."""
        self.nexthops: dict[int, int] = {}
        """How many entries use which nexthop object."""
        self._most = most
        self._kept = 0
        self._entries: dict[Key, _Entry] = {}
        self._sorted: tuple[Route, ...] | None = ()

    @property
    def size(self) -> int:
        """How many ways through these interfaces there are, about, those left out included."""
        return self._kept + self.left_out

    @property
    def full(self) -> bool:
        """Whether only default routes are taken any more."""
        return self._kept >= self._most

    def routes(self) -> tuple[Route, ...]:
        """Return them by family, prefix and metric; the same object as long as nothing has changed."""
        if self._sorted is None:
            keys = sorted(self._entries, key=lambda key: (len(key[0]), key))
            self._sorted = tuple(route for key in keys for route in self._entries[key].routes)
        return self._sorted

    def watch(self, watched: Collection[int]) -> None:
        """Name the interfaces anew; the routes of those that went are forgotten."""
        before, self.watched = self.watched, frozenset(watched)
        if before == self.watched:
            return
        for key, entry in list(self._entries.items()):
            self._put(key, entry.paths)

    def take(self, news: RouteNews) -> None:
        """Take a message in."""
        entry = self._entries.get(news.key)
        known = entry.paths if entry is not None else ()
        if news.gone:
            left = tuple(path for path in known if path not in news.paths)
            if left != known:
                self._put(news.key, left)
            elif self.left_out and self._concerns(news.paths):
                self.left_out -= 1
            if self.left_out and self._kept < self._most - self._most // 10:
                self.stale = True  # there is room for some of those
            return
        kept = tuple(path for path in known if path not in news.paths)
        if news.replaces:
            kept = self._beside(kept, known, news.paths)
        if known or self._concerns(news.paths):
            self._put(news.key, (*kept, *news.paths))

    def leave_out(self) -> None:
        """Count a path that was not even read, the table being full."""
        self.left_out += 1

    def touch(self, news: NexthopNews) -> None:
        """Take in that a nexthop object changed: IPv4 routes go with it in silence (remove_nexthop in nexthop.c)."""
        self.stale = self.stale or news.id in self.nexthops

    def _beside(self, kept: tuple[Path, ...], known: tuple[Path, ...], new: tuple[Path, ...]) -> tuple[Path, ...]:
        """Return which of the kept ones a replacement leaves (fib_table_insert, fib6_add_rt2node).

        The kernel replaces the first in its order, which is not known here, and may be one by another interface. That
        matters only to those who `append` routes of equal prefix and metric.
        """
        if any(path.sibling for path in new) and any(path.sibling for path in known):
            return tuple(path for path in kept if not path.sibling)
        self.doubtful = self.doubtful or bool(known)
        return kept if len(known) > 1 else ()

    def _concerns(self, paths: Collection[Path]) -> bool:
        for path in paths:  # plain loops, for this is asked of every route of the host
            for way in path.ways:
                if way.interface in self.watched:
                    return True
        return False

    def _put(self, key: Key, paths: tuple[Path, ...]) -> None:
        """Set what there is of a key."""
        before = self._entries.pop(key, None)
        if before is not None:
            self._kept -= _count(before.paths)
            self._use(before.paths, -1)
        if len(paths) > 1 or not self._concerns(paths):
            paths = tuple(path for path in paths if self._concerns((path,)))
        routes: tuple[Route, ...] = ()
        if paths and before is None and self.full and key[1]:
            self.left_out += len(paths)
        elif paths:
            routes = _routes(key, paths, self.watched)
            self._entries[key] = _Entry(paths, routes)
            self._kept += _count(paths)
            self._use(paths, 1)
        if routes != (before.routes if before is not None else ()):
            self._sorted = None

    def _use(self, paths: Collection[Path], by: int) -> None:
        for path in paths:
            if path.nexthop:
                count = self.nexthops.pop(path.nexthop, 0) + by
                if count > 0:
                    self.nexthops[path.nexthop] = count


def _count(paths: Collection[Path]) -> int:
    return sum([len(path.ways) for path in paths])


def _routes(key: Key, paths: Collection[Path], watched: Collection[int]) -> tuple[Route, ...]:
    """Return the usable ways through watched interfaces as routes of their own, each once, by interface and gateway."""
    destination, length, metric = key
    ways = [way for path in paths for way in path.ways if way.usable and way.interface in watched]
    if len(ways) > 1:
        ways = sorted(set(ways), key=lambda way: (way.interface, len(way.gateway), way.gateway))
    prefix = _network(destination, length)
    return tuple([Route(prefix, _gateway(way.gateway), way.interface, metric) for way in ways])


@lru_cache(maxsize=1024)
def _gateway(packed: bytes) -> Address | None:
    if not packed:
        return None
    return ipaddress.IPv4Address(packed) if len(packed) == 4 else ipaddress.IPv6Address(packed)


def _network(packed: bytes, length: int) -> Network:
    if len(packed) == 4:
        return ipaddress.IPv4Network((packed, length), strict=False)
    return ipaddress.IPv6Network((packed, length), strict=False)
