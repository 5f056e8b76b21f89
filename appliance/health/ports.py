"""Which source port a probe uses.

Theory of operation. Probes go to private addresses, one for each (service, backend), and the data plane rewrites them
to (own address, source port) -> (VIP, port): many destinations become one. Two probes of different backends that shared
a source port would be one flow on the way back, and a live backend's answer would vouch for a dead one. So there is one
pool for each (VIP, port, protocol), across backends and services, and a port belongs to one outstanding probe. Where
addresses are translated, probes of several services may arrive at one port of one backend: there the pool is that of
the backend's own address and port.

A port that was given back rests: an answer may still be on its way, and the backend may remember the connection
(TIME_WAIT). The pool hands out ports in ascending order, round and round, which makes the rest as long as the range
allows; a block of ports is not entered again before `REST` seconds have passed since its last use. If that leaves
nothing, the pool says so: the probe waits and is counted, it never fails.

A half-open probe leaves no connection behind, and knows its answer by a number that no other probe has (syn.py). So its
port rests for a shorter time, HALF_OPEN_REST: a thousand services that check one port of one VIP have tens of thousands
of probes to send at the start, and a long rest would make the last of them wait for seconds.

Probes by half-open SYN have a range of their own: the kernel must own no socket there, or it would answer the SYN-ACK
with something else than RST (a socket in TIME_WAIT answers with ACK, and the backend keeps the connection).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

SOCKET_PORTS = range(16384, 49152)
"""Source ports of probes that use a socket of the kernel."""
DRILL_PORTS = range(8192, 16384)
"""Source ports of a drill's flows, which the daemon chooses (control/drilling.py): no probe has one of these."""
RAW_PORTS = range(49152, 65536)
"""Source ports of half-open probes (IANA's dynamic range, RFC 6335 section 6)."""
Destination = tuple[str, int, int, bool]
"""VIP (or backend), port and protocol number as they are on the wire, and whether its probes are half open."""
BLOCK = 256
"""Ports that rest together."""
REST = 5.0
"""Seconds between a port's release and its next use, at least."""
HALF_OPEN_REST = 1.0
"""The same for half-open probes: time for the RST to reach the backend."""


class PortPool:
    """The source ports of one (VIP, port, protocol). `ports` starts and ends at a multiple of BLOCK.

    `random`, in [0, 1), picks where the pool starts, so that a restarted prober does not begin with the ports that its
    predecessor's late answers are addressed to.
    """

    def __init__(self, ports: range, random: float, rest: float = REST) -> None:
        self._ports = ports
        self._rest = rest
        self._cursor = int(random * (len(ports) // BLOCK)) * BLOCK
        self._used: set[int] = set()
        self._left = [-inf] * (len(ports) // BLOCK)
        """When each block was last used, in seconds."""
        self._fresh: set[int] = set()
        """Ports given back since the present block was entered: this round passes them over."""

    @property
    def outstanding(self) -> int:
        """Ports that are in use."""
        return len(self._used)

    def take(self, now: float) -> int | None:
        """Return a port that no outstanding probe of this pool has, or None if all are in use or resting."""
        for _ in range(len(self._ports)):
            block, place = divmod(self._cursor, BLOCK)
            if place == 0:
                if now - self._left[block] < self._rest:
                    return None
                self._fresh.clear()
            port = self._ports[self._cursor]
            self._cursor = (self._cursor + 1) % len(self._ports)
            if port not in self._used and port not in self._fresh:
                self._used.add(port)
                self._left[block] = now
                return port
        return None

    def give_back(self, port: int, now: float) -> None:
        """End the use of a port."""
        self._used.discard(port)
        self._fresh.add(port)
        self._left[(port - self._ports.start) // BLOCK] = now

    def rested(self, now: float) -> bool:
        """Return whether no port is in use or resting, so that the pool may be forgotten."""
        return not self._used and now - max(self._left) >= self._rest


class Ports:
    """The pools of all destinations, each made when it is first used."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._pools: dict[Destination, PortPool] = {}

    def pool(self, destination: Destination) -> PortPool:
        """Return the pool of one destination."""
        pool = self._pools.get(destination)
        if pool is None:
            ports, rest = (RAW_PORTS, HALF_OPEN_REST) if destination[3] else (SOCKET_PORTS, REST)
            pool = self._pools[destination] = PortPool(ports, self._random(), rest)
        return pool

    def forget_idle(self, keep: frozenset[Destination], now: float) -> None:
        """Drop the pools of destinations that are probed no more and whose ports have all rested."""
        self._pools = {
            destination: pool
            for destination, pool in self._pools.items()
            if destination in keep or not pool.rested(now)
        }
