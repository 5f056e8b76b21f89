"""How several balancers that announce the same VIPs tell each other what they know. Frozen, and free of IO."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from appliance.model_address import Address, Endpoint

FLEET_PORT = 9876
"""The UDP port of the exchange unless `port` says otherwise."""
LEAST_KEY = 16
"""Octets of secret text that a key has at least."""


class LastAnnouncer(StrEnum):
    """What becomes of the route to a VIP that goes down while no other node announces it."""

    WITHDRAW = "withdraw"
    KEEP = "keep"
    """It stays as a last resort, so that the VIP is never without a route."""


@dataclass(frozen=True)
class Fleet:
    """With whom this node exchanges what it knows, and how. Ports are 1..65535."""

    keys: tuple[bytes, ...] = field(repr=False)
    """The first signs, all are accepted; each has at least LEAST_KEY octets."""
    peers: tuple[Endpoint, ...] = ()
    """Nodes that are sent a copy each; own addresses among them are ignored, so that one file fits all nodes."""
    group: Endpoint | None = None
    """The multicast group that is sent one copy for all."""
    source: Address | None = None
    """The local address of the exchange, for peers and a group of its family; None: as routes say."""
    port: int = FLEET_PORT
    """The local UDP port, and that of peers who name none."""
    rate: int = 4_000_000
    """Octets a second that are sent at most."""
    quorum: bool = False
    """Whether a backend is down only once most nodes say so."""
