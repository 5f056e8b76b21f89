"""What the daemon tells its meter of misroutes: the program's counters, and which events may break connections."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control.misroutes import EARLY, Cause
from appliance.control.misrouting import Misrouting
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.model import EventKind
from tests.unit.control.sample import WEB

SHAPE = Shape(cpus=2, services=128, destinations=1024, slots=1 << 14, sets=1024)


class Counting:
    """As much of a daemon as is read: a program's counters in plain memory, and whether slots are tracked."""

    def __init__(self) -> None:
        self.memory, self.tracked = Memory.plain(SHAPE), 1
        tables = SimpleNamespace(tracked=lambda: {WEB: self.tracked})
        self.data: Any = SimpleNamespace(generation=SimpleNamespace(memory=self.memory), tables=tables)
        self.misrouting = Misrouting(cast(Any, SimpleNamespace(instance=SimpleNamespace(data=self.data))))
        self.now = time.monotonic()
        self.look()

    def add(self, **counts: int) -> None:
        """Let the program count."""
        for name, count in counts.items():
            self.memory.add_reason(Reason[name.upper()], count)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1
            self.misrouting.look(self.now)

    def settled(self) -> dict[str, Any]:
        """What the meter says once it has decided."""
        self.look(round(EARLY) + 1)
        return self.misrouting.meter.as_json()


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_what_the_program_counts(counting: Counting) -> None:
    for way in range(100):
        counting.memory.flows[way] = 1
    counting.look()
    counting.misrouting.happened(Cause.ROUTER, "n1 left the fleet")
    counting.add(tracked_unknown=4, tracked_hit=100, tracked_old=50, tracked_new=10, remembered=1000, forward=1000)
    told = counting.settled()
    (one,) = told["happenings"]
    assert (told["total"], one["cause"], one["text"]) == (4, "router", "n1 left the fleet")
    assert one["share_of_packets"] == 4 / 160, "packets of tracked slots, however they were answered"
    assert one["share_of_flows"] == 4 / 100
    assert abs(one["at"] - time.time()) < 3600, "for people"


def test_while_nothing_is_tracked_the_table_of_flows_is_not_looked_at(counting: Counting) -> None:
    counting.memory.flows[0] = 1
    counting.tracked = 0
    counting.look()
    counting.misrouting.happened(Cause.RESTART, "started")
    counting.add(tracked_unknown=1)
    (one,) = counting.settled()["happenings"]
    assert one["share_of_flows"] is None


def test_flows_that_found_no_room_are_a_cause(counting: Counting) -> None:
    counting.add(refused=2)
    counting.look()
    counting.add(tracked_unknown=1)
    (one,) = counting.settled()["happenings"]
    assert (one["cause"], one["text"]) == ("refused", "no room for 2 flows")


@pytest.mark.parametrize("missing", ["generation", "tables"])
def test_without_a_program_there_is_nothing_to_read(counting: Counting, missing: str) -> None:
    setattr(counting.data, missing, None)
    counting.look()
    assert counting.settled()["total"] == 0


# An event of the log, and what is said beside it -> what later connections are put down to, in which words
RECORDED: list[tuple[EventKind, dict[str, Any], str, str]] = [
    (EventKind.BGP, {"peer": "10.1.0.1", "outcome": "down"}, "router", "10.1.0.1 why"),
    (EventKind.BACKEND, {"service": WEB, "backend": "10.1.10.11"}, "pool", f"{WEB} 10.1.10.11 why"),
    (EventKind.RELOAD, {"outcome": "ok"}, "pool", "why"),
    (EventKind.DAEMON, {"outcome": "started"}, "restart", "why"),
    (EventKind.BACKEND, {"service": WEB, "backend": None}, "idle", ""),
    (EventKind.DAEMON, {}, "idle", ""),
    (EventKind.ALARM, {"backend": "10.1.10.11"}, "idle", ""),
]


@pytest.mark.parametrize(("kind", "more", "cause", "text"), RECORDED)
def test_events_of_the_log_are_happenings(
    counting: Counting, kind: EventKind, more: dict[str, Any], cause: str, text: str
) -> None:
    counting.misrouting.recorded(kind, "why", more)
    counting.add(tracked_unknown=3)
    told = counting.settled()
    assert told["causes"] == dict.fromkeys(told["causes"], 0) | {cause: 3}
    assert [one["text"] for one in told["happenings"]] == [text] * (cause != "idle")
