"""The daemon's way out of service: watches traffic ebb, has routes withdrawn and the program detached (departure.py).

Level-triggered: routes and links follow from the stage that is in force, so a daemon that was killed in between, or
another version, goes on where this one was. A stop with `leave` goes the same way, and nobody remembers that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from appliance.control import departure
from appliance.control.departure import UNWATCHED, Departure, Meter, Stage
from appliance.dataplane.enums import Reason
from appliance.model import EventKind
from appliance.routing.status import Drained

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

IDLE = 5.0
"""Seconds between two looks at the counters while nobody leaves."""
BEFORE, NOW = 10.0, 2.0
"""Over how many seconds a rate is taken: before somebody leaves, and while somebody does."""
SYSTEMD = 90.0
"""For how long systemd is asked to wait on, each second of a stop that waits."""
OF_VIPS = (
    *(Reason.UNKNOWN_PORT, Reason.PROTOCOL, Reason.ICMP_TYPE, Reason.ICMP_ERROR, Reason.ECHO, Reason.ECHO_VIP_DOWN),
    *(
        Reason.FRAGMENT,
        Reason.TTL,
        Reason.NO_BACKEND,
        Reason.DEAD,
        Reason.RESET,
        Reason.UNRESOLVED,
        Reason.NO_INTERFACE,
    ),
    *(Reason.NO_ROOM, Reason.TOO_BIG, Reason.TOO_BIG_LIMITED, Reason.NO_ROUTE),
)
"""The reasons by which packets to VIPs leave that are not forwarded, and so counted by their destination."""
TOLD = {
    Stage.WITHDRAWN: "routes are withdrawn; what still comes is forwarded",
    Stage.DETACHED: "nothing has come any more, and the program is detached from the interfaces",
}


@dataclass(frozen=True)
class Stop:
    """A stop that waits for traffic to ebb."""

    departure: Departure
    by: float
    """When it waits no longer, monotonic seconds."""


class Departing:
    """How far a daemon's node has gone."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._before, self._now = Meter(BEFORE), Meter(NOW)
        self._watch = UNWATCHED
        self._looked = 0.0
        self._stop: Stop | None = None
        self._returning = False
        daemon.measuring.sources.append(self.numbers)

    @property
    def current(self) -> Departure | None:
        """What is in force: what an operator said, or a stop's; None: the node stays."""
        said = self._daemon.instance.state.overrides.node
        return said if self._stop is None else self._stop.departure

    def left(self) -> float | None:
        """Return how many seconds a stop waits on at most; None: no stop waits."""
        return None if self._stop is None else max(0.0, self._stop.by - time.monotonic())

    @property
    def withdrawn(self) -> bool:
        """Whether routers are to have no routes; also until the program is back on every interface."""
        found = self.current
        return self._returning or (found is not None and found.withdrawn)

    def rate(self) -> float | None:
        """Return how many packets to VIPs came in a second, lately; None while that is not known."""
        return self._now.rate() if self.current is not None else self._before.rate()

    def resume(self) -> None:
        """Begin with what is remembered, before anything is attached."""
        found = self.current
        self._daemon.instance.links.away = found is not None and found.detached

    def began(self) -> float | None:
        """Return the packets a second up to now, for who begins to leave; looks at the counters."""
        now = time.monotonic()
        count = self._count()
        self._before.look(now, count)
        self._now = Meter(NOW)
        self._now.look(now, count)
        self._watch = UNWATCHED
        return self._before.rate()

    def returned(self) -> None:
        """Take everything back: the interfaces first, and routes once the program is on them."""
        links = self._daemon.instance.links
        self._before, self._returning = Meter(BEFORE), links.away
        if links.away:
            links.come_back()
            self._daemon.upkeep.keep()
            self._attached()

    def asked_to_stop(self) -> None:
        """Stop; the first time once the traffic has ebbed, where that is to be waited for."""
        if not self._leave():
            self._daemon.remove()

    def _leave(self) -> bool:
        daemon, config = self._daemon, self._daemon.instance.state.config
        found = self.current
        if self._stop is not None or not config.leave or not config.bgp.peers or daemon.routing.speaker is None:
            return False
        if found is not None and found.detached:
            return False
        made = Departure("a stop (leave)", round(time.time(), 3), first=self.began()) if found is None else found
        self._stop = Stop(replace(made, until=None), time.monotonic() + config.leave)
        daemon.notifier.stopping()
        self._ask_for_time()
        daemon.record(EventKind.DAEMON, f"stops, and waits {config.leave:g} s at most for its traffic to ebb")
        daemon.recorder.flush_soon()
        daemon.routing.look(time.monotonic())
        return True

    def look(self, now: float) -> None:
        """Do what is due; once a second, and more often while interfaces wait for their turn."""
        if self._returning:
            self._attached()
        found = self.current
        if found is None:
            if now - self._looked >= IDLE:
                self._looked = now
                self._before.look(now, self._count())
            return
        if now - self._looked < 1.0:
            return
        self._looked = now
        self._now.look(now, self._count())
        overdue = found.until is not None and time.time() >= found.until
        made, self._watch = departure.step(found, self._watch, self._now.rate(), now=now, overdue=overdue)
        if made != found:
            self._become(made, found)
        if self._stop is not None:
            self._ask_for_time()
            if made.detached or now >= self._stop.by:
                self._daemon.remove()

    def _become(self, made: Departure, before: Departure) -> None:
        daemon, state = self._daemon, self._daemon.instance.state
        if self._stop is not None:
            self._stop = replace(self._stop, departure=made)
        else:
            state.overrides = replace(state.overrides, node=made)
            daemon.keep()
        if made.stage is before.stage:
            return
        rate, kind = self._now.rate() or 0.0, EventKind.DAEMON if self._stop else EventKind.OPERATOR
        daemon.record(kind, f"the whole node is drained: {TOLD[made.stage]} ({rate:.0f} packets/s)")
        daemon.recorder.flush_soon()
        daemon.routing.look(time.monotonic())
        if made.detached and self._stop is None:
            daemon.instance.links.away = True
            daemon.upkeep.keep()
        daemon.tell_summary()

    def _attached(self) -> None:
        if self._returning and not self._daemon.instance.links.waiting:
            self._returning = False
            self._daemon.routing.look(time.monotonic())

    def _ask_for_time(self) -> None:
        self._daemon.notifier.extend(SYSTEMD)
        self._daemon.tell_summary()

    def _count(self) -> int:
        """Return how many packets to VIPs there were."""
        data = self._daemon.instance.data
        if data.generation is None or data.tables is None:
            return 0
        memory = data.generation.memory
        entries = [entry for key in data.tables.tracked() if (entry := data.tables.entry(key))]
        forwarded = sum(memory.packets(entry.destinations, entry.capacity) for entry in entries)
        return forwarded + sum(memory.reason(reason) for reason in OF_VIPS)

    def told(self) -> Drained | None:
        """Return how it stands, for a status; None where the node stays."""
        found = self.current
        if found is None:
            return None
        until = found.until
        if self._stop is not None:
            until = round(time.time() + self._stop.by - time.monotonic(), 3)
        return Drained(
            found.who,
            found.since,
            str(found.stage),
            self.rate(),
            found.first,
            found.ceiling,
            until,
        )

    def numbers(self) -> Mapping[str, Any]:
        """Return what is measured, by the names of telemetry/metrics.py."""
        found = self.current
        return {
            "node_drained": int(found is not None),
            "node_withdrawn": int(self.withdrawn),
            "node_detached": int(self._daemon.instance.links.away),
        }
