"""A daemon that takes its node out of service: in which order it acts, what it keeps, and what takes that back.

The traffic is numbers, and time is the test's; what routers make of it is in tests/netns/test_bgp_leaving.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control import departing, overriding
from appliance.control.departing import Departing
from appliance.control.departure import STEPS, Departure, Stage
from appliance.control.links import Links
from appliance.control.overrides import Overrides, restored
from appliance.control.socket import Peer, Request
from appliance.control.state import State
from appliance.dataplane.enums import Reason
from appliance.errors import ControlError, HostError, RequestError
from appliance.model_bgp import Bgp
from appliance.model_bgp import Peer as Router
from tests.unit.control.sample import WEB, config

ROUTER = Router(ip_address("10.1.10.252"), 65001)
BUSY, EBBED, CALM = 800.0, 8.0, 5
"""Packets a second before, and those that are calm; and for how many seconds (departure.py)."""
FAR = 3600.0
WALL = 1e9
DEMOTED, WITHDRAWN, DETACHED = Stage
NOT_TO_VIPS = {
    *(Reason.FORWARD, Reason.NOT_IP, Reason.NOT_VIP, Reason.TAGGED, Reason.VIP_SOURCE, Reason.MALFORMED),
    *(Reason.PROBE_ANSWER, Reason.PROBE_SENT, Reason.PROBE_REFUSED, Reason.INCOMPLETE, Reason.QINQ, Reason.UNTAGGED),
    *(Reason.NEIGHBOUR, Reason.RETURN, Reason.BLOCKED),
    *(Reason.TRACKED_HIT, Reason.TRACKED_NEW, Reason.TRACKED_OLD, Reason.TRACKED_UNKNOWN, Reason.TRACKED_FIRST),
    *(Reason.REMEMBERED, Reason.REFUSED, Reason.FRAGMENT_FOLLOWED, Reason.UNTOLD),
}
"""What is forwarded is counted by its destination; from 32 on there are remarks on packets that are counted already."""


class Node:
    """As much of a daemon as its departure concerns; `done` is what it did, in order."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        leave: float = 0.0,
        overrides: Overrides | None = None,
        routers: tuple[Router, ...] = (ROUTER,),
    ) -> None:
        self.now, self.forwarded, self.refused = 1000.0, 0.0, dict.fromkeys(Reason, 0.0)
        self.done: list[str] = []
        self.kept: Overrides | None = None
        self.fails = False
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: WALL + self.now)
        monkeypatch.setattr(departing, "time", clock)
        monkeypatch.setattr(overriding, "time", clock)
        self.state = State(config(leave=leave, bgp=Bgp(routers)), overrides or Overrides())
        self.links = Links(cast(Any, None))
        self.data = SimpleNamespace(generation=SimpleNamespace(memory=self), tables=self)
        self.instance = SimpleNamespace(state=self.state, links=self.links, data=self.data, save=self._save)
        self.measuring = SimpleNamespace(sources=[])
        self.routing = SimpleNamespace(
            speaker=object(), look=lambda now: self._did("routes"), status=lambda: SimpleNamespace(peers=())
        )
        self.notifier = SimpleNamespace(
            stopping=lambda: self._did("stopping"), extend=lambda seconds: self._did("more time")
        )
        self.recorder = SimpleNamespace(flush_soon=lambda: None)
        self.upkeep = SimpleNamespace(keep=lambda: self._did("links"))
        self.departing = Departing(cast(Any, self))
        self.departing.resume()

    def _did(self, what: str) -> None:
        told = "withdrawn" if self.departing.withdrawn else "announced"
        self.done.append({"routes": told, "links": "detach" if self.links.away else "attach"}.get(what, what))

    def _save(self) -> None:
        if self.fails:
            raise HostError("the disk is full")
        saved = self.state.overrides
        self.kept, refused = restored(saved.snapshot(), saved.node_snapshot())
        assert not refused
        self._did(f"keep {saved.node.stage if saved.node else 'nothing'}")

    def keep(self) -> None:
        self._save()

    def record(self, kind: Any, message: str, **more: Any) -> None:
        del kind, message, more

    def tell_summary(self) -> None:
        pass

    def remove(self) -> None:
        self._did("remove")

    # What the program has counted.

    def tracked(self) -> list[Any]:
        return [WEB]

    def entry(self, key: object) -> Any:
        return SimpleNamespace(destinations=7, capacity=3) if key == WEB else None

    def packets(self, first: int, count: int) -> int:
        return int(self.forwarded) if (first, count) == (7, 3) else 0

    def reason(self, reason: Reason) -> int:
        return int(self.refused[reason])

    # What happens.

    def seconds(self, count: int, rate: float = 0.0) -> None:
        """So many seconds with so many packets in each."""
        for _ in range(count):
            self.now += 1.0
            self.forwarded += rate
            self.departing.look(self.now)

    def say(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """What an operator says of the whole node, and the answer."""
        request = Request(verb, {"all": True, "name": "ann", **arguments}, Peer(1, 0, 0))
        handler = overriding.handlers(cast(Any, self))[verb]
        return cast(dict[str, Any], asyncio.run(handler(request)))  # type: ignore[arg-type]

    @property
    def stage(self) -> Stage | None:
        found = self.departing.current
        return None if found is None else found.stage

    @property
    def numbers(self) -> list[int]:
        """Whether it is drained, withdrawn and detached, as it is measured."""
        found = self.departing.numbers()
        return [found[f"node_{word}"] for word in ("drained", "withdrawn", "detached")]


Made = Callable[..., Node]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make a node; it has seen traffic for a minute, unless it is one that goes on after another."""

    def make(*, seen: bool = True, **given: Any) -> Node:
        made = Node(monkeypatch, **given)
        made.seconds(60 * seen, BUSY)
        made.done.clear()
        return made

    return make


def test_routes_go_before_the_program_and_each_stage_is_kept_before_it_is_acted_on(node: Made) -> None:
    one = node()
    assert one.numbers == [0, 0, 0]
    one.say("drain")
    assert one.departing.current == Departure("uid 0 (ann)", WALL + one.now, first=BUSY)
    one.seconds(60, BUSY)
    assert (one.stage, one.numbers, one.departing.rate()) == (DEMOTED, [1, 0, 0], BUSY)
    one.seconds(CALM + 2, EBBED)
    assert (one.stage, one.numbers, one.links.away) == (WITHDRAWN, [1, 1, 0], False)
    assert one.departing.rate() == EBBED
    one.seconds(60, EBBED)
    assert (one.stage, one.links.away) == (WITHDRAWN, False), "what still comes is forwarded"
    one.seconds(CALM + 2)
    assert (one.stage, one.numbers, one.links.away) == (DETACHED, [1, 1, 1], True)
    steps = ["keep withdrawn", "withdrawn", "keep detached", "withdrawn", "detach"]
    assert one.done == ["keep demoted", "announced", *steps]


@pytest.mark.parametrize("stage", Stage)
def test_a_daemon_goes_on_where_the_one_before_it_ended(node: Made, stage: Stage) -> None:
    before = Departure("uid 0 (bob)", 5.0, stage, BUSY, WALL + FAR * 2)
    one = node(overrides=Overrides(node=before), seen=False)
    assert (one.departing.current, one.links.away) == (before, stage is DETACHED)
    one.seconds(CALM + 2, EBBED)
    assert one.stage is (WITHDRAWN if stage is DEMOTED else stage)


def test_what_was_kept_is_how_far_it_was(node: Made) -> None:
    one = node()
    one.say("drain", deadline=FAR)
    until = WALL + one.now + FAR
    for stage in (WITHDRAWN, DETACHED):
        one.seconds(CALM + 3)
        assert one.kept is not None
        assert one.kept.node == Departure("uid 0 (ann)", WALL + 1060.0, stage, BUSY, until)
        assert one.stage is stage


def test_the_deadline_withdraws_routes_and_detaches_nothing(node: Made) -> None:
    one = node()
    one.say("drain", deadline=30)
    one.seconds(29, BUSY)
    assert one.stage is DEMOTED
    one.seconds(1, BUSY)
    assert (one.stage, one.done[-2:]) == (WITHDRAWN, ["keep withdrawn", "withdrawn"])
    one.seconds(60, BUSY)
    assert (one.stage, one.links.away) == (WITHDRAWN, False)


def test_a_deadline_that_is_said_later_counts_from_then_and_takes_no_step_back(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(60, BUSY)
    one.say("drain", deadline=5)
    one.seconds(4, BUSY)
    assert one.stage is DEMOTED
    one.seconds(1, BUSY)
    assert one.stage is WITHDRAWN
    answer = one.say("drain", deadline=FAR)
    assert (one.stage, answer["node"]["stage"], answer["node"]["who"]) == (WITHDRAWN, "withdrawn", "uid 0 (ann)")


def test_who_says_it_again_does_not_begin_anew(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(4)
    one.say("drain")
    one.seconds(4)
    assert one.stage is WITHDRAWN


@pytest.mark.parametrize("wrong", [-1, FAR * 24 + 1, True, "5", float("nan"), []])
def test_a_deadline_that_is_none_is_refused(node: Made, wrong: Any) -> None:
    one = node()
    with pytest.raises(ControlError, match="deadline: must be 0 to 86400 seconds"):
        one.say("drain", deadline=wrong)
    assert (one.departing.current, one.done) == (None, [])


def test_what_cannot_be_kept_is_not_done(node: Made) -> None:
    one = node()
    one.fails = True
    with pytest.raises(HostError):
        one.say("drain")
    assert (one.departing.current, one.done) == (None, [])
    one.fails = False
    one.say("drain")
    one.fails = True
    with pytest.raises(HostError):
        one.say("undrain")
    assert (one.stage, one.done) == (DEMOTED, ["keep demoted", "announced"])


def test_taken_back_before_anything_was_withdrawn(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(3)
    one.done.clear()
    one.say("undrain")
    assert (one.departing.current, one.numbers, one.links.waiting) == (None, [0, 0, 0], False)
    assert one.done == ["keep nothing", "announced"]
    with pytest.raises(RequestError, match="not drained"):
        one.say("undrain")
    # What was seen of the traffic meanwhile is none of the usual traffic, nor of the next drain.
    assert one.departing.rate() is None
    one.say("drain")
    one.seconds(CALM)
    assert one.stage is DEMOTED
    one.seconds(2)
    assert one.stage is WITHDRAWN


def test_taken_back_the_program_is_on_all_interfaces_before_routers_are_told(node: Made) -> None:
    one = node()
    one.say("drain")
    one.seconds(20)
    assert one.links.away
    one.done.clear()
    one.say("undrain")
    assert (one.links.away, one.links.waiting) == (False, True)
    one.seconds(3)
    assert (one.departing.current, one.numbers, set(one.done)) == (
        None,
        [0, 1, 0],
        {"keep nothing", "attach", "withdrawn"},
    )
    one.done.clear()
    one.links.waiting = False
    one.seconds(1)
    assert (one.numbers, one.done) == ([0, 0, 0], ["announced"])


def test_what_was_usual_is_what_came_in_the_last_seconds(node: Made) -> None:
    one = node()
    one.seconds(20, BUSY / 2)
    one.say("drain")
    assert one.departing.current is not None
    assert one.departing.current.first == BUSY / 2


@pytest.mark.parametrize("leaves", [lambda one: one.say("drain"), lambda one: one.departing.asked_to_stop()])
def test_a_daemon_that_has_just_begun_knows_what_is_usual_by_its_first_look(
    node: Made, leaves: Callable[[Node], object]
) -> None:
    one = node(leave=60.0, seen=False)
    one.seconds(3, BUSY)
    leaves(one)
    assert one.departing.current is not None
    assert one.departing.current.first == BUSY


def test_where_nothing_is_known_the_first_seconds_are_what_is_usual(node: Made) -> None:
    one = node(seen=False)
    assert one.say("drain")["node"]["packets_per_second_before"] is None
    one.seconds(1, BUSY)
    one.seconds(CALM + 1, EBBED * 2)
    assert one.departing.current == Departure("uid 0 (ann)", WALL + 1000.0, first=BUSY)
    assert one.kept == one.state.overrides
    one.seconds(CALM + 2, EBBED)
    assert one.stage is WITHDRAWN


@pytest.mark.parametrize("reason", Reason)
def test_every_packet_to_a_vip_counts_and_no_other(node: Made, reason: Reason) -> None:
    one = node()
    one.say("drain")
    one.refused[reason] += BUSY
    one.seconds(1)
    assert one.departing.rate() == (0.0 if reason in NOT_TO_VIPS else BUSY)
    one.data.generation = None
    one.seconds(1)
    assert one.departing.rate() is None, "counters of another program say nothing"


def test_a_stop_goes_the_same_way_and_ends_when_nothing_comes(node: Made) -> None:
    one = node(leave=60.0)
    one.departing.asked_to_stop()
    assert one.done == ["stopping", "more time", "announced"]
    told = one.departing.told()
    assert told is not None
    assert (told.who, told.first, told.until) == ("a stop (leave)", BUSY, WALL + one.now + 60.0)
    assert one.departing.left() == 60.0
    one.done.clear()
    one.seconds(5, BUSY)
    assert (one.done, one.departing.left()) == (["more time"] * 5, 55.0)
    one.seconds(CALM + 2, EBBED)
    assert (one.stage, "withdrawn" in one.done, "remove" in one.done) == (WITHDRAWN, True, False)
    one.seconds(CALM + 3)
    assert "remove" in one.done, "it does not wait until its time is over"
    assert not {"detach", "attach", *(f"keep {stage}" for stage in Stage)} & set(one.done), "nobody remembers a stop"
    assert one.state.overrides.node is None


def test_however_often_it_is_looked_at_systemd_is_asked_once_in_a_second(node: Made) -> None:
    one = node(leave=60.0)
    one.departing.asked_to_stop()
    one.done.clear()
    for _ in range(20):
        one.now += 0.25
        one.departing.look(one.now)
    assert one.done == ["more time"] * 5


def test_a_stop_ends_when_its_time_is_over(node: Made) -> None:
    one = node(leave=10.0)
    one.departing.asked_to_stop()
    one.seconds(9, BUSY)
    assert "remove" not in one.done
    one.seconds(1, BUSY)
    assert (one.done[-1], one.stage) == ("remove", DEMOTED)


def test_the_second_stop_does_not_wait(node: Made) -> None:
    one = node(leave=60.0)
    one.departing.asked_to_stop()
    one.departing.asked_to_stop()
    assert one.done[-1] == "remove"


NOBODY_TO_WAIT_FOR: dict[str, dict[str, Any]] = {
    "it is not asked to": {"leave": 0.0},
    "no router is told": {"leave": 60.0, "routers": ()},
    "nothing has come any more": {"leave": 60.0, "overrides": Overrides(node=Departure("bob", 5.0, DETACHED))},
}


@pytest.mark.parametrize("given", NOBODY_TO_WAIT_FOR.values(), ids=NOBODY_TO_WAIT_FOR)
def test_a_stop_does_not_wait_for_nothing(node: Made, given: dict[str, Any]) -> None:
    one = node(**given, seen=False)
    one.departing.asked_to_stop()
    assert (one.done, one.departing.left()) == (["remove"], None)


def test_a_stop_before_routers_are_spoken_to_does_not_wait(node: Made) -> None:
    one = node(leave=60.0)
    one.routing.speaker = None
    one.departing.asked_to_stop()
    assert one.done == ["remove"]


def test_a_stop_of_a_drained_node_goes_on_from_there_by_its_own_time(node: Made) -> None:
    one = node(leave=60.0)
    one.say("drain", deadline=10)
    one.departing.asked_to_stop()
    one.seconds(30, BUSY)
    assert (one.stage, one.done.count("remove")) == (DEMOTED, 0)
    found = one.departing.current
    assert found is not None
    assert (found.who, found.first) == ("uid 0 (ann)", BUSY)
    assert one.state.overrides.node is not None
    assert one.state.overrides.node.until is not None, "after the stop, what the operator said is in force again"
    one.seconds(CALM + 2, EBBED)
    assert one.stage is WITHDRAWN
    one.seconds(CALM + 3)
    assert "remove" in one.done
    assert one.state.overrides.node.stage is DEMOTED


def test_the_steps_are_those_that_these_tests_assume() -> None:
    assert {STEPS[stage].calm for stage in (DEMOTED, WITHDRAWN)} == {float(CALM)}
    assert STEPS[DEMOTED].share * BUSY == EBBED
