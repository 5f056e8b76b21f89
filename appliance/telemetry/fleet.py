"""What is told of the fleet: numbers for metrics, and events. Pure.

Events of kind fleet have the address of the node as `peer`, and one of these as `outcome`: `joined`, `gone` (`reason`
says why) and `synced`, when all that a node knows has been learnt. That datagrams are refused in bulk, and that nodes
differ, are alarms, which begin and are over. A node's name is its own word: text that anybody with the key chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.fleet.envelope import DROPS, Drop
from appliance.fleet.members import Member
from appliance.fleet.orders import Why
from appliance.fleet.status import FleetStatus, NodeStatus
from appliance.model import Event, EventKind, Severity

BULK = 100
"""Datagrams refused for one reason within a minute from which on it is an alarm."""
MINUTE = 60.0
EXPECTED = frozenset({Drop.OWN, Drop.UNPROVED})
"""What is refused where all is well: multicast brings back what was sent, and a node that starts is not known yet."""
WHY = {
    Why.SILENT: "it has fallen silent",
    Why.LEFT: "it has said goodbye",
    Why.RESTARTED: "its successor has come",
}


def fleet_numbers(status: FleetStatus | None) -> dict[str, Any]:
    """Return what there is to count; nothing at all where no fleet is configured."""
    if status is None:
        return {}
    traffic = status.traffic
    ways = {"sent": traffic.sent, "received": traffic.received}
    return {
        "fleet_members": len(status.members),
        "fleet_missing": status.missing,
        "fleet_differences": status.lasting,
        "fleet_learning": int(bool(status.waiting_for)),
        "fleet_heard_seconds": _each(status.members, lambda one: one.heard),
        "fleet_datagrams_total": {way: flow.datagrams for way, flow in ways.items()},
        "fleet_bytes_total": {way: flow.octets for way, flow in ways.items()},
        "fleet_records_total": {way: flow.records for way, flow in ways.items()},
        "fleet_refused_total": dict(traffic.refused),
        "fleet_lost_total": traffic.lost,
        "fleet_repeated_total": traffic.repeated,
        "fleet_shed_flows_total": traffic.shed,
        "fleet_resyncs_total": traffic.resyncs,
        "fleet_told_slots_total": traffic.tracked_slots,
        "fleet_sync_seconds": traffic.sync_seconds,
    }


def _each(nodes: tuple[NodeStatus, ...], value: Any) -> dict[str, dict[str, Any]]:
    """Return a number of each node, by its name and its address: names may be the same."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        found.setdefault(node.name, {})[str(node.address)] = value(node)
    return found


def fleet_details(member: Member) -> dict[str, Any]:
    """Return the details of an event of kind fleet, by the names of the fields vc5.fleet.* (fields.py)."""
    facts = member.facts
    return {"node": facts.name, "version": facts.version, "state": facts.state.name.lower()}


def joined(member: Member, at: float) -> Event:
    """A node has come; `at` is wall-clock seconds, here and below."""
    return _event(member, at, "joined", f"{_who(member)} is there, version {member.facts.version}", Severity.NOTICE)


def gone(member: Member, why: Why, at: float) -> Event:
    """A node is not there any more."""
    severity = Severity.WARNING if why is Why.SILENT else Severity.NOTICE
    return _event(member, at, "gone", f"{_who(member)} is gone: {WHY[why]}", severity, WHY[why])


def synced(member: Member, at: float, seconds: float | None) -> Event:
    """All that a node knows has been learnt, in so many seconds where that is known."""
    took = "" if seconds is None else f", in {seconds:.2f} s"
    return _event(member, at, "synced", f"all that {_who(member)} knows is learnt{took}", Severity.INFORMATIONAL)


def _who(member: Member) -> str:
    return f"{member.name} ({member.address})"


def _event(member: Member, at: float, outcome: str, message: str, severity: Severity, reason: str = "") -> Event:
    return Event(
        at,
        EventKind.FLEET,
        message,
        peer=member.address.address,
        outcome=outcome,
        reason=reason,
        severity=severity,
        details=fleet_details(member),
    )


@dataclass
class Alarms:
    """What is refused in bulk, and whether nodes differ: each is told when it begins, and when it is over."""

    _begun: dict[Drop, tuple[float, int]] = field(default_factory=dict)
    """When counting of each reason began, and at what."""
    _bulk: set[Drop] = field(default_factory=set)
    _differ: bool = False

    def look(self, refused: Mapping[str, int], lasting: int, now: float, at: float) -> Iterator[Event]:
        """Yield what is to be told; to be called every second with the counters. `now` is monotonic seconds."""
        if bool(lasting) is not self._differ:
            self._differ = bool(lasting)
            words = "nodes of the fleet do not answer alike; `vc5 fleet` says in what they differ, and why"
            yield _alarm(at, "fleet differs", words, begins=self._differ)
        for reason in Drop:
            count = refused.get(reason, 0)
            since, was = self._begun.setdefault(reason, (now, count))
            much = count - was >= BULK
            if reason in EXPECTED or not (much or now - since >= MINUTE):
                continue
            self._begun[reason] = now, count
            if much is not (reason in self._bulk):
                self._bulk ^= {reason}
                words = f"datagrams of the fleet's exchange are refused: {DROPS[reason]}"
                yield _alarm(at, f"fleet refuses: {reason}", words, begins=much)


def _alarm(at: float, name: str, words: str, *, begins: bool) -> Event:
    text = words if begins else f"over: {words}"
    outcome = "began" if begins else "over"
    return Event(at, EventKind.ALARM, text, outcome=outcome, details={"reason": name})
