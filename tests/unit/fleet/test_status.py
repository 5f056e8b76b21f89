"""What is told of a fleet: that it is as described, that no secret is in it, and what there is an event for."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from appliance.fleet.envelope import Drop, key_id
from appliance.fleet.members import Member
from appliance.fleet.orders import Why
from appliance.fleet.records import Facts, NodeState
from appliance.fleet.status import FleetStatus
from appliance.model import Event, EventKind, Severity
from appliance.telemetry.documents import Documents, read
from appliance.telemetry.fleet import BULK, MINUTE, Alarms, gone, joined, synced
from tests.lab.described import problems
from tests.unit.fleet.fleets import ALIKE, ALONE, HOSTILE, MANY, RANGES, TROUBLED, WELL, where

EVERY = {"alone": ALONE, "well": WELL, "troubled": TROUBLED, "many": MANY, "alike": ALIKE}


@pytest.mark.parametrize("status", EVERY.values(), ids=EVERY)
def test_what_is_told_is_as_described(status: FleetStatus) -> None:
    assert problems("Fleet", json.loads(json.dumps(status.as_json()))) == []


def test_only_who_asks_for_a_service_gets_its_ranges() -> None:
    assert "ranges" not in TROUBLED.as_json()
    told = json.loads(json.dumps(TROUBLED.as_json(RANGES)))
    assert [(one["node"], one["differing"], one["answered"]) for one in told["ranges"][:2]] == [
        ("lb2", 34, True),
        (HOSTILE, 0, True),
    ]
    assert told["ranges"][0]["pairs"][0] == {
        "here": "10.1.1.5",
        "there": "10.1.1.6",
        "slots": 19,
        "ranges": [[0, 17], [40, 40]],
    }


def test_all_is_well_when_nobody_is_missing_and_nothing_lasts() -> None:
    assert [status.well for status in EVERY.values()] == [True, True, False, False, False]


def test_a_key_is_told_by_its_id() -> None:
    key = b"a secret of the fleet"
    told = json.dumps(FleetStatus(WELL.node, keys=(key_id(key),)).as_json())
    assert key_id(key).hex() in told
    assert "secret" not in told


MEMBER = Member(7, where(2), Facts(HOSTILE, "0.1.0", NodeState.READY), 10.0, 20.0)
EVENTS: dict[str, tuple[Event, str, str, Severity]] = {
    "joined": (joined(MEMBER, 5.0), "joined", "(10.1.1.2:9876) is there, version 0.1.0", Severity.NOTICE),
    "silent": (gone(MEMBER, Why.SILENT, 5.0), "gone", "is gone: it has fallen silent", Severity.WARNING),
    "left": (gone(MEMBER, Why.LEFT, 5.0), "gone", "is gone: it has said goodbye", Severity.NOTICE),
    "restarted": (gone(MEMBER, Why.RESTARTED, 5.0), "gone", "its successor has come", Severity.NOTICE),
    "synced": (synced(MEMBER, 5.0, 0.42), "synced", "knows is learnt, in 0.42 s", Severity.INFORMATIONAL),
}


@pytest.mark.parametrize(("event", "outcome", "words", "severity"), EVENTS.values(), ids=EVENTS)
def test_events_name_the_node(event: Event, outcome: str, words: str, severity: Severity) -> None:
    assert (event.kind, event.outcome, event.grave) == (EventKind.FLEET, outcome, severity)
    assert event.peer == IPv4Address("10.1.1.2")
    assert words in event.message
    record = Documents("run").event(event, 1)
    assert b"\x1b" not in record
    document: dict[str, Any] = json.loads(record.splitlines()[1])
    assert document["vc5"]["fleet"] == {"node": HOSTILE, "version": "0.1.0", "state": "ready"}
    assert read(document)["details"] == {"node": HOSTILE, "version": "0.1.0", "state": "ready"}


def test_refusals_in_bulk_are_an_alarm_that_begins_and_ends() -> None:
    alarms, told = Alarms(), []

    def look(second: int, **refused: int) -> list[tuple[str, str]]:
        events = list(alarms.look(refused, 0, float(second), 1e9 + second))
        told.extend(events)
        return [(event.outcome, str((event.details or {})["reason"])) for event in events]

    assert look(0, key=1000, own=0) == [], "what was before this daemon looked is nobody's alarm"
    assert look(1, key=1000 + BULK - 1, own=10 * BULK) == []
    assert look(2, key=1000 + BULK, own=20 * BULK) == [("began", "fleet refuses: key")]
    assert look(30, key=1000 + 3 * BULK, forged=2 * BULK) == [("began", "fleet refuses: forged")]
    assert look(31 + int(MINUTE), key=1000 + 4 * BULK, forged=2 * BULK) == [("over", "fleet refuses: forged")]
    assert look(32 + 2 * int(MINUTE), key=1000 + 4 * BULK, forged=2 * BULK) == [("over", "fleet refuses: key")]
    assert all(event.kind is EventKind.ALARM for event in told)
    assert "made with a key that is not configured here" in told[0].message
    assert look(33 + 3 * int(MINUTE), **{str(Drop.UNPROVED): 10 * BULK}) == []


def test_nodes_that_differ_are_an_alarm_too() -> None:
    alarms = Alarms()
    outcomes = [[event.outcome for event in alarms.look({}, lasting, 1.0, 1.0)] for lasting in (0, 3, 4, 0, 0)]
    assert outcomes == [[], ["began"], [], ["over"], []]
