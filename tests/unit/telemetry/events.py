"""Events to fill a log store with."""

from __future__ import annotations

import ipaddress

from appliance.model import Event, EventKind, ServiceKey

SHOP = ServiceKey.parse("203.0.113.10:443/tcp")
DNS = ServiceKey.parse("[2001:db8::53]:53/udp")
FIRST = ipaddress.ip_address("10.1.10.11")
SECOND = ipaddress.ip_address("10.1.10.12")


def event(number: int, message: str = "an event") -> Event:
    """Return the event of second `number`."""
    return Event(float(number), EventKind.DAEMON, message)


STORY = (
    Event(100.0, EventKind.DAEMON, "started"),
    Event(101.0, EventKind.PROBE, "HTTP 200", SHOP, FIRST, outcome="ok", details={"total_ns": 1_200_000}),
    Event(102.0, EventKind.PROBE, "Connection refused", SHOP, SECOND, outcome="no-answer"),
    Event(103.0, EventKind.BACKEND, "is dead: Connection refused", SHOP, SECOND),
    Event(104.0, EventKind.PROBE, "HTTP 503", DNS, SECOND, outcome="wrong-answer"),
    Event(105.0, EventKind.OPERATOR, "drained by uid 0", SHOP, FIRST),
    Event(106.0, EventKind.PROBE, "HTTP 200", SHOP, FIRST, outcome="ok"),
)
