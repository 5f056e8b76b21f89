"""Two speakers and a network between them, without a socket and without a clock: everything happens when it is told to.

pair = Pair(left, right)
pair.run(until=5.0)                 everything that happens until then, in order
pair.left.session.state             one end
pair.cut()                          what is on its way is lost, and both ends of all connections break
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from itertools import count

from appliance.model_address import Address
from appliance.model_bgp import Peer
from appliance.routing.bgp.agreement import Local
from appliance.routing.bgp.connection import Close, Dial, Send
from appliance.routing.bgp.session import News, Session
from appliance.routing.route import Routes

LEFT, RIGHT = ip_address("192.0.2.1"), ip_address("192.0.2.2")
LATENCY = 0.01
ROOM = 65536


def peer(address: Address, **more: object) -> Peer:
    """Return a peer of AS 65001, or of `local_as`."""
    return Peer(address, **{"local_as": 65001, **more})  # type: ignore[arg-type]


@dataclass
class End:
    """One speaker. `links` has the other end's serial of each connection that is open, by ours."""

    session: Session
    address: Address
    routes: Routes = field(default_factory=dict)
    links: dict[int, int] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)
    """Everything that was received."""
    deaf: bool = False
    """Nothing that is sent to it arrives, and nobody notices."""


class Pair:
    """Both, and the time that passes for them."""

    def __init__(
        self, left: Peer, right: Peer, *, seed: int = 1, ids: tuple[str, str] = ("1.1.1.1", "2.2.2.2")
    ) -> None:
        """`left` is what the left one is configured to (so it has the address of the right one)."""
        self.random = random.Random(seed)
        self.now = 1000.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        made = (Local(left, IPv4Address(ids[0])), Local(right, IPv4Address(ids[1])))
        sessions = [Session(local, self.random.random, self.now) for local in made]
        self.left, self.right = End(sessions[0], LEFT), End(sessions[1], RIGHT)
        self.refuses = False
        """Whether nobody listens."""
        self.lateness = 0.0
        """Seconds by which what is on its way is late, at most; each connection keeps its own order."""
        self._last: dict[tuple[int, int], float] = {}

    def start(self) -> None:
        """Have both want a session."""
        for end in (self.left, self.right):
            end.session.start(self.now)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self._act()
            due = [one.session.deadline for one in (self.left, self.right)]
            due += [one[0] for one in self._events[:1]]
            at = min((one for one in due if one is not None), default=None)
            if at is None or at > end:
                break
            self.now = max(self.now, at)
            if self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            else:
                for one in (self.left, self.right):
                    one.session.tick(self.now)
        self.now = end

    def cut(self) -> None:
        """Break all connections."""
        self._events.clear()
        for end in (self.left, self.right):
            links, end.links = end.links, {}
            for serial in links:
                end.session.closed(serial, "cut", self.now)

    def _later(self, work: Callable[[], None], way: tuple[int, int] = (0, 0)) -> None:
        at = max(self.now + LATENCY + self.lateness * self.random.random(), self._last.get(way, 0.0))
        if way != (0, 0):
            self._last[way] = at
        heapq.heappush(self._events, (at, next(self._order), work))

    def _act(self) -> None:
        busy = True
        while busy:
            busy = False
            for end, other in ((self.left, self.right), (self.right, self.left)):
                session = end.session
                orders, session.orders[:] = session.orders[:], []
                for order in orders:
                    self._obey(end, other, order)
                news, session.news[:] = session.news[:], []
                for one in news:
                    end.news.append(one)
                    if one.ending is None:
                        session.want(end.routes)
                serving = session.serving
                if serving is not None and (data := session.supply(serving.serial, ROOM)):
                    self._send(end, other, serving.serial, data)
                    busy = True
                busy = busy or bool(orders or news)

    def tell(self, end: End) -> None:
        """Have an end tell the routes that it has by now."""
        end.session.want(end.routes)

    def _obey(self, end: End, other: End, order: Dial | Send | Close) -> None:
        match order:
            case Dial(serial):
                self._later(lambda: self._connect(end, other, serial))
            case Send(serial, data):
                self._send(end, other, serial, data)
            case Close(serial):
                theirs = end.links.pop(serial, None)
                if theirs is not None:
                    self._later(lambda: self._close(other, theirs), (id(other), theirs))

    def _connect(self, end: End, other: End, serial: int) -> None:
        if serial not in end.session.connections:
            return
        theirs = None if self.refuses else other.session.accepted(other.address, self.now)
        if theirs is None:
            end.session.closed(serial, "refused", self.now)
            return
        end.links[serial], other.links[theirs] = theirs, serial
        if self.lateness:
            self._later(lambda: end.session.opened(serial, end.address, self.now), (id(end), serial))
        else:
            end.session.opened(serial, end.address, self.now)

    def _send(self, end: End, other: End, serial: int, data: bytes) -> None:
        theirs = end.links.get(serial)
        if theirs is None:
            return

        def arrive() -> None:
            if not other.deaf:
                other.heard += data
                for start in range(0, len(data), cut):
                    other.session.received(theirs, data[start : start + cut], self.now)

        cut = self.random.choice((1, 7, 19, 100, 5000))
        self._later(arrive, (id(other), theirs))

    def _close(self, end: End, serial: int) -> None:
        if end.links.pop(serial, None) is not None:
            end.session.closed(serial, "the peer closed", self.now)
