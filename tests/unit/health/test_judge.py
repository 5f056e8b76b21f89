"""The verdicts: sequences of results in, healths out; carried over reloads and restarts."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.judge import HealthTable, Transition
from appliance.model import Backend, Check, CheckKind, Health, Outcome, ProbeResult, Service, ServiceKey

KEY = ServiceKey.parse("203.0.113.10:80/tcp")
A, B = ip_address("10.1.10.11"), ip_address("10.1.10.12")
HTTP = Check(CheckKind.HTTP, 80, host="www.example.com")
TCP = Check(CheckKind.TCP, 81)
OUTCOMES = {"o": Outcome.OK, "w": Outcome.WRONG, "n": Outcome.NONE}
HEALTHS = {"?": Health.UNKNOWN, "U": Health.UP, "W": Health.WRONG, "D": Health.DEAD}


def service(*checks: Check, backends: tuple[Any, ...] = (A, B)) -> Service:
    return Service(KEY, tuple(Backend(address) for address in backends), checks)


def result(letter: str, check: int = 0, backend: Any = A) -> ProbeResult:
    return ProbeResult(KEY, backend, check, OUTCOMES[letter], f"saw {letter}", at=5.0, total_ns=7)


def table(*checks: Check) -> HealthTable:
    made = HealthTable()
    made.configure([service(*checks)], 0.0)
    return made


def feed(health: HealthTable, letters: str, check: int = 0) -> str:
    """Feed results; return the health after each, in letters."""
    names = {value: name for name, value in HEALTHS.items()}
    seen = ""
    for now, letter in enumerate(letters, start=1):
        health.observe(result(letter, check), float(now))
        seen += names[health.health(KEY, A)]
    return seen


@pytest.mark.parametrize(
    ("rise", "fall", "results", "healths"),
    [
        (2, 2, "o", "U"),
        (2, 2, "w", "W"),
        (2, 2, "n", "D"),
        (9, 9, "n", "D"),
        # up -> down: `fall` bad ones in a row; dead only if all of them were no answer
        (2, 2, "on", "UU"),
        (2, 2, "onn", "UUD"),
        (2, 2, "oww", "UUW"),
        (2, 2, "own", "UUW"),
        (2, 2, "onw", "UUW"),
        (2, 3, "onononn", "UUUUUUU"),
        (2, 3, "onnwnnn", "UUUWWWD"),
        (2, 1, "on", "UD"),
        (2, 1, "ow", "UW"),
        # wrong -> dead: `fall` in a row without an answer
        (2, 2, "wnn", "WWD"),
        (2, 2, "wnwnn", "WWWWD"),
        (2, 3, "wnnonnn", "WWWWWWD"),
        # dead -> wrong: `rise` answers in a row, not all of them good
        (2, 2, "nw", "DD"),
        (2, 2, "nww", "DDW"),
        (2, 2, "nwo", "DDW"),
        (2, 2, "now", "DDW"),
        (3, 2, "noow", "DDDW"),
        (2, 2, "nwnwnww", "DDDDDDW"),
        # down -> up: `rise` good ones in a row, from either state; the run goes on across a transition
        (2, 2, "no", "DD"),
        (2, 2, "noo", "DDU"),
        (3, 2, "nooo", "DDDU"),
        (2, 2, "woo", "WWU"),
        (2, 2, "wowoo", "WWWWU"),
        (2, 2, "nwoo", "DDWU"),
        (1, 1, "nowo", "DUWU"),
    ],
)
def test_one_check(rise: int, fall: int, results: str, healths: str) -> None:
    assert feed(table(replace(HTTP, rise=rise, fall=fall)), results) == healths


@pytest.mark.parametrize(
    ("rise", "fall", "window", "results", "healths"),
    [
        # as by default: down with two bad ones of five, up with five good ones of five
        (5, 2, 5, "ooonooon", "UUUUUUUD"),
        (5, 2, 5, "onoooon", "UUUUUUU"),
        (5, 2, 5, "onooow", "UUUUUW"),
        (5, 2, 5, "nooooo", "DDDDDU"),
        (5, 2, 5, "nooonooooo", "DDDDDDDDDU"),
        (5, 2, 5, "noowooo", "DDDDDWW"),
        (5, 2, 5, "nwwwww", "DDDDDW"),
        (5, 2, 5, "wnnooooo", "WWDDDDDU"),
        (5, 2, 5, "wnon", "WWWD"),
        # three of four either way
        (3, 2, 4, "nooo", "DDDU"),
        (3, 2, 4, "nonoo", "DDDDU"),
        (3, 2, 4, "noonoonn", "DDDDUUDD"),
        (1, 1, 1, "onow", "UDUW"),
    ],
)
def test_a_window(rise: int, fall: int, window: int, results: str, healths: str) -> None:
    assert feed(table(replace(HTTP, rise=rise, fall=fall, window=window)), results) == healths


def test_a_window_that_a_reload_changes_goes_on_with_what_it_saw() -> None:
    judged = table(replace(HTTP, rise=5, fall=2, window=5))
    assert feed(judged, "oooon") == "UUUUU"
    judged.configure([service(replace(HTTP, rise=8, fall=2, window=8))], 50.0)
    assert feed(judged, "on") == "UD"
    judged.configure([service(replace(HTTP, rise=2, fall=2))], 60.0)
    assert feed(judged, "oo") == "DU"


@pytest.mark.parametrize(
    ("first", "second", "health"),
    [
        ("o", "o", "U"),
        ("o", "w", "W"),
        ("o", "n", "D"),
        ("w", "n", "D"),
        ("n", "w", "D"),
        ("o", "", "?"),
        ("", "o", "?"),
        ("w", "", "W"),
        ("n", "", "D"),
    ],
)
def test_a_backend_is_as_healthy_as_its_worst_check(first: str, second: str, health: str) -> None:
    judged = table(HTTP, TCP)
    feed(judged, first, 0)
    feed(judged, second, 1)
    assert judged.health(KEY, A) is HEALTHS[health]
    assert judged.health(KEY, B) is Health.UNKNOWN


def test_without_checks_a_backend_is_up_at_once() -> None:
    assert table().health(KEY, A) is Health.UP


def test_a_transition_says_what_was_seen() -> None:
    judged = table(HTTP, TCP)
    assert judged.observe(result("o", 0), 1.0) is None
    assert judged.observe(result("o", 1), 2.0) == Transition(KEY, A, Health.UNKNOWN, Health.UP, "http 80: saw o", 2.0)
    assert judged.observe(result("n", 1), 3.0) is None
    expected = Transition(KEY, A, Health.UP, Health.DEAD, "tcp 81: saw n", 4.0)
    assert judged.observe(result("n", 1), 4.0) == expected
    standing = judged.standing(KEY, A)
    assert standing is not None
    assert (standing.health, standing.since, standing.diagnostic) == (Health.DEAD, 4.0, "tcp 81: saw n")
    assert (standing.last_at, standing.last_ns, standing.streak) == (5.0, 7, 2)
    assert [check.health for check in standing.checks] == [Health.UP, Health.DEAD]


def test_strangers_are_ignored_and_counted() -> None:
    judged = table(HTTP)
    for stray in (result("n", 1), result("n", -1), result("n", 0, ip_address("10.9.9.9"))):
        assert judged.observe(stray, 1.0) is None
    other = replace(result("n"), service=ServiceKey.parse("203.0.113.10:443/tcp"))
    assert judged.observe(other, 1.0) is None
    assert judged.ignored == 4
    assert judged.health(KEY, A) is Health.UNKNOWN
    assert judged.standing(KEY, ip_address("10.9.9.9")) is None


def test_a_reload_keeps_what_is_known() -> None:
    judged = table(replace(HTTP, fall=3), TCP)
    feed(judged, "onn", 0)
    feed(judged, "o", 1)
    # The order of the checks changes, rise and fall change, a backend comes: the run of two goes on under the new fall.
    changed = service(TCP, replace(HTTP, fall=4, interval=9.0), backends=(A, ip_address("10.1.10.13")))
    assert judged.configure([changed], 50.0) == ()
    assert judged.health(KEY, A) is Health.UP
    assert judged.health(KEY, B) is Health.UNKNOWN
    assert list(judged) == [(KEY, A), (KEY, ip_address("10.1.10.13"))]
    assert feed(judged, "nn", 1) == "UD"


@pytest.mark.parametrize(("before", "health"), [("o", "U"), ("w", "W"), ("n", "D"), ("", "?")])
def test_a_check_that_is_new_to_a_backend_inherits_its_verdict(before: str, health: str) -> None:
    judged = table(HTTP)
    feed(judged, before)
    judged.configure([service(replace(HTTP, path="/other"))], 50.0)
    assert judged.health(KEY, A) is HEALTHS[health]


def test_an_inherited_verdict_stands_until_it_is_contradicted() -> None:
    judged = table(HTTP)
    feed(judged, "o")
    judged.configure([service(HTTP, TCP)], 50.0)
    assert feed(judged, "nn", 1) == "UD"


def test_a_reload_that_removes_the_failing_check_is_a_transition() -> None:
    judged = table(HTTP, TCP)
    feed(judged, "o", 0)
    feed(judged, "n", 1)
    assert judged.configure([service(HTTP)], 50.0) == (
        Transition(KEY, A, Health.DEAD, Health.UP, "http 80: saw o", 50.0),
    )


def test_equal_checks_are_told_apart() -> None:
    judged = table(HTTP, HTTP)
    feed(judged, "o", 0)
    feed(judged, "n", 1)
    again = table(HTTP, HTTP)
    again.restore(json.loads(json.dumps(judged.snapshot())))
    standing = again.standing(KEY, A)
    assert standing is not None
    assert [check.health for check in standing.checks] == [Health.UP, Health.DEAD]


def test_verdicts_survive_a_restart_and_stand_until_contradicted() -> None:
    judged = table(HTTP)
    feed(judged, "onn")
    again = table(HTTP)
    assert again.restore(json.loads(json.dumps(judged.snapshot()))) == 0
    assert again.health(KEY, A) is Health.DEAD
    assert again.health(KEY, B) is Health.UNKNOWN
    standing = again.standing(KEY, A)
    assert standing is not None
    assert (standing.since, standing.diagnostic) == (3.0, "http 80: saw n")
    assert feed(again, "oo") == "DU"


def test_changes_are_counted_and_go_on_after_a_restart() -> None:
    judged = table(HTTP)
    assert judged.changes(KEY, A) == (0, 0.0)
    feed(judged, "o")
    assert judged.changes(KEY, A) == (0, 1.0), "the first verdict is no change"
    seen = feed(judged, "nnoonn")
    assert judged.changes(KEY, A) == (3, 6.0), seen
    judged.configure([service(HTTP)], 9.0)
    assert judged.changes(KEY, A)[0] == 3
    again = table(HTTP)
    assert again.restore(json.loads(json.dumps(judged.snapshot()))) == 0
    assert again.changes(KEY, A) == (3, 6.0)
    feed(again, "oo")
    assert again.changes(KEY, A)[0] == 4
    assert again.restore(judged.snapshot()) == 0
    assert again.changes(KEY, A)[0] == 4, "it never becomes smaller"
    assert again.changes(KEY, B) == (0, 0.0)
    assert again.changes(ServiceKey.parse("203.0.113.99:80/tcp"), A) == (0, None)


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None, 1 << 60])
def test_a_count_that_makes_no_sense_is_none(count: object) -> None:
    health = table(HTTP)
    entry = {"health": "up", "since": 1, "checks": {}, "transitions": count}
    assert health.restore({"version": 1, "services": {str(KEY): {str(A): entry}}}) == 0
    assert health.changes(KEY, A) == (0, 1.0)


def test_the_check_of_a_result() -> None:
    health = table(HTTP, TCP)
    assert health.check(result("o", 1)) == TCP
    assert health.check(result("o", 2)) is health.check(result("o", -1)) is None
    assert health.check(result("o", 0, ip_address("192.0.2.1"))) is None


def test_a_restored_backend_gives_its_verdict_to_a_check_that_the_snapshot_lacks() -> None:
    judged = table(HTTP)
    feed(judged, "o")
    again = table(HTTP, TCP)
    assert again.restore(judged.snapshot()) == 0
    assert again.health(KEY, A) is Health.UP


def test_what_is_known_already_is_not_overwritten() -> None:
    judged = table(HTTP)
    feed(judged, "n")
    again = table(HTTP)
    feed(again, "o")
    assert again.restore(judged.snapshot()) == 0
    assert again.health(KEY, A) is Health.UP


@pytest.mark.parametrize(
    ("entry", "unusable"),
    [
        ({"health": "up", "since": 1, "checks": {}}, 0),
        ({"health": "up", "since": 1, "checks": {"x": {"health": "up", "since": 1}}}, 0),
        ({"health": "unknown", "since": 1, "checks": {}}, 1),
        ({"health": "fine", "since": 1, "checks": {}}, 1),
        ({"health": [], "since": 1, "checks": {}}, 1),
        ({"health": "up", "since": float("nan"), "checks": {}}, 1),
        ({"health": "up", "since": True, "checks": {}}, 1),
        ({"health": "up", "since": "1", "checks": {}}, 1),
        ({"health": "up", "since": 1}, 1),
        ({"health": "up", "since": 1, "checks": {"x": 3}}, 1),
        (None, 1),
        ([], 1),
    ],
)
def test_unusable_entries_are_counted(entry: object, unusable: int) -> None:
    judged = table(HTTP)
    assert judged.restore({"version": 1, "services": {str(KEY): {str(A): entry}}}) == unusable
    assert judged.health(KEY, A) is (Health.UNKNOWN if unusable else Health.UP)


@pytest.mark.parametrize(
    "saved", [None, 3, [], {}, {"version": 2, "services": {}}, {"version": 1}, {"version": 1, "services": {"x": 1}}]
)
def test_what_is_no_snapshot_counts_as_one(saved: object) -> None:
    assert table(HTTP).restore(saved) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(list(Health)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(JSON, JSON)
def test_garbage_never_raises(whole: object, entry: object) -> None:
    judged = table(HTTP)
    judged.restore(whole)
    judged.restore({"version": 1, "services": {str(KEY): {str(A): entry, "x": entry}}})
    assert judged.health(KEY, B) is Health.UNKNOWN


@given(st.integers(1, 4), st.integers(1, 4), st.text("own", min_size=1, max_size=30))
def test_the_machine_says_what_the_rules_say_of_the_whole_history(rise: int, fall: int, letters: str) -> None:
    """Against a second account of the rules, which looks at the last results instead of counting runs."""
    seen = feed(table(replace(HTTP, rise=rise, fall=fall)), letters)
    health = {"o": "U", "w": "W", "n": "D"}[letters[0]]
    assert seen[0] == health
    for end in range(2, len(letters) + 1):
        risen = letters[max(0, end - rise) : end] if end >= rise else ""
        fallen = letters[max(0, end - fall) : end] if end >= fall else ""
        if health == "U":
            if fallen and "o" not in fallen:
                health = "D" if set(fallen) == {"n"} else "W"
        elif risen and set(risen) == {"o"}:
            health = "U"
        elif health == "W" and fallen and set(fallen) == {"n"}:
            health = "D"
        elif health == "D" and risen and "n" not in risen:
            health = "W"
        assert seen[end - 1] == health


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("own")), max_size=30))
def test_transitions_are_exactly_the_changes_of_health(results: list[tuple[int, str]]) -> None:
    judged = table(HTTP, TCP)
    for now, (check, letter) in enumerate(results):
        before = judged.health(KEY, A)
        transition = judged.observe(result(letter, check), float(now))
        after = judged.health(KEY, A)
        assert (transition is not None) == (before is not after)
        if transition:
            assert (transition.before, transition.after, transition.since) == (before, after, float(now))
