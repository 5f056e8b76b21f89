"""What is told of routing: numbers for metrics, and details for documents. Pure.

Events of kinds bgp and bfd have the `peer`, and one of these as `outcome`, with the one before as `before`: of bgp
`established` and `down`, `refused` where no session came about, `malformed` where an UPDATE was treated as a withdrawal
(RFC 7606); of bfd `up` and `down`. `reason` says why, in words. What else there is to say is in `details`, made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from appliance.model import Event, EventKind
from appliance.routing.status import BfdStatus, Direction, LastError, PeerStatus, RoutingStatus, SessionState
from appliance.telemetry.metrics import BGP_CODES, NO_CODE


def routing_numbers(status: RoutingStatus) -> dict[str, Any]:
    """Return what there is to count; nothing at all where no router is configured.

    Every series of a peer is there from the start, so that the first event is an increase.
    """
    peers = status.peers
    if not peers:
        return {}
    watched = {str(peer.address): peer.bfd for peer in peers if peer.bfd is not None}

    def each(value: Callable[[PeerStatus], Any]) -> dict[str, Any]:
        return {str(peer.address): value(peer) for peer in peers}

    return {
        "bgp_learning_seconds": status.learning,
        "bgp_session_up": each(lambda peer: int(peer.established)),
        "bgp_session_state": each(lambda peer: {str(state): int(state is peer.state) for state in SessionState}),
        "bgp_advertised_routes": each(lambda peer: {"ipv4": peer.advertised_ipv4, "ipv6": peer.advertised_ipv6}),
        "bgp_pending_routes": each(lambda peer: peer.pending),
        "bgp_withheld_routes": each(lambda peer: peer.withheld),
        "bgp_messages_total": each(
            lambda peer: {"sent": peer.sent.messages.by_type(), "received": peer.received.messages.by_type()}
        ),
        "bgp_bytes_total": each(lambda peer: {"sent": peer.sent.octets, "received": peer.received.octets}),
        "bgp_sessions_total": each(lambda peer: peer.sessions),
        "bgp_attempts_total": each(lambda peer: peer.attempts),
        "bgp_errors_total": each(_errors),
        "bgp_treated_as_withdraw_total": each(lambda peer: peer.treated_as_withdraw),
        "bgp_ignored_routes_total": each(lambda peer: peer.received_routes_ignored),
        "bfd_session_up": {peer: int(bfd.state == "up") for peer, bfd in watched.items()},
        "bfd_packets_total": {peer: {"sent": bfd.sent, "received": bfd.received} for peer, bfd in watched.items()},
        "bfd_dropped_packets_total": {peer: bfd.dropped for peer, bfd in watched.items()},
        "bfd_flaps_total": {peer: bfd.flaps for peer, bfd in watched.items()},
    }


def _errors(peer: PeerStatus) -> dict[str, dict[str, int]]:
    """How many errors there were, by direction and code; those with a code that there is from the start."""
    found = {str(direction): dict.fromkeys(BGP_CODES, 0) for direction in (Direction.SENT, Direction.RECEIVED)}
    found[str(Direction.LOCAL)] = {NO_CODE: 0}
    for (direction, code), count in peer.errors.items():
        found[str(direction)][NO_CODE if code is None else str(code)] = count
    return found


def bgp_details(peer: PeerStatus, error: LastError | None = None, lasted: float | None = None) -> dict[str, Any]:
    """Return the details of an event of kind bgp, by the names of the fields vc5.bgp.* (fields.py).

    `error` is what it came from, `lasted` for how many seconds a session that is over was established.
    """
    told: dict[str, Any] = {
        "state": str(peer.state),
        "group": peer.group,
        "local_as": peer.local_as,
        "remote_as": peer.remote_as,
        "router_id": peer.remote_router_id,
    }
    if error is not None:
        told |= {
            "direction": str(error.direction),
            "code": error.code,
            "subcode": error.subcode,
            "hex": error.data.hex(),
        }
    if lasted is not None:
        told["lasted_ns"] = round(lasted * 1e9)
    return _known(told)


def bfd_details(bfd: BfdStatus) -> dict[str, Any]:
    """Return the details of an event of kind bfd, by the names of the fields vc5.bfd.* (fields.py)."""
    told = {
        "state": str(bfd.state),
        "remote_state": None if bfd.remote_state is None else str(bfd.remote_state),
        "diagnostic": bfd.diagnostic,
        "detection_ns": round(bfd.detection * 1e9),
        "flaps": bfd.flaps,
    }
    return _known(told)


def every_minute(status: RoutingStatus, at: float) -> Iterator[Event]:
    """Yield how it stands with each peer, to be written down once a minute; `at` in wall-clock seconds."""
    for peer in status.peers:
        routes = {"advertised": peer.advertised, "pending": peer.pending, "withheld": peer.withheld}
        details: dict[str, Any] = {"bgp": bgp_details(peer) | {"routes": routes}}
        text = f"{peer.state}, {peer.advertised} routes"
        if peer.bfd is not None:
            details["bfd"] = bfd_details(peer.bfd)
            text += f", BFD {peer.bfd.state}"
        outcome = "established" if peer.established else "down"
        yield Event(at, EventKind.TRAFFIC, text, peer=peer.address, outcome=outcome, details=details)


def _known(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value not in (None, "")}
