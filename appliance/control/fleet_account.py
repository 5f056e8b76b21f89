"""What there is to tell of the exchange beside what it keeps: who was there, how fast it goes, what it cost. Pure.

`now` is monotonic seconds, `wall` the same moment by the wall clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from appliance.control.fleet_digests import differing
from appliance.fleet.counters import Counters
from appliance.fleet.members import MEMBERS, Member, SyncState
from appliance.fleet.naming import Named
from appliance.fleet.orders import Why
from appliance.fleet.records import Facts, NodeState
from appliance.fleet.status import Absent, Flow, NodeStatus, Traffic
from appliance.model_address import Endpoint

OVER = 10.0
"""Seconds over which bytes by the second are told."""
FORGOTTEN = 86_400.0
"""Seconds after which a node that was there and is not is none of the fleet any more."""


class _Look(NamedTuple):
    at: float
    sent: int
    received: int


class Account:
    """The exchange over time."""

    def __init__(self) -> None:
        self._absent: dict[tuple[str, Endpoint], Absent] = {}
        self._heard: set[Endpoint] = set()
        self._looks: deque[_Look] = deque()
        self._asked_at: float | None = None
        self.sync_seconds: float | None = None
        """How long the last learning of a whole state took; None: there was none."""
        self.slots_told = 0
        """Tracked slots that were told to others, each time they were."""

    # ---- who was there

    def joined(self, member: Member) -> None:
        """A node has come."""
        self._absent.pop((member.name, member.address), None)
        self._heard.add(member.address)

    def gone(self, member: Member, why: Why, wall: float) -> None:
        """A node is not there any more; a successor in its place is no loss."""
        if why is not Why.RESTARTED:
            self._absent[member.name, member.address] = Absent(member.name, member.address, wall, why)
        while len(self._absent) > MEMBERS:
            del self._absent[min(self._absent, key=lambda one: self._absent[one].since)]

    def absent(self, wall: float) -> tuple[Absent, ...]:
        """Return who was there within the last day, the latest first."""
        self._absent = {one: found for one, found in self._absent.items() if wall - found.since < FORGOTTEN}
        return tuple(sorted(self._absent.values(), key=lambda one: -one.since))

    def unheard(self, peers: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Return the configured peers that have never been heard."""
        return tuple(one for one in peers if one not in self._heard)

    # ---- how fast it goes

    def look(self, counters: Counters, now: float) -> None:
        """Take note of counters, every second."""
        self._looks.append(_Look(now, counters.sent_octets, counters.heard_octets))
        while len(self._looks) > 2 and now - self._looks[1].at >= OVER:
            self._looks.popleft()

    def asked(self, now: float) -> None:
        """A member is asked for everything."""
        self._asked_at = now if self._asked_at is None else self._asked_at

    def synced(self, now: float) -> None:
        """What it knows has come whole."""
        if self._asked_at is not None:
            self.sync_seconds, self._asked_at = now - self._asked_at, None

    def traffic(self, counters: Counters) -> Traffic:
        """Return what the exchange has counted."""
        sent, received = self._rates()
        return Traffic(
            sent=Flow(sum(counters.sent.values()), counters.sent_octets, sent, counters.published),
            received=Flow(sum(counters.heard.values()), counters.heard_octets, received, counters.learnt),
            refused={str(reason): count for reason, count in counters.dropped.items()},
            unknown=counters.unknown,
            lost=counters.lost,
            repeated=counters.repeated,
            too_old=counters.too_old,
            shed=counters.shed,
            resyncs=counters.resyncs,
            syncs=counters.syncs,
            served=counters.served,
            tracked_slots=self.slots_told,
            sync_seconds=self.sync_seconds,
        )

    def _rates(self) -> tuple[float, float]:
        if len(self._looks) < 2:
            return 0.0, 0.0
        first, last = self._looks[0], self._looks[-1]
        seconds = last.at - first.at
        if seconds <= 0:
            return 0.0, 0.0
        # Never less than nothing: an exchange that was begun anew counts from zero.
        rates = (max(0, last.sent - first.sent) / seconds, max(0, last.received - first.received) / seconds)
        return round(rates[0], 1), round(rates[1], 1)


def own(facts: Facts, life: int, since: float) -> NodeStatus:
    """Return this node as the others see it; `since` is when it was started, by the wall clock."""
    return _node(facts, NodeStatus(facts.name, None, facts.state, since, facts.version, life, own=True))


def others(members: Mapping[int, Member], mine: Facts, now: float, wall: float) -> tuple[NodeStatus, ...]:
    """Return the others that are there, by name and address."""
    found = []
    for life, member in members.items():
        facts, since = member.facts, round(wall - (now - member.joined_at), 3)
        status = NodeStatus(
            name=facts.name,
            address=member.address,
            state=facts.state,
            since=since,
            version=facts.version,
            life=life,
            heard=round(max(0.0, now - member.heard_at), 3),
            lost=member.losses,
            resyncs=member.resyncs,
            behind=max(0, member.told - member.taken),
            sync=member.sync,
            differs=any(differing(mine, facts)),
        )
        found.append(_node(facts, status))
    return tuple(sorted(found, key=lambda one: (one.name, str(one.address), one.life)))


def awaited(members: Iterable[Member], called: Mapping[Named, str]) -> tuple[str, ...]:
    """Return what a node that learns waits for, in words; `called` is what to call the others (naming.py)."""
    ready = [one for one in members if one.facts.state in (NodeState.READY, NodeState.DRAINING)]
    if not ready:
        return ("a node that has learnt",)
    missing = tuple(f"what {called[one.name, one.address]} knows" for one in ready if one.sync is not SyncState.DONE)
    return missing or ("the first verdicts of the checks",)


def _node(facts: Facts, status: NodeStatus) -> NodeStatus:
    """Return it with what the node says of itself."""
    return replace(
        status,
        configuration=facts.configuration,
        tables=facts.tables,
        health=facts.health,
        tracked_slots=facts.tracked_slots,
        flows=facts.flows,
        packets=facts.packets,
        isolated=facts.isolated,
    )
