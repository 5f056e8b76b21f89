"""From the status of routing to the numbers of a snapshot, by the names of metrics.py without their prefix. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.routing.status import Direction, PeerStatus, RoutingStatus, SessionState
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
