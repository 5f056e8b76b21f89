"""What there is to say of routing at one moment: who fills it in, who shows it and who counts share this. Pure.

`as_json` is the member `bgp` of the status and the answer to request `bgp`; its names are contracts. Moments (`at`,
`since`) are wall-clock seconds, all other times are spans in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.model_address import Address
from appliance.routing.route import Attributes


class SessionState(StrEnum):
    """The states of RFC 4271 section 8.2.2, and that of a peer to which nothing is attempted."""

    IDLE = "idle"
    CONNECT = "connect"
    ACTIVE = "active"
    OPEN_SENT = "open-sent"
    OPEN_CONFIRM = "open-confirm"
    ESTABLISHED = "established"
    STOPPED = "stopped"


class BfdState(StrEnum):
    """The states of RFC 5880 section 6.2."""

    ADMIN_DOWN = "admin-down"
    DOWN = "down"
    INIT = "init"
    UP = "up"


class Direction(StrEnum):
    """Who found fault: we told the peer, the peer told us, or neither, as when a connection breaks."""

    SENT = "sent"
    RECEIVED = "received"
    LOCAL = "local"


@dataclass(frozen=True)
class Messages:
    """Messages in one direction by type (RFC 4271 section 4, RFC 2918), of all sessions since the daemon's start."""

    open: int = 0
    update: int = 0
    notification: int = 0
    keepalive: int = 0
    refresh: int = 0

    def by_type(self) -> dict[str, int]:
        """The numbers by the names of the types."""
        return {
            "open": self.open,
            "update": self.update,
            "notification": self.notification,
            "keepalive": self.keepalive,
            "refresh": self.refresh,
        }


@dataclass(frozen=True)
class Traffic:
    """What went in one direction."""

    messages: Messages = Messages()
    octets: int = 0


@dataclass(frozen=True)
class LastError:
    """Why a session ended or was not made: `code` and `subcode` of a NOTIFICATION, None where there was none.

    `data` are the bytes that it is about: the message that was refused, or what a NOTIFICATION said beside its codes.
    """

    at: float
    direction: Direction
    text: str
    code: int | None = None
    subcode: int | None = None
    data: bytes = b""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "at": self.at,
            "direction": str(self.direction),
            "code": self.code,
            "subcode": self.subcode,
            "text": self.text,
            "hex": self.data.hex(),
        }


@dataclass(frozen=True)
class GracefulRestart:
    """RFC 4724 with this peer: whether we offered it, whether the peer did and for how many seconds it would wait."""

    offered: bool
    peer: bool = False
    time: int = 0
    restarting: bool = False
    """Whether one of the two has restarted, and not everything is told again yet."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {"offered": self.offered, "peer": self.peer, "time": self.time, "restarting": self.restarting}


@dataclass(frozen=True)
class BfdStatus:
    """A session of BFD (RFC 5880): `interval` between the packets that we send, and how long silence may last."""

    state: BfdState
    since: float
    remote_state: BfdState | None = None
    """What the last packet of the peer said; None before one came."""
    diagnostic: str = ""
    """Why the state changed last, in words (RFC 5880 section 4.1); empty for none."""
    interval: float = 0.0
    detection: float = 0.0
    multihop: bool = False
    sent: int = 0
    received: int = 0
    dropped: int = 0
    """Packets in the peer's name that were not taken (RFC 5880 section 6.8.6, RFC 5881 section 5)."""
    flaps: int = 0
    """How often the session was up and went down."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "state": str(self.state),
            "remote_state": None if self.remote_state is None else str(self.remote_state),
            "diagnostic": self.diagnostic,
            "since": self.since,
            "interval": self.interval,
            "detection": self.detection,
            "multihop": self.multihop,
            "packets": {"sent": self.sent, "received": self.received, "dropped": self.dropped},
            "flaps": self.flaps,
        }


@dataclass(frozen=True)
class RouteStatus:
    """What one peer is told of a VIP; `attributes` are None where it is told nothing, and then `why` says why.

    A VIP that is announced as a last resort is told, and has a `why` as well.
    """

    vip: Address
    attributes: Attributes | None = None
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it: the same members for all."""
        found = self.attributes
        return {
            "vip": str(self.vip),
            "told": found is not None,
            "next_hop": str(found.next_hop) if found else None,
            "as_path": list(found.as_path) if found else [],
            "med": found.med if found else None,
            "local_pref": found.local_pref if found else None,
            "communities": [str(community) for community in found.communities] if found else [],
            "why": self.why,
        }


@dataclass(frozen=True)
class PeerStatus:
    """One router. AS numbers are None where they are not known: not configured, and no session yet."""

    address: Address
    state: SessionState
    since: float
    """When it came into this state."""
    local_as: int
    remote_as: int | None = None
    group: str = ""
    remote_router_id: str | None = None
    local_address: Address | None = None
    """Our end of the connection; None without one."""
    passive: bool = False
    families: tuple[str, ...] = ()
    """What the session may carry, of `ipv4` and `ipv6`: as negotiated, before that as offered."""
    hold_time: int = 0
    """Seconds, in force; 0: none. Before a session that which we offer."""
    keepalive: float = 0.0
    """Seconds between two messages."""
    capabilities_sent: tuple[str, ...] = ()
    capabilities_received: tuple[str, ...] = ()
    graceful_restart: GracefulRestart | None = None
    advertised_ipv4: int = 0
    """Routes that the peer has been told."""
    advertised_ipv6: int = 0
    told: tuple[Address, ...] = ()
    """The VIPs of these routes."""
    pending: int = 0
    """Routes that it is still to be told, or told otherwise, or withdrawn."""
    withheld: int = 0
    """VIPs that it is not told."""
    end_of_rib: bool = False
    """Whether the peer was told that this is all (RFC 4724 section 2)."""
    sent: Traffic = Traffic()
    received: Traffic = Traffic()
    sessions: int = 0
    """How often a session was established."""
    attempts: int = 0
    """How often a connection was tried."""
    errors: Mapping[tuple[Direction, int | None], int] = field(default_factory=dict)
    """How many sessions or attempts ended by an error, by direction and code of the NOTIFICATION (None without)."""
    treated_as_withdraw: int = 0
    """Malformed UPDATEs of the peer that cost no session (RFC 7606)."""
    received_routes_ignored: int = 0
    """Routes of the peer; none is ever installed."""
    last_error: LastError | None = None
    """Why the last attempt failed, or the last session ended."""
    last_end: LastError | None = None
    """Why the last session ended that was established; attempts that failed since do not hide it."""
    next_attempt: float | None = None
    """Seconds from now."""
    hold_left: float | None = None
    """Seconds until the session ends, if the peer stays silent."""
    bfd: BfdStatus | None = None
    """None: not configured."""
    routes: tuple[RouteStatus, ...] = ()

    @property
    def advertised(self) -> int:
        """Routes that the peer has been told."""
        return self.advertised_ipv4 + self.advertised_ipv6

    @property
    def ibgp(self) -> bool:
        """Whether both are of the same AS."""
        return self.local_as == self.remote_as

    @property
    def established(self) -> bool:
        """Whether the session is."""
        return self.state is SessionState.ESTABLISHED

    def as_json(self, *, routes: bool = False) -> dict[str, Any]:
        """As JSON carries it."""
        found = {
            "address": str(self.address),
            "group": self.group,
            "state": str(self.state),
            "since": self.since,
            "local_as": self.local_as,
            "remote_as": self.remote_as,
            "remote_router_id": self.remote_router_id,
            "local_address": None if self.local_address is None else str(self.local_address),
            "ibgp": self.ibgp,
            "passive": self.passive,
            "families": list(self.families),
            "hold_time": self.hold_time,
            "keepalive": self.keepalive,
            "capabilities": {"sent": list(self.capabilities_sent), "received": list(self.capabilities_received)},
            "graceful_restart": self.graceful_restart and self.graceful_restart.as_json(),
            "advertised": self.advertised,
            "advertised_by_family": {"ipv4": self.advertised_ipv4, "ipv6": self.advertised_ipv6},
            "adj_rib_out": [str(vip) for vip in self.told],
            "pending": self.pending,
            "withheld": self.withheld,
            "end_of_rib": self.end_of_rib,
            "messages": {"sent": self.sent.messages.by_type(), "received": self.received.messages.by_type()},
            "bytes": {"sent": self.sent.octets, "received": self.received.octets},
            "sessions": self.sessions,
            "attempts": self.attempts,
            "errors": [
                {"direction": str(direction), "code": code, "count": count}
                for (direction, code), count in self.errors.items()
            ],
            "treated_as_withdraw": self.treated_as_withdraw,
            "received_routes_ignored": self.received_routes_ignored,
            "last_error": self.last_error and self.last_error.as_json(),
            "last_end": self.last_end and self.last_end.as_json(),
            "next_attempt": self.next_attempt,
            "hold_left": self.hold_left,
            "bfd": self.bfd and self.bfd.as_json(),
        }
        return found | {"routes": [route.as_json() for route in self.routes]} if routes else found


@dataclass(frozen=True)
class Drained:
    """Who drains the whole node (RFC 8326), since when in wall-clock seconds, and how far that is."""

    who: str
    since: float
    stage: str = "demoted"
    """One of control/departure.py."""
    rate: float | None = None
    """Packets to VIPs a second, lately; None: not known."""
    first: float | None = None
    """What it was when the drain began."""
    ceiling: float | None = None
    """With so many a second or fewer the next stage follows; None: this is the last one."""
    until: float | None = None
    """When routes are withdrawn whatever still comes, or a daemon ends that stops; None: never."""

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "who": self.who,
            "since": self.since,
            "stage": self.stage,
            "packets_per_second": self.rate,
            "packets_per_second_before": self.first,
            "packets_per_second_calm": self.ceiling,
            "until": self.until,
        }


@dataclass(frozen=True)
class RoutingStatus:
    """All of it. `learning` is how many seconds of `learn` are left, 0 when it is over."""

    router_id: str
    peers: tuple[PeerStatus, ...] = ()
    learning: float = 0.0
    listening: bool = False
    drained: Drained | None = None
    """None: this node is not drained."""

    def as_json(self, *, routes: bool = False) -> dict[str, Any]:
        """As JSON carries it; with routes in the answer to a request that wants them, without in the status."""
        return {
            "router_id": self.router_id,
            "learning": self.learning,
            "listening": self.listening,
            "drained": self.drained and self.drained.as_json(),
            "peers": [peer.as_json(routes=routes) for peer in self.peers],
        }
