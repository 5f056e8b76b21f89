"""Who drains and who is leaving: over reloads, deadlines and restarts, and whatever a state file may hold."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.overrides import Override, Overrides, What
from appliance.control.state import Leaving, Pair, State
from appliance.model import (
    Backend,
    Check,
    CheckKind,
    Config,
    Forward,
    OnDead,
    OnDown,
    Protocol,
    Service,
    ServiceKey,
    Tracking,
    Tunnel,
    TunnelKind,
)
from tests.unit.control.sample import DNS, HTTP, TLS, WEB, Planner, address, config, drained, service

START = 1_000
"""Coarse seconds."""


def leaving(state: State) -> dict[tuple[ServiceKey, int], int]:
    """Who leaves until when, backends by number."""
    return {(key, int(a) & 255): entry.deadline for (key, a), entry in state.leaving.items()}


# The configuration after one with web 1 2 3 and a drain_timeout of 60 -> who leaves
RELOADS: list[tuple[Config, set[tuple[ServiceKey, int]]]] = [
    (config(service(WEB, 1, 2, 3)), set()),
    (config(service(WEB, 1, 2, 3, 4)), set()),
    (config(service(WEB, 1, 3)), {(WEB, 2)}),
    (config(service(WEB, 1, 3, drain_timeout=0)), {(WEB, 2)}),
    (config(service(TLS, 1, 2, 3)), {(WEB, 1), (WEB, 2), (WEB, 3)}),
    (config(), {(WEB, 1), (WEB, 2), (WEB, 3)}),
    (config(service(WEB, backends=tuple(Backend(address(n), 0, False) for n in (1, 2, 3)))), set()),
]


@pytest.mark.parametrize(("after", "gone"), RELOADS)
def test_removed_backends_leave_for_the_old_drain_timeout(after: Config, gone: set[tuple[ServiceKey, int]]) -> None:
    state = State(config(service(WEB, 1, 2, 3, drain_timeout=60.0)))
    state.reconfigure(after, START)
    assert leaving(state) == dict.fromkeys(gone, START + 60)
    assert state.config is after
    assert state.expire(START + 59) == []
    assert {(key, int(a) & 255) for key, a in state.expire(START + 60)} == gone
    assert state.leaving == {}


@pytest.mark.parametrize(("timeout", "seconds"), [(0.4, 1), (1.0, 1), (59.6, 60), (0.0, None)])
def test_no_drain_is_shorter_than_a_second_unless_it_is_none(timeout: float, seconds: int | None) -> None:
    state = State(config(service(WEB, 1, 2, drain_timeout=timeout)))
    state.reconfigure(config(service(WEB, 1)), START)
    assert leaving(state) == ({} if seconds is None else {(WEB, 2): START + seconds})


def test_the_dead_leave_at_once() -> None:
    state = State(config(service(WEB, 1, 2, 3)))
    state.reconfigure(config(service(WEB, 1)), START)
    pair: Pair = (WEB, address(2))
    assert state.expire(START + 1, [pair, (WEB, address(1)), (TLS, address(3))]) == [pair]
    assert set(leaving(state)) == {(WEB, 3)}


def test_who_comes_back_stays() -> None:
    state = State(config(service(WEB, 1, 2)))
    state.reconfigure(config(service(WEB, 1)), START)
    state.reconfigure(config(service(WEB, 1, 2)), START + 5)
    assert state.leaving == {}
    state.reconfigure(config(service(WEB, 1)), START + 50)
    assert leaving(state) == {(WEB, 2): START + 950}


def test_a_later_reload_does_not_prolong_a_drain() -> None:
    state = State(config(service(WEB, 1, 2)))
    for seconds in range(3):
        state.reconfigure(config(service(WEB, 1, drain_timeout=5_000)), START + seconds)
    assert leaving(state) == {(WEB, 2): START + 900}


def test_services_in_force() -> None:
    old = service(WEB, 2, 4, name="shop", on_dead=OnDead.RESET)
    state = State(config(old, service(TLS, 1)))
    new = service(WEB, 3, 4, name="store")
    state.reconfigure(config(new, service(DNS, 9)), START)
    merged = {one.key: one for one in state.services()}
    assert list(merged) == sorted(merged) == [WEB, TLS, DNS]
    assert merged[WEB] == replace(new, backends=tuple(Backend(address(n)) for n in (2, 3, 4)))
    assert merged[TLS] == service(TLS, 1)
    assert merged[DNS] == service(DNS, 9)


def test_a_service_that_is_gone_keeps_its_own_settings() -> None:
    old = service(WEB, 1, 2, on_dead=OnDead.DROP, on_down=OnDown.CUT)
    state = State(config(old))
    state.reconfigure(config(), START)
    assert state.services() == (old,)
    state.expire(START, [(WEB, address(1))])
    assert state.services() == (replace(old, backends=(Backend(address(2)),)),)


def test_overrides_go_with_their_backends() -> None:
    state = State(config(service(WEB, 1, 2), service(TLS, 1)))
    state.overrides = drained((WEB, address(1)), (WEB, address(2)), (TLS, address(1)))
    state.reconfigure(config(service(WEB, 1)), START)
    assert set(state.overrides.drains) == {(WEB, address(1))}
    assert [(one.service, one.backend, one.message) for one in state.dropped] == [
        (WEB, address(2), "drain, by ann, is dropped: it has left the configuration"),
        (TLS, address(1), "drain, by ann, is dropped: it has left the configuration"),
    ]
    state.reconfigure(config(service(WEB, 1), service(TLS, 1)), START + 1_000)
    assert set(state.overrides.drains) == {(WEB, address(1))}
    assert len(state.dropped) == 2


def test_drains_of_former_versions_are_taken_over() -> None:
    state = State(config(service(WEB, 1)))
    assert state.restore({"drains": [[str(WEB), "10.1.10.1", "ann"], [str(WEB), "10.1.10.2", "ann"]]}) == 0
    assert state.overrides.drains == {(WEB, address(1)): Override("ann", 0.0)}
    assert len(state.dropped) == 1


def test_a_deadline_of_another_clock_begins_anew() -> None:
    state = State(config(service(WEB, 1, 2, drain_timeout=60)))
    state.reconfigure(config(service(WEB, 1)), 5_000_000)
    after = State(state.config)
    after.restore(state.snapshot())
    assert after.expire(3) == []
    assert leaving(after) == {(WEB, 2): 63}
    assert after.expire(62) == []
    assert after.expire(63) == [(WEB, address(2))]


# What the tables hold beside web 1 2, drain_timeout -> who leaves
INHERITED = [
    ([(WEB, 1), (WEB, 2)], 60.0, {}),
    ([(WEB, 3)], 60.0, {(WEB, 3): START + 60}),
    ([(WEB, 3)], 0.0, {}),
    ([(TLS, 1)], 60.0, {(TLS, 1): START + 900}),
    ([], 60.0, {}),
]


@pytest.mark.parametrize(("present", "timeout", "found"), INHERITED)
def test_what_left_while_no_daemon_ran(
    present: list[tuple[ServiceKey, int]], timeout: float, found: dict[tuple[ServiceKey, int], int]
) -> None:
    state = State(config(service(WEB, 1, 2, drain_timeout=timeout)))
    state.inherit([(key, address(number)) for key, number in present], START)
    assert leaving(state) == found


def test_inheriting_leaves_known_deadlines_alone() -> None:
    state = State(config(service(WEB, 1, 2)))
    state.reconfigure(config(service(WEB, 1)), START)
    state.inherit([(WEB, address(2))], START + 500)
    assert leaving(state) == {(WEB, 2): START + 900}


def test_a_configured_backend_does_not_leave_after_a_restart() -> None:
    state = State(config(service(WEB, 1, 2)))
    state.reconfigure(config(service(WEB, 1)), START)
    saved = state.snapshot()
    again = State(config(service(WEB, 1, 2)))
    assert again.restore(saved) == 0
    assert again.leaving == {}


@st.composite
def overridden(draw: st.DrawFn, before: Overrides, pair: Pair) -> Overrides:
    """What operators say, of one backend something else than before."""
    who, since = draw(st.text(max_size=5)), draw(st.floats(0, 1e10))
    made = {what: Override(who, since) for what in draw(st.sets(st.sampled_from(What)))}
    others = {other: found for other, found in before.entries.items() if other != pair}
    return Overrides({**others, pair: made} if made else others)


CHECKS = st.builds(
    Check,
    kind=st.sampled_from(CheckKind),
    port=st.integers(1, 65535),
    host=st.text(max_size=9),
    path=st.text(max_size=9),
    method=st.sampled_from(("GET", "HEAD")),
    expect=st.lists(st.integers(100, 599), max_size=3).map(tuple),
    interval=st.floats(0.1, 60),
    timeout=st.floats(0.1, 60),
    rise=st.integers(1, 9),
    fall=st.integers(1, 9),
)


def services(key: ServiceKey) -> st.SearchStrategy[Service]:
    """Services with backends out of five."""
    return st.builds(
        Service,
        key=st.just(key),
        backends=st.sets(st.integers(1, 5)).map(lambda found: tuple(Backend(address(n), n) for n in sorted(found))),
        checks=st.lists(CHECKS, max_size=2).map(tuple),
        on_dead=st.sampled_from(OnDead),
        on_down=st.sampled_from(OnDown),
        drain_timeout=st.sampled_from((0.0, 1.0, 60.5, 900.0)),
    )


CONFIGS = st.lists(st.sampled_from((WEB, TLS, DNS)), unique=True).flatmap(
    lambda keys: st.tuples(*(services(key) for key in keys)).map(lambda made: config(*made))
)


@given(st.lists(CONFIGS, min_size=2, max_size=5), st.data())
def test_a_restart_changes_nothing(configs: list[Config], data: st.DataObject) -> None:
    """Every entry survives as it is, through JSON, with the configuration in force."""
    state = State(configs[0])
    for number, one in enumerate(configs[1:]):
        known = sorted(((s.key, b.address) for s in state.services() for b in s.backends), key=str)
        for pair in known:
            if data.draw(st.booleans()):
                state.overrides = data.draw(overridden(state.overrides, pair))
        state.reconfigure(one, START + 100 * number)
        state.expire(START + 100 * number)
    again = State(state.config)
    assert again.restore(json.loads(json.dumps(state.snapshot()))) == 0
    assert again.overrides == state.overrides
    assert again.snapshot() == state.snapshot()
    assert leaving(again) == leaving(state)
    for pair, entry in state.leaving.items():
        found = again.leaving[pair]
        assert found.backend == replace(entry.backend, enabled=True)
        for name in ("key", "checks", "on_dead", "on_down", "drain_timeout"):
            assert getattr(found.service, name) == getattr(entry.service, name)
    assert [(s.key, [b.address for b in s.backends]) for s in again.services()] == [
        (s.key, [b.address for b in s.backends]) for s in state.services()
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from((str(WEB), "10.1.10.1")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
GOOD: dict[str, Any] = {
    "service": str(WEB),
    "backend": "10.1.10.2",
    "weight": 1,
    "deadline": 2_000,
    "on_dead": "reselect",
    "on_down": "drain",
    "drain_timeout": 900.0,
    "checks": [
        {"kind": "http", "port": 80, "host": "", "path": "/", "method": "GET", "expect": [200], "interval": 2.0}
        | {"timeout": 2.0, "rise": 2, "fall": 2}
    ],
}


@given(st.dictionaries(st.sampled_from(("drains", "overrides", "leaving", "x")), JSON))
def test_garbage_is_left_out(saved: dict[str, Any]) -> None:
    state = State(config(service(WEB, 1)))
    state.restore(saved)
    assert state.overrides.entries.keys() <= {(WEB, address(1))}
    assert state.leaving == {}


WAY_FIELDS: dict[str, Any] = {
    "port": 8080,
    "sticky": True,
    "tracking": "all",
    "forward": "dsr",
    "tunnel": {"kind": "gue", "port": 6080, "checksum": True, "code": 0},
}
"""What files of former versions lack."""


@given(
    st.sampled_from(sorted(GOOD | WAY_FIELDS)) | st.sampled_from(sorted(GOOD["checks"][0])).map(lambda name: (name,)),
    JSON,
)
def test_one_value_that_is_garbage(place: str | tuple[str], value: Any) -> None:
    """It is left out and counted, or tables and checks can be made of it."""
    if isinstance(place, str):
        item = {**GOOD, **WAY_FIELDS, place: value}
    else:
        item = {**GOOD, "checks": [{**GOOD["checks"][0], place[0]: value}]}
    state = State(config(service(WEB, 1)))
    refused = state.restore({"leaving": [item, GOOD]})
    assert refused in (0, 1)
    assert len(state.leaving) + refused in (1, 2)
    state.expire(1_500)
    Planner(state).plan()
    assert json.loads(json.dumps(state.snapshot(), allow_nan=False))


GARBAGE: list[Any] = [None, 7, [], {}, "x"]
# Values of one that leaves that make no sense
CHANGES: list[dict[str, Any]] = [
    {"weight": float("inf")},
    {"weight": 101},
    {"weight": -1},
    {"deadline": float("nan")},
    {"deadline": 1 << 32},
    {"deadline": -1},
    {"drain_timeout": float("inf")},
    {"drain_timeout": 10**400},
    {"on_dead": "explode"},
    {"service": "[2001:db8::1]:80/sctp"},
    {"backend": "2001:db8::2::"},
    {"port": 0},
    {"port": 65536},
    {"tracking": "some"},
    {"forward": "ahead"},
    {"tunnel": "ipip"},
    {"tunnel": {}},
    {"tunnel": {"kind": "l2tp", "port": 1, "checksum": True, "code": 0}},
    {"tunnel": {"kind": "gue", "port": -1, "checksum": True, "code": 0}},
    {"tunnel": {"kind": "dscp", "port": 0, "checksum": True, "code": 64}},
    {"checks": {}, "backend": 10**40},
    {"checks": [{**GOOD["checks"][0], "interval": 0}]},
    {"checks": [{**GOOD["checks"][0], "timeout": float("nan")}]},
    {"checks": [{**GOOD["checks"][0], "port": 65536}]},
    {"checks": [{**GOOD["checks"][0], "rise": 0}]},
]
# A part of a state file that makes no sense, alone beside a good one
WRONG: list[dict[str, Any]] = [
    {"drains": [[str(WEB), "10.1.10.1"]]},
    {"drains": [[str(WEB), "ten", "ann"]]},
    {"drains": [["web", "10.1.10.1", "ann"]]},
    {"drains": [7]},
    {"drains": [None]},
    *[{"leaving": [entry]} for entry in GARBAGE],
    *[{"leaving": [{**GOOD, **change}]} for change in CHANGES],
]


@pytest.mark.parametrize("saved", WRONG)
def test_what_makes_no_sense_is_counted(saved: dict[str, Any]) -> None:
    state = State(config(service(WEB, 1)))
    assert state.restore(saved) == 1
    assert (state.overrides.entries, state.leaving) == ({}, {})
    good = {name: [*items, *([GOOD] if name == "leaving" else [])] for name, items in saved.items()}
    assert state.restore(good) == 1


@pytest.mark.parametrize("saved", [{}, {"drains": {}, "leaving": 7}, {"leaving": None}])
def test_nothing_at_all_is_no_mistake(saved: dict[str, Any]) -> None:
    state = State(config(service(WEB, 1)))
    assert state.restore(saved) == 0


@pytest.mark.parametrize("vip", ["203.0.113.10", "2001:db8:ff::10"])
@pytest.mark.parametrize("backend", ["10.9.0.1", "2001:db8:9::1"])
@pytest.mark.parametrize("tunnel", [None, *(Tunnel(kind, 6080, kind is TunnelKind.GUE, 46) for kind in TunnelKind)])
def test_the_leaving_keep_their_way(vip: str, backend: str, tunnel: Tunnel | None) -> None:
    key = ServiceKey(ip_address(vip), 80, Protocol.TCP)
    behind = Backend(ip_address(backend), port=8080)
    one = Service(key, (behind,), (), sticky=True, tracking=Tracking.ALL, forward=Forward.NAT, tunnel=tunnel)
    state = State(config(one))
    state.reconfigure(config(), START)
    again = State(config())
    assert again.restore(json.loads(json.dumps(state.snapshot()))) == 0
    assert again.services() == state.services()
    assert again.services()[0].tunnel == tunnel


def test_the_checks_of_the_leaving_go_on() -> None:
    state = State(config(service(WEB, 1, 2, checks=(HTTP,))))
    state.reconfigure(config(), START)
    again = State(config())
    again.restore(json.loads(json.dumps(state.snapshot())))
    assert isinstance(again.leaving[WEB, address(1)], Leaving)
    assert {one.checks for one in again.services()} == {(HTTP,)}
