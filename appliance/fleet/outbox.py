"""What leaves the exchange: orders, in their order, and datagrams, with their numbers and seals. Pure."""

from __future__ import annotations

from appliance.fleet.counters import Counters
from appliance.fleet.envelope import Keys, Kind
from appliance.fleet.orders import Order, Send
from appliance.fleet.pacing import Bucket
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet


class Outbox:
    """Collects orders until they are taken."""

    def __init__(self, fleet: Fleet, life: int, now: float) -> None:
        self.life = life
        self.counters = Counters()
        self.bucket = Bucket(fleet.rate, now)
        self._orders: list[Order] = []
        self._sequence = 0
        self.configure(fleet)

    def configure(self, fleet: Fleet) -> None:
        """Sign with another key, send to others, at another rate."""
        self.keys = Keys(fleet.keys)
        self.bucket.retime(fleet.rate)
        self._copies = len(fleet.peers) + (fleet.group is not None)

    def send(self, kind: Kind, body: bytes, to: Endpoint | None) -> int:
        """Send a datagram; `to` None: to all. It is sealed now, so that its number is greater than all before.

        Returns the number.
        """
        self._sequence += 1
        data = self.keys.seal(self.life, self._sequence, kind, body)
        copies = self._copies if to is None else 1
        for _ in range(copies):
            self.bucket.spend(len(data))
        self.counters.sent[kind] += copies
        self.counters.sent_octets += len(data) * copies
        self._orders.append(Send(data, to))
        return self._sequence

    def order(self, order: Order) -> None:
        """Want something done, after all before."""
        self._orders.append(order)

    def taken(self) -> list[Order]:
        """Return what is to be done; it is not wanted any more afterwards."""
        orders, self._orders = self._orders, []
        return orders
