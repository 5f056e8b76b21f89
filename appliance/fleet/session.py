"""The exchange with other nodes: datagrams and `now` in, orders out. Pure.

Orders are in the order in which they are to be done. Times are seconds of one clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from appliance.fleet.members import Member
from appliance.fleet.orders import Local, Order
from appliance.fleet.records import Record
from appliance.model_address import Endpoint, ServiceKey
from appliance.model_fleet import Fleet


class Exchange:
    """One node's end of it.

    `fleet.peers` is without the node's own addresses (socket.py knows them). `life` is 64 random bits, never used
    before; `nonce` returns 64 random bits each time.
    """

    def __init__(self, fleet: Fleet, local: Local, life: int, nonce: Callable[[], int], now: float) -> None:
        raise NotImplementedError

    members: Mapping[int, Member]
    """By life."""

    @property
    def learnt(self) -> bool:
        """Whether there are others, and all that are ready have told everything: this node may announce its VIPs."""
        raise NotImplementedError

    def received(self, data: bytes, source: Endpoint, now: float) -> list[Order]:
        """Take a datagram. Never raises; what is not from a member changes nothing but `counters`."""
        raise NotImplementedError

    def due(self, now: float) -> list[Order]:
        """Do what time asks for. May be called too early, and then does nothing."""
        raise NotImplementedError

    def deadline(self) -> float:
        """When to call `due` next; changes with each call of another method."""
        raise NotImplementedError

    def publish(self, records: Sequence[Record], now: float) -> list[Order]:
        """Tell all members, in this order, within milliseconds. Records of any length, e.g. all of 10,000 flows."""
        raise NotImplementedError

    def announce(self, now: float) -> list[Order]:
        """Say at once what `Local.hello` gives now, rather than within a second."""
        raise NotImplementedError

    def ask_table(self, life: int, service: ServiceKey, now: float) -> list[Order]:
        """Ask a member for the slots of a service; a `TableTold` follows, in any case."""
        raise NotImplementedError

    def configure(self, fleet: Fleet, now: float) -> list[Order]:
        """Go on with other keys, peers or another rate; members stay."""
        raise NotImplementedError

    def leave(self, now: float) -> list[Order]:
        """Say goodbye. Afterwards the exchange is over."""
        raise NotImplementedError
