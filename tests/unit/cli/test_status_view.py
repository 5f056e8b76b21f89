"""The text of `vc5 status`: everything on it at both widths, worst first, and no body that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli import status_view
from appliance.cli.status_backends import Grade, grade, word
from appliance.cli.tables import SGR, Screen, width
from appliance.control.announcing import WITHDRAWN
from appliance.dataplane.enums import State
from tests.unit.cli.samples import BODY, backend, large, small

GOLDEN = Path(__file__).parent / "golden"


SAMPLES: dict[str, Callable[[Screen], list[str]]] = {
    "status": lambda to: status_view.lines(BODY, to),
    "status_0": lambda to: status_view.lines(small(0), to),
    "status_1": lambda to: status_view.lines(small(1), to),
    "status_2000": lambda to: status_view.lines(large(), to),
    "status_service": lambda to: status_view.details(BODY, BODY["services"][:2], to),
}


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_look_as_agreed(name: str, columns: int) -> None:
    lines = SAMPLES[name](Screen(columns))
    assert "\n".join(lines) + "\n" == GOLDEN.joinpath(f"{name}_{columns}.txt").read_text(encoding="utf-8")
    assert max(width(line) for line in lines) <= columns
    painted = SAMPLES[name](Screen(columns, colour=True))
    assert [SGR.sub("", line) for line in painted] == lines, "colours change nothing but colours"


def test_two_thousand_backends_are_told_in_a_page() -> None:
    body = large()
    text = status_view.lines(body, Screen(80))
    assert len(text) < 90
    everything = "\n".join(status_view.lines(body, Screen(80), everything=True))
    addresses = [row["address"] for service in body["services"] for row in service["backends"]]
    assert len(addresses) == 2000
    assert [address for address in addresses if f"  {address} " not in everything] == []


def test_every_backend_may_be_in_trouble() -> None:
    body = large()
    for service in body["services"]:
        service |= {"up": False, "available": 0}
        for one in service["backends"]:
            one |= {"state": "dead", "health": "dead", "diagnostic": "timeout"}
    text = status_view.lines(body, Screen(80))
    assert len(text) < 110
    assert "100 services: 100 DOWN" in text
    assert "2,000 backends: 2,000 dead" in text
    assert "and 70 more services, 70 of them with something to tell" in text


WORDS: list[tuple[dict[str, Any], str, Grade]] = [
    ({"state": "available", "health": "up"}, "up", Grade.WELL),
    ({"state": "dead", "health": "dead"}, "dead", Grade.BAD),
    ({"state": "dead", "health": "wrong"}, "wrong", Grade.BAD),
    ({"state": "draining", "health": "wrong"}, "wrong", Grade.BAD),
    ({"state": "draining", "health": "up", "drained_by": "ann"}, "draining", Grade.ASIDE),
    ({"state": "draining", "health": "up", "enabled": False}, "disabled", Grade.ASIDE),
    ({"state": "draining", "health": "up", "enabled": False, "drained_by": "removed"}, "draining", Grade.ASIDE),
    ({"state": "none", "health": "unknown"}, "unknown", Grade.UNKNOWN),
    ({"state": "standby", "health": "up"}, "standby", Grade.STANDBY),
    ({"state": "available", "health": "dead", "kept_by": "isolated"}, "up", Grade.WORRY),
    ({"state": "available", "health": "up", "overrides": [{"override": "weight"}]}, "up", Grade.ASIDE),
    ({"state": "dead", "health": "dead", "troubles": [{"message": "no route"}]}, "dead", Grade.BAD),
]


@pytest.mark.parametrize(("row", "said", "graded"), WORDS, ids=[str(row[0]) for row in WORDS])
def test_how_a_backend_is_in_a_word(row: dict[str, Any], said: str, graded: Grade) -> None:
    assert (word(row), grade(row)) == (said, graded)


@pytest.mark.parametrize("state", ["AVAILABLE", "DRAINING", "DEAD", "NONE"])
def test_every_state_of_the_program_has_a_word(state: str) -> None:
    assert State[state].name.lower() == state.lower()
    assert word({"state": state.lower(), "health": "up"}) in ("up", "draining", "dead")


FOUND = [
    ("203.0.113.10:443/tcp", ["203.0.113.10:443/tcp"]),
    ("203.0.113.53", ["203.0.113.53:53/udp"]),
    ("shop", ["203.0.113.10:443/tcp"]),
    ("", ["203.0.113.53:53/udp"]),
    ("203.0.113.1", []),
]


@pytest.mark.parametrize(("name", "expected"), FOUND)
def test_a_service_has_three_names(name: str, expected: list[str]) -> None:
    assert [one["service"] for one in status_view.found(BODY, name)] == expected


def test_the_details_have_the_whole_of_a_note() -> None:
    note = "HTTP status 503, expected 200 " * 6
    body = {"services": [{"service": "s", "backends": [backend("10.1.10.11", "dead", diagnostic=note)]}]}
    text = status_view.details(body, body["services"], Screen(80))
    assert " ".join(note.split()) in " ".join(" ".join(text).split())


def test_what_is_down_stands_out() -> None:
    lines = status_view.lines(BODY, Screen(140, colour=True))
    first = next(line for line in lines if "203.0.113" in line or "2001:db8" in line)
    assert first.startswith("[2001:db8:5::10]:8443/tcp")
    assert "\x1b[1;31mDOWN\x1b[0m" in first


@pytest.mark.parametrize(
    ("prober", "words"),
    [
        ({"alive": True, "frozen": False, "restarts": 0}, "health live"),
        (
            {"alive": False, "frozen": True, "restarts": 3},
            "health FROZEN: the last verdicts stand (prober restarted 3 times)",
        ),
        ({"alive": False, "frozen": False}, "prober GONE"),
        (
            {"alive": False, "frozen": True, "reason": "the checker itself is broken: no answer; health is frozen"},
            "health FROZEN as the checker itself is broken: the last verdicts stand",
        ),
    ],
)
def test_the_prober(prober: dict[str, Any], words: str) -> None:
    assert words in status_view.lines({**BODY, "prober": prober}, Screen())[0]


@pytest.mark.parametrize(("who", "note"), [("uid 0", "by uid 0"), ("removed", "removed from the configuration")])
def test_why_a_backend_drains(who: str, note: str) -> None:
    body = {"services": [{"service": "s", "backends": [backend("10.1.10.11", "draining", drained_by=who)]}]}
    assert status_view.lines(body, Screen())[-1].endswith(f"  {note}")


@pytest.mark.parametrize(
    ("one", "note"),
    [
        (
            {"override": "drain", "weight": None, "who": "uid 0 (ann)", "since": 1e9},
            "drain by uid 0 (ann) since 2001-09-",
        ),
        (
            {"override": "weight", "weight": 7, "who": "uid 0 (ann)", "since": 1e9},
            "weight 7 by uid 0 (ann) since 2001-",
        ),
        ({"override": "disable", "weight": None, "who": "uid 0 (pid 3)", "since": 0}, "disable by uid 0 (pid 3)"),
        ({"override": "drain\x1b[2J"}, "drain\\x1b[2J by None"),
    ],
)
def test_what_an_operator_said_is_shown(one: dict[str, Any], note: str) -> None:
    body = {"services": [{"service": "s", "backends": [backend("10.1.10.11", "draining", overrides=[one])]}]}
    assert f"  {note}" in status_view.lines(body, Screen(200))[-1]


def test_what_is_not_acted_on_and_not_announced_is_said() -> None:
    row = {"vip": "203.0.113.10", "up": True, "announce": "demote", "reason": "cut off"}
    kept = backend("10.1.10.11", "available", health="dead", kept_by="isolated")
    services = [{"service": "s", "up": False, "pending": True, "backends": [kept]}]
    prober = {"alive": True, "frozen": True, "reason": "by uid 0 (ann) since today"}
    text = "\n".join(status_view.lines({"vips": [row], "services": services, "prober": prober}, Screen(200)))
    assert "vip 203.0.113.10 is up, and announced as a last resort: cut off\n" in text
    assert "dead, yet kept (isolated)" in text
    assert "pending" in text
    assert "DOWN" not in text
    assert "health FROZEN by uid 0 (ann) since today: the last verdicts stand" in text


def test_a_drained_node_is_said_once_and_not_for_each_vip() -> None:
    rows = [{"vip": f"203.0.113.{n}", "up": True, "announce": "demote", "reason": "drained"} for n in range(9)]
    rows.append({"vip": "203.0.113.9", "up": True, "announce": "no", "reason": WITHDRAWN})
    rows.append({"vip": "203.0.113.10", "up": True, "announce": "no", "reason": "announce: no"})
    body = {"vips": rows, "bgp": {"drained": {"who": "uid 0 (ann)", "since": 1e9}, "peers": []}}
    said = [line for line in status_view.lines(body, Screen(200)) if "vip " in line or "DRAINED" in line]
    assert len(said) == 2
    assert said[0].startswith("this node is DRAINED, by uid 0 (ann) since ")
    assert "vip 203.0.113.10 is up, and not announced" in said[1]


def test_what_a_backend_lacks_is_said() -> None:
    lack = {"reason": "no-route", "message": "backend 10.9.0.1 of a tunnel: no route"}
    body = {"services": [{"service": "s", "backends": [backend("10.9.0.1", "dead", troubles=[lack])]}]}
    assert status_view.lines(body, Screen(200))[-1].endswith(lack["message"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"up": True, "standby": False}, ""),
        ({"up": False, "standby": False}, "  no link"),
        ({"up": True, "standby": True}, "  on standby in its bond"),
        ({"up": False, "standby": True}, "  no link  on standby in its bond"),
    ],
)
def test_an_interface_that_carries_nothing_is_said(more: dict[str, bool], words: str) -> None:
    interface = {"name": "eth1", "attach": "native", "address": "", "mac": "02:00:0a:01:0b:05", **more}
    lines = status_view.lines({"interfaces": [interface]}, Screen())
    assert f"interface  eth1  native  02:00:0a:01:0b:05{words}" in lines


def test_what_is_waited_for_is_said() -> None:
    body = {"waiting_for": ["interface bond0 (down)", "the MAC address of 10.1.10.11"]}
    assert "waiting for interface bond0 (down), the MAC address of 10.1.10.11" in status_view.lines(body, Screen())
    assert not [line for line in status_view.lines({"waiting_for": []}, Screen()) if "waiting" in line]


def test_a_refused_flow_is_said() -> None:
    body = {"flow_table": {"size": 1024, "used": 1024, "refused": 7}}
    assert "flow table 1.02k of 1.02k  7 refused" in status_view.lines(body, Screen())


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (
            {"state": "available", "health": "dead", "kept_by": "quorum: 2 of 3 nodes say up"},
            "dead, yet kept (quorum: 2",
        ),
        (
            {"state": "dead", "health": "up", "taken_out_by": "quorum: 2 of 3 nodes say down"},
            "up here, yet taken out (quorum: 2 of 3",
        ),
    ],
)
def test_what_other_nodes_say_is_told(row: dict[str, Any], note: str) -> None:
    one = backend("10.1.10.11", row.pop("state"), **row)
    body = {"services": [{"service": "203.0.113.10:80/tcp", "up": True, "backends": [one]}]}
    assert note in "\n".join(status_view.lines(body, Screen()))


def test_connections_that_are_not_known_are_told_where_there_are_any() -> None:
    happening = {"cause": "router", "text": "10.1.0.1 down", "at": 1e9, "connections": 386, "for_s": 22.0}
    causes = {"router": 386, "pool": 0, "idle": 26}
    meter = {"total": 412, "causes": causes, "happenings": [happening | {"share_of_flows": 0.0074}]}
    text = "\n".join(status_view.lines({"misroutes": meter}, Screen()))
    assert "connections not known here 412: 386 router, 26 idle" in text
    assert "10.1.0.1 down: 386 within 22s, 0.74% of the flows then" in text
    assert "not known" not in "\n".join(status_view.lines({"misroutes": meter | {"total": 0}}, Screen()))


def test_an_empty_body() -> None:
    assert status_view.lines({}, Screen(80)) == ["vc5 ?", "", "no services are configured"]


def paths(value: object, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all values inside a body."""
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [place] * bool(place) + [found for key, item in inner for found in paths(item, (*place, key))]


def replaced(value: Any, place: tuple[Any, ...], new: object) -> Any:
    """Return a copy of a body with the value at one place replaced."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


@pytest.mark.parametrize("new", [None, "word", 7, -1.5, True, [], {}, [1], {"x": 1}, "\x1b[2J"], ids=repr)
def test_any_field_may_be_of_any_type(new: object) -> None:
    for place in paths(BODY):
        text = "\n".join(status_view.lines(replaced(BODY, place, new), Screen(80)))
        assert "\x1b" not in text


VALUES = st.none() | st.floats() | st.text(max_size=9) | st.lists(st.integers() | st.text(max_size=9), max_size=3)


@given(
    st.dictionaries(st.sampled_from(sorted(BODY)), VALUES | st.dictionaries(st.text(max_size=9), VALUES, max_size=3))
)
def test_any_body(body: dict[str, Any]) -> None:
    status_view.lines(body, Screen(80))
