"""What happens, as it is written down: kinds, severities, events. Frozen, and free of IO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from appliance.model_address import Address, ServiceKey


class Severity(IntEnum):
    """How grave something is (RFC 5424, 6.2.1)."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6
    DEBUG = 7


class EventKind(StrEnum):
    """What an event is about; the words are part of the log's contract."""

    PROBE = "probe"
    BACKEND = "backend"
    SERVICE = "service"
    VIP = "vip"
    INTERFACE = "interface"
    BGP = "bgp"
    BFD = "bfd"
    FLEET = "fleet"
    DAEMON = "daemon"
    RELOAD = "reload"
    OPERATOR = "operator"
    ALARM = "alarm"
    TRAFFIC = "traffic"
    """What a service carried in the last minute, and how it stood; or how it stood with a router."""


SEVERITY = {
    EventKind.PROBE: Severity.DEBUG,
    EventKind.TRAFFIC: Severity.DEBUG,
    EventKind.BACKEND: Severity.NOTICE,
    EventKind.SERVICE: Severity.NOTICE,
    EventKind.VIP: Severity.ERROR,
    EventKind.INTERFACE: Severity.NOTICE,
    EventKind.BGP: Severity.NOTICE,
    EventKind.BFD: Severity.NOTICE,
    EventKind.FLEET: Severity.NOTICE,
    EventKind.DAEMON: Severity.NOTICE,
    EventKind.RELOAD: Severity.NOTICE,
    EventKind.OPERATOR: Severity.NOTICE,
    EventKind.ALARM: Severity.WARNING,
}
"""How grave an event of a kind is where nothing else is said of it."""


@dataclass(frozen=True)
class Event:
    """Something an operator may ask about later. `at` is wall-clock seconds; `details` is JSON-ready.

    `outcome` is what it came to in a word (`up`, `refused`, `began`), `before` what was so far, `reason` why.
    """

    at: float
    kind: EventKind
    message: str
    service: ServiceKey | None = None
    backend: Address | None = None
    vip: Address | None = None
    interface: str = ""
    peer: Address | None = None
    outcome: str = ""
    before: str = ""
    reason: str = ""
    severity: Severity | None = None
    details: dict[str, Any] | None = None

    @property
    def grave(self) -> Severity:
        """How grave it is: as was said, else as its kind is."""
        return SEVERITY[self.kind] if self.severity is None else self.severity
