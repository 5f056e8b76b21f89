"""How a node of a fleet begins to answer, and comes to have tables like those of the others.

It fills its first tables when the others have told what theirs are like, holds them against theirs, and announces then.
Later it asks for a table that is another one than its own for longer than a moment, and has as many slots for each
service as the node that has most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from appliance.control.trouble import some
from appliance.errors import Vc5Error
from appliance.fleet.members import Member
from appliance.fleet.records import NodeState
from appliance.model import EventKind, Health, ServiceKey

if TYPE_CHECKING:
    from appliance.control.fleet import FleetNode

ASKED = 5.0
"""Seconds after which a node is asked again for a table that is another one than ours."""
DIFFERENT = 1.5
"""Seconds for which it has to be another one before a node that has learnt asks for it."""


class FleetTables:
    """Where a node stands with the tables of the others."""

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._daemon = node.daemon
        self._asked: dict[tuple[int, ServiceKey], float] = {}
        self._differs: dict[tuple[int, ServiceKey], float] = {}
        self.open: set[tuple[int, ServiceKey]] = set()
        """The tables that were asked for and have not come yet."""

    def gone(self, member: Member) -> None:
        """Forget a node."""
        for known in (self._asked, self._differs):
            for place in [place for place in known if place[0] == member.life]:
                del known[place]
        self.open = {place for place in self.open if place[0] != member.life}

    def look(self, now: float) -> None:
        """Fill the first tables when the others have told what theirs are like; announce when ours have been compared.

        Without an exchange, or alone, that is when `learn` is over.
        """
        instance, routing = self._daemon.instance, self._daemon.routing
        synced = self._node.runner is not None and self._node.runner.exchange.learnt
        if instance.openings.closed:
            if synced or not routing.learning or instance.state.config.fleet is None:
                instance.openings.fleet_slots = self._slot_counts()
                instance.openings.closed = False
                self._daemon.plan_soon()
        elif self._node.runner is not None and routing.learning and synced and self._verdicts_are_in():
            self.compare(now)
            if not self.open and not self._node.slots.waiting:
                routing.learned(now)
                self._node.runner.act(self._node.runner.exchange.announce(now))

    def _verdicts_are_in(self) -> bool:
        """Whether there is a verdict on every backend that is to get flows, and the plan that follows."""
        instance = self._daemon.instance
        plan = instance.current
        if plan is None or plan.left or instance.openings.since:
            return False
        return not any(
            backend.enabled and instance.verdict(service.key, backend.address) is Health.UNKNOWN
            for service in plan.ordered
            for backend in service.backends
        )

    def _blank(self, key: ServiceKey) -> bool:
        """Whether a service has no table yet that could differ."""
        tables = self._daemon.instance.data.tables
        slots = tables.slots(key) if tables is not None else None
        return slots is None or slots.blank

    def _slot_counts(self) -> Mapping[ServiceKey, int]:
        """How many slots each service should have: as the others say, else as this node had before it was stopped."""
        return {**self._daemon.instance.openings.fleet_slots, **self._node.others.slot_counts()}

    def grow(self, now: float) -> None:
        """Have as many slots for each service as the node that has most."""
        instance = self._daemon.instance
        told, tables = self._slot_counts(), instance.data.tables
        if told == instance.openings.fleet_slots or tables is None:
            return
        instance.openings.fleet_slots = told
        entries = ((key, tables.entry(key)) for key in told)
        fewer = [key for key, entry in entries if entry is not None and entry.slot_count < told[key]]
        if fewer:
            self._daemon.go_on(self._resize(fewer))

    async def _resize(self, services: Sequence[ServiceKey]) -> None:
        daemon = self._daemon
        async with daemon.reloading:
            names = some(services)
            try:
                await daemon.reconfigure(daemon.instance.state.config)
            except Vc5Error as error:
                text = f"fleet: other nodes have more slots, and this one cannot follow, for {names}: {error}"
                daemon.record(EventKind.ALARM, text)
                return
        text = f"fleet: has as many slots as the other nodes now, for {names}; older flows are answered as before"
        daemon.record(EventKind.DAEMON, text)

    def compare(self, now: float) -> None:
        """Ask for tables that are other ones than ours: at once while this node learns, else where it lasts."""
        assert self._node.runner is not None
        mine, wait = self._node.told.tables, 0.0 if self._node.joining else DIFFERENT
        for other in self._node.others:
            if other.member.facts.state not in (NodeState.READY, NodeState.DRAINING):
                continue
            for key, table in other.tables.items():
                own, place = mine.get(key), (other.member.life, key)
                alike = own is None or own.slot_count != table.slot_count or own.slots == table.slots
                if alike or self._blank(key):
                    self._differs.pop(place, None)
                    continue
                since = self._differs.setdefault(place, now)
                if now - since >= wait and now - self._asked.get(place, -ASKED) >= ASKED:
                    self._asked[place] = now
                    self.open.add(place)
                    self._node.ask_table(*place)
