"""What operators say of backends: what it changes, who may take it back, and what it looks like afterwards."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from appliance.control.departure import Departure
from appliance.control.overrides import Overrides, What, restored
from appliance.control.state import State
from appliance.dataplane.enums import State as Receives
from appliance.errors import RequestError
from appliance.model import Backend
from tests.unit.control.sample import TLS, WEB, Planner, address, config, service

# Whether the configuration enables the backend; what is said, in this order -> enabled, drained, weight, overrides
SAYINGS: list[tuple[bool, str, bool, bool, int, list[str]]] = [
    (True, "", True, False, 2, []),
    (True, "drain", True, True, 2, ["drain"]),
    (True, "drain drain", True, True, 2, ["drain"]),
    (True, "drain undrain", True, False, 2, []),
    (True, "disable", False, False, 2, ["disable"]),
    (True, "disable disable", False, False, 2, ["disable"]),
    (True, "disable enable", True, False, 2, []),
    (False, "", False, False, 2, []),
    (False, "disable", False, False, 2, ["disable"]),
    (False, "enable", True, False, 2, ["enable"]),
    (False, "enable enable", True, False, 2, ["enable"]),
    (False, "enable disable", False, False, 2, []),
    (False, "disable enable", True, False, 2, ["enable"]),
    (True, "7", True, False, 7, ["weight 7"]),
    (True, "0", True, False, 0, ["weight 0"]),
    (True, "7 9", True, False, 9, ["weight 9"]),
    (True, "7 default", True, False, 2, []),
    (True, "drain disable 7", False, True, 7, ["drain", "disable", "weight 7"]),
    (True, "drain disable 7 undrain enable default", True, False, 2, []),
    (True, "drain disable enable", True, True, 2, ["drain"]),
]


def say(overrides: Overrides, backend: Backend, word: str) -> Overrides:
    """One command of an operator, at 10 s."""
    if word in ("drain", "disable", "enable"):
        changed: Overrides = getattr(overrides, word)(WEB, backend, "ann", 10.0)
        return changed
    if word == "undrain":
        return overrides.undrain(WEB, backend)
    return overrides.weigh(WEB, backend, None if word == "default" else int(word), "ann", 10.0)


@pytest.mark.parametrize(("marked", "words", "enabled", "drained", "weight", "found"), SAYINGS)
def test_what_is_said_is_in_force(
    marked: bool, words: str, enabled: bool, drained: bool, weight: int, found: list[str]
) -> None:
    backend, other = Backend(address(1), 2, marked), Backend(address(2), 2)
    one, two = service(WEB, backends=(backend, other)), service(TLS, backends=(backend,))
    state = State(config(one, two))
    for word in words.split():
        state.overrides = say(state.overrides, backend, word)
    web, tls = state.services()
    assert (web.backends[0].enabled, web.backends[0].weight) == (enabled, weight)
    assert (web.backends[1], tls) == (other, two)
    assert ((WEB, address(1)) in state.overrides.drains) == drained
    listed = state.overrides.snapshot()
    words_of = [f"{row['override']}" + (f" {row['weight']}" if row["weight"] is not None else "") for row in listed]
    assert sorted(words_of) == sorted(found)
    assert {(row["service"], row["backend"], row["who"], row["since"]) for row in listed} <= {
        (str(WEB), "10.1.10.1", "ann", 10.0)
    }
    assert restored(json.loads(json.dumps(listed))) == (state.overrides, 0)
    [member, _] = Planner(state).plan().desired.services[0].members
    receiving = enabled and not drained and weight > 0
    assert member.state is (Receives.AVAILABLE if receiving else Receives.DRAINING)
    assert member.weight == (weight if receiving else 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("undrain", "is not drained by an operator; nothing to take back"),
        ("disable undrain", "is not drained by an operator; nothing to take back"),
        ("enable", "is not disabled; nothing to take back"),
        ("drain enable", "is not disabled; nothing to take back"),
        ("default", "has its configured weight, 2"),
        ("101", "must be a whole number from 0 to 100"),
        ("-1", "must be a whole number from 0 to 100"),
    ],
)
def test_what_cannot_be_said(words: str, message: str) -> None:
    overrides, backend = Overrides(), Backend(address(1), 2)
    *before, last = words.split()
    for word in before:
        overrides = say(overrides, backend, word)
    with pytest.raises(RequestError, match=message):
        say(overrides, backend, last)


def test_a_reload_keeps_what_was_said_and_its_own_values_come_back_afterwards() -> None:
    backend = Backend(address(1), 2)
    state = State(config(service(WEB, backends=(backend,))))
    state.overrides = say(say(Overrides(), backend, "7"), backend, "disable")
    state.reconfigure(config(service(WEB, backends=(Backend(address(1), 5),))), 100)
    [web] = state.services()
    assert (web.backends[0].weight, web.backends[0].enabled) == (7, False)
    state.overrides = say(say(state.overrides, backend, "default"), backend, "enable")
    assert state.services() == state.config.services


def test_who_leaves_is_not_weighed() -> None:
    state = State(config(service(WEB, 1, 2)))
    state.overrides = say(Overrides(), Backend(address(2)), "7")
    state.overrides = say(state.overrides, Backend(address(1)), "9")
    state.reconfigure(config(service(WEB, 1)), 100)
    [web] = state.services()
    assert [(int(one.address) & 255, one.weight) for one in web.backends] == [(1, 9), (2, 1)]


OVERRIDE = {"service": str(WEB), "backend": "10.1.10.1", "override": "weight", "weight": 3, "who": "ann", "since": 1.0}
WRONG: list[dict[str, Any]] = [
    {"service": "web"},
    {"backend": "ten"},
    {"override": "weigh"},
    {"override": []},
    {"weight": None},
    {"weight": True},
    {"weight": 101},
    {"weight": -1},
    {"since": float("nan")},
    {"since": None},
]


@pytest.mark.parametrize("item", [None, 7, [], {}, "x", *[{**OVERRIDE, **change} for change in WRONG]])
def test_what_makes_no_sense_is_counted_and_left_out(item: Any) -> None:
    good, _ = restored([OVERRIDE])
    assert good.entries
    assert restored([item, OVERRIDE]) == (good, 1)


@pytest.mark.parametrize("saved", [None, 7, {}, "x"])
def test_no_list_is_nothing(saved: Any) -> None:
    assert restored(saved) == (Overrides(), 0)


def test_the_whole_node() -> None:
    nothing = Overrides()
    drained = nothing.drain_node("ann", 10.0)
    assert drained.drain_node("bob", 20.0) == drained
    assert nothing.node_snapshot() is None
    assert drained.node_snapshot() == {
        "who": "ann",
        "since": 10.0,
        "stage": "demoted",
        "packets_per_second_before": None,
        "until": None,
    }
    hurried = nothing.drain_node("ann", 10.0, rate=7.5, until=99.0)
    assert drained.drain_node("bob", 20.0, until=99.0).node == Departure("ann", 10.0, until=99.0)
    assert hurried.drain_node("bob", 20.0) == hurried
    assert restored([], hurried.node_snapshot()) == (hurried, 0)
    assert restored([], {"who": "ann", "since": 10.0}) == (drained, 0)
    assert drained.undrain_node() == nothing
    with pytest.raises(RequestError, match="this node is not drained; nothing to take back"):
        nothing.undrain_node()


def test_the_drain_of_the_node_is_no_matter_of_backends() -> None:
    backend, one = Backend(address(1), 2), config(service(WEB, 1))
    state = State(one, Overrides().drain_node("ann", 10.0))
    state.overrides = say(say(state.overrides, backend, "drain"), backend, "undrain")
    assert state.services() == State(one).services()
    state.overrides = say(state.overrides, backend, "7")
    assert state.overrides.snapshot()[0]["weight"] == 7
    for _ in range(2):  # a reload that takes the backend away, and a restart
        state.reconfigure(config(service(TLS, 1)), 100)
        assert state.overrides == Overrides().drain_node("ann", 10.0)
        again = State(state.config)
        assert again.restore(json.loads(json.dumps(state.snapshot()))) == 0
        assert again.overrides == state.overrides
        state = again


STRANGE: list[Any] = [7, [], "x", {}, {"who": "ann"}, {"who": "ann", "since": "soon"}, {"since": 1.0}]
STRANGER: list[Any] = [{"stage": "gone"}, {"since": None}, {"until": "soon"}, {"packets_per_second_before": math.inf}]


@pytest.mark.parametrize("node", [*STRANGE, *({"who": "ann", "since": 1.0, **more} for more in STRANGER)])
def test_a_drain_that_makes_no_sense_is_counted_and_left_out(node: Any) -> None:
    assert restored([OVERRIDE], node) == (restored([OVERRIDE])[0], 1)


@pytest.mark.parametrize("since", [float("nan"), float("inf"), 10**400])
def test_a_drain_at_no_moment_is_left_out(since: Any) -> None:
    assert restored([], {"who": "ann", "since": since}) == (Overrides(), 1)


def test_what_a_drill_overrides_is_in_force_and_never_saved() -> None:
    configured = config(service(WEB, 11, 12))
    [web] = configured.services
    first, second = web.backends
    said = Overrides().weigh(WEB, first, 3, "ann", 1.0)
    drilled = said.withdraw((WEB, first.address), What.MARK, "a drill of ann", 2.0)
    [applied] = drilled.applied([web])
    assert [backend.enabled for backend in applied.backends] == [False, True]
    drained = drilled.withdraw((WEB, second.address), What.DRAIN, "a drill of ann", 3.0)
    assert drained.drains.keys() == {(WEB, second.address)}
    assert drained.lasting == drilled.lasting == said
    assert said.lasting is said
    state = State(configured, overrides=drained)
    assert [one["override"] for one in state.snapshot()["overrides"]] == ["weight"]
