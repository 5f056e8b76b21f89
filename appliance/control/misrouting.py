"""The daemon's ear for connections that it should know and does not: counters each second, and what happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance.control.misroutes import Cause, Misroutes, Reading, cause_of
from appliance.dataplane.enums import Reason
from appliance.model import EventKind

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon


class Misrouting:
    """Reads and asks; what it means is found in misroutes.py."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.meter = Misroutes()

    def look(self, now: float) -> None:
        """Every second: take the counters."""
        data = self._daemon.instance.data
        if data.generation is None or data.tables is None:
            return
        memory = data.generation.memory
        tracked = data.tables.tracked()
        reading = Reading(
            unknown=memory.reason(Reason.TRACKED_UNKNOWN),
            first=memory.reason(Reason.TRACKED_FIRST),
            refused=memory.reason(Reason.REFUSED),
            packets=memory.reason(Reason.TRACKED_HIT)
            + memory.reason(Reason.TRACKED_OLD)
            + memory.reason(Reason.TRACKED_NEW),
            flows=memory.flows_used() if any(tracked.values()) else 0,
            tracked=sum(tracked.values()),
        )
        self.meter.count(reading, now, time.time())

    def happened(self, cause: Cause, text: str) -> None:
        """Take note of something that may break connections, and is no event of the log."""
        self.meter.happened(cause, text, time.monotonic(), time.time())

    def recorded(self, kind: EventKind, message: str, more: Mapping[str, Any]) -> None:
        """Take an event of the log."""
        cause = cause_of(kind, str(more.get("outcome") or ""), backend=more.get("backend") is not None)
        if cause is not None:
            about = [str(more[name]) for name in ("peer", "service", "backend") if more.get(name)]
            self.happened(cause, " ".join([*about, message]))
