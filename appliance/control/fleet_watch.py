"""How it stands with the fleet: who is there, who was, in what nodes differ, and what the exchange has counted.

The answers are fleet_face.py's; what differs is found out in fleet_differences.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.control.fleet_account import Account, awaited, others, own
from appliance.control.fleet_differences import LISTED, Differences, Side, ranges
from appliance.control.misroutes import Cause
from appliance.fleet.difference import Ranges
from appliance.fleet.envelope import key_id
from appliance.fleet.members import Member, SyncState
from appliance.fleet.naming import Named
from appliance.fleet.orders import Why
from appliance.fleet.records import NodeState, TableOf
from appliance.fleet.status import FleetStatus, Traffic
from appliance.model import Address, Event, ServiceKey
from appliance.telemetry.fleet import Alarms, fleet_numbers, gone, joined, synced

if TYPE_CHECKING:
    from appliance.control.fleet import FleetNode

PATIENCE = 3.0
"""Seconds that another node has to tell its table, for `vc5 fleet SERVICE`."""


class FleetWatch:
    """What a node of a fleet knows of it, for people."""

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._daemon = node.daemon
        self._differences = Differences()
        self._alarms = Alarms()
        self._account = Account()
        self._waiting: dict[tuple[int, ServiceKey], list[asyncio.Future[TableOf | None]]] = {}

    # ---- what happens

    def joined(self, member: Member) -> None:
        """Tell that a node is there."""
        self._account.joined(member)
        if member.facts.state is not NodeState.LEARNING:
            self._account.asked(time.monotonic())
        self._record(joined(member, time.time()))
        if not self._node.joining:  # else it is this one that has come
            self._daemon.measuring.misrouting.happened(Cause.ROUTER, f"{member.name} joined the fleet")

    def gone(self, member: Member, why: Why) -> None:
        """Tell that a node is not there any more."""
        self._account.gone(member, why, time.time())
        self._record(gone(member, why, time.time()))
        self._daemon.measuring.misrouting.happened(Cause.ROUTER, f"{member.name} left the fleet")

    def synced(self, member: Member) -> None:
        """Tell that all is learnt that a node knows."""
        self._account.synced(time.monotonic())
        self._record(synced(member, time.time(), self._account.sync_seconds))

    def told(self, member: Member, service: ServiceKey, table: TableOf | None) -> bool:
        """Give a table to those who asked for it here; returns whether anybody did."""
        waiting = self._waiting.pop((member.life, service), [])
        for one in waiting:
            if not one.done():
                one.set_result(table)
        return bool(waiting)

    def look(self, now: float) -> None:
        """Every second."""
        runner, wall = self._node.runner, time.time()
        if runner is None:
            return
        counters = runner.exchange.counters
        self._account.look(counters, now)
        self._account.slots_told = self._node.slots.slots
        self._differences.look(self._side(), self._sides(), now)
        refused = {str(reason): count for reason, count in counters.dropped.items()}
        for event in self._alarms.look(refused, self._differences.lasting(now), now, wall):
            self._record(event)

    def _record(self, event: Event) -> None:
        self._daemon.record(
            event.kind,
            event.message,
            peer=event.peer,
            outcome=event.outcome,
            reason=event.reason,
            severity=event.severity,
            details=event.details,
        )

    # ---- how it stands

    def status(self, service: ServiceKey | None = None, most: int | None = None) -> FleetStatus:
        """Return how it stands (fleet_face.py)."""
        node, fleet, now, wall = self._node, self._daemon.instance.state.config.fleet, time.monotonic(), time.time()
        listed, more = self._differences.told(now, wall, service, LISTED if most is None else most)
        routing = self._daemon.routing
        members = node.runner.exchange.members if node.runner is not None else {}
        facts, since = node.voice.hello(), round(wall - (now - self._daemon.started), 3)
        found = FleetStatus(
            node=own(facts, node.runner.exchange.life if node.runner is not None else 0, since),
            members=others(members, facts, now, wall),
            absent=self._account.absent(wall),
            unheard=self._account.unheard(node.peers),
            keys=tuple(key_id(key) for key in fleet.keys) if fleet is not None else (),
            group=fleet.group if fleet is not None else None,
            peers=fleet.peers if fleet is not None else (),
            trouble=node.trouble,
            learning=round(routing.standing(now).learning, 3),
            traffic=self._account.traffic(node.runner.exchange.counters) if node.runner is not None else Traffic(),
            differences=listed,
            more_differences=more,
            lasting=self._differences.lasting(now),
        )
        return replace(found, waiting_for=self._waits(members.values(), found.labels))

    def numbers(self) -> dict[str, object]:
        """Return what is counted, by the names of telemetry/metrics.py."""
        return fleet_numbers(self.status(most=0) if self._node.runner is not None else None)

    def _waits(self, members: Iterable[Member], called: Mapping[Named, str]) -> tuple[str, ...]:
        if self._node.voice.doing is not NodeState.LEARNING:
            return ()
        return awaited(members, called)

    # ---- in what nodes differ

    def _side(self) -> Side:
        node = self._node
        said: dict[ServiceKey, dict[Address, tuple[str, ...]]] = {}
        for (key, address), words in node.voice.overrides().items():
            said.setdefault(key, {})[address] = tuple(words.split(", "))
        assert node.runner is not None
        return Side(
            node.runner.exchange.life,
            node.voice.hello(),
            node.told.tables,
            node.told.whole,
            overrides=said,
        )

    def _sides(self) -> list[Side]:
        return [
            Side(
                one.member.life,
                one.member.facts,
                one.tables,
                one.member.view,
                one.member.address,
                synced=one.member.sync is SyncState.DONE,
                overrides=one.overrides,
            )
            for one in self._node.others
        ]

    async def ranges(self, service: ServiceKey) -> tuple[Ranges, ...]:
        """Ask all others for their table of a service, and compare it with this node's."""
        node = self._node
        if node.runner is None:
            return ()
        members = list(node.runner.exchange.members.values())
        futures = []
        for member in members:
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault((member.life, service), []).append(future)
            futures.append(future)
            node.ask_table(member.life, service)
        await asyncio.wait(futures, timeout=PATIENCE) if futures else None
        mine, found = node.voice.table(service), []
        for member, future in zip(members, futures, strict=True):
            theirs = future.result() if future.done() else None
            found.append(ranges(member.name, member.address, mine, theirs, answered=future.done()))
            future.cancel()
        return tuple(found)
