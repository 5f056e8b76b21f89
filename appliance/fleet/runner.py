"""Lets an exchange live in an event loop: its datagrams, and its clock."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Sequence

from appliance.fleet.orders import Order, Send
from appliance.fleet.records import Record
from appliance.fleet.session import Exchange
from appliance.fleet.socket import FleetSocket
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet

LEAST = 0.0005
"""Seconds until `due` is called again, at least, so that all else has its turn."""


class Runner:
    """The exchange hears and says what there is, and `obey` gets every order that is not to send. It must not raise."""

    def __init__(
        self, fleet: Fleet, exchange: Exchange, loop: AbstractEventLoop, obey: Callable[[Order], None]
    ) -> None:
        self.exchange = exchange
        self._loop, self._obey = loop, obey
        self._timer: TimerHandle | None = None
        self._fleet = fleet
        self.socket = FleetSocket(fleet, loop, self._take, self._schedule)

    def start(self) -> None:
        """Begin. Raises OSError that says what an operator can do."""
        self.socket.open()
        self._schedule()

    def configure(self, fleet: Fleet) -> None:
        """Go on with another configuration. Raises OSError that says what an operator can do; then it is as before."""
        before, self._fleet = self._fleet, fleet
        if _places(fleet) != _places(before):
            former = self.socket
            former.close()  # both may want the same port
            self.socket = FleetSocket(fleet, self._loop, self._take, self._schedule)
            self.socket.errors = former.errors
            try:
                self.socket.open()
            except OSError:
                self._fleet, self.socket = before, former
                former.open()
                raise
        self.act(self.exchange.configure(fleet, self._loop.time()))

    def publish(self, records: Sequence[Record]) -> None:
        """Tell all members."""
        self.act(self.exchange.publish(records, self._loop.time()))

    def act(self, orders: Sequence[Order]) -> None:
        """Do what a method of the exchange has returned, whoever has called it."""
        self._do(orders)
        self._schedule()

    def stop(self) -> None:
        """Say goodbye, and end."""
        self._do(self.exchange.leave(self._loop.time()))
        self.close()

    def close(self) -> None:
        """End without a word."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.socket.close()

    def _take(self, data: bytes, source: Endpoint) -> None:
        self._do(self.exchange.received(data, source, self._loop.time()))

    def _due(self) -> None:
        self._timer = None
        self._do(self.exchange.due(self._loop.time()))
        self._schedule()

    def _do(self, orders: Sequence[Order]) -> None:
        for order in orders:
            if isinstance(order, Send):
                self.socket.send(order.data, order.to)
            else:
                self._obey(order)

    def _schedule(self) -> None:
        at = max(self.exchange.deadline(), self._loop.time() + LEAST)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._due)


def _places(fleet: Fleet) -> tuple[object, ...]:
    """Return what the sockets are made of."""
    return fleet.peers, fleet.group, fleet.source, fleet.port
