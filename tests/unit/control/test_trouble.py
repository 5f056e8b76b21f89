"""What is a trouble, and when it becomes an alarm: when it begins, and when it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.control.instance import Instance
from appliance.control.state import State
from appliance.control.trouble import (
    Lack,
    Trouble,
    alarms,
    awaited,
    of_interfaces,
    of_mtu,
    overhead,
    summaries,
    without_ipv6,
)
from appliance.control.ways import Ways
from appliance.dataplane.sync import DataPlane
from appliance.model import (
    Backend,
    Check,
    CheckKind,
    Config,
    Host,
    Mode,
    Protocol,
    Service,
    ServiceKey,
    Tunnel,
    TunnelKind,
)
from appliance.paths import root
from tests.unit.control.networks import LAN, MULTI, NICS, SIMPLE, config, down, host, interface, without
from tests.unit.control.sample import Planner

FOUR, SIX = "203.0.113.10", "2001:db8:ff::10"
NEAR4, NEAR6, FAR4 = "10.1.10.1", "2001:db8:1::1", "10.9.0.1"


def service(vip: str, *backends: str, kind: TunnelKind | None = None) -> Service:
    tunnel = None if kind is None else Tunnel(kind, 5555)
    addresses = tuple(Backend(ip_address(backend)) for backend in backends)
    return Service(ServiceKey(ip_address(vip), 80, Protocol.TCP), addresses, (), tunnel=tunnel)


# Kind -> bytes more over IPv4, and over IPv6
GROWTH = {
    None: (0, 0),
    TunnelKind.IPIP: (20, 40),
    TunnelKind.GRE: (24, 44),
    TunnelKind.FOU: (28, 48),
    TunnelKind.GUE: (32, 52),
    TunnelKind.DSCP: (0, 0),
}


@pytest.mark.parametrize("kind", [None, *TunnelKind])
def test_how_much_packets_grow(kind: TunnelKind | None) -> None:
    for vip in (FOUR, SIX):
        found = tuple(overhead(service(vip, kind=kind), ip_address(backend)) for backend in (NEAR4, NEAR6))
        assert found == GROWTH[kind]


@pytest.mark.parametrize("kind", list(TunnelKind))
@pytest.mark.parametrize(("vip", "least"), [(FOUR, 576), (SIX, 1280)])
@pytest.mark.parametrize(("backend", "outer"), [(NEAR4, 0), (NEAR6, 1)])
def test_the_least_mtu_of_a_tunnel(kind: TunnelKind, vip: str, least: int, backend: str, outer: int) -> None:
    one, need = service(vip, kind=kind), least + GROWTH[kind][outer]
    assert of_mtu(one, ip_address(backend), need, Mode.VLAN) is None
    assert of_mtu(one, ip_address(backend), 1500, Mode.VLAN) is None
    assert of_mtu(one, ip_address(backend), 0, Mode.VLAN) is None
    found = of_mtu(one, ip_address(backend), need - 1, Mode.VLAN)
    if kind is TunnelKind.DSCP:
        assert found is None
        return
    assert found is not None
    assert found.lack is Lack.MTU
    for word in (str(one.key), backend, str(kind), str(need), str(need - 1), "mode vlan"):
        assert word in found.text


INTERFACES: list[tuple[Host, list[tuple[Lack, str]]]] = [
    (host(NICS), []),
    (without(host(NICS), "eth1"), []),
    (down(host(NICS), "eth0", "eth2"), [(Lack.INTERFACE_DOWN, "eth0"), (Lack.INTERFACE_DOWN, "eth2")]),
    (host([]), []),
]


@pytest.mark.parametrize(("found", "expected"), INTERFACES)
def test_interfaces(found: Host, expected: list[tuple[Lack, str]]) -> None:
    assert [(trouble.lack, trouble.entry) for trouble in of_interfaces(MULTI, found)] == expected


# Host, next hops ("INDEX ADDRESS") -> what is waited for; the configuration has eth0, eth1 and eth2
AWAITED: list[tuple[Host, list[str], list[str]]] = [
    (host(NICS), [], []),
    (host([]), [], ["interface eth0 (does not exist), eth1 (does not exist) and eth2 (does not exist)"]),
    (down(without(host(NICS), "eth1"), "eth0"), [], ["interface eth1 (does not exist) and eth0 (down)"]),
    (host(NICS, ["2 10.1.10.11"]), ["2 10.1.10.11"], []),
    (host(NICS, ["3 10.1.10.11"]), ["2 10.1.10.11"], ["the MAC address of 10.1.10.11"]),
    (
        down(host(NICS), "eth2"),
        ["2 2001:db8::1", *(f"2 10.1.10.{number}" for number in (12, 9, 11, 10)), "3 10.1.10.9"],
        ["interface eth2 (down)", "the MAC address of 10.1.10.9, 10.1.10.10, 10.1.10.11 and 2 more"],
    ),
]


@pytest.mark.parametrize(("found", "hops", "expected"), AWAITED)
def test_what_is_waited_for(found: Host, hops: list[str], expected: list[str]) -> None:
    pairs = [(int(index), ip_address(address)) for index, _, address in (hop.partition(" ") for hop in hops)]
    assert awaited(MULTI, found, pairs) == expected


# Configuration and host -> the troubles, each (what, whose)
ALL: dict[str, tuple[Config, Host, set[tuple[Lack, str]]]] = {
    "none": (replace(SIMPLE, services=(service(FOUR, NEAR4, NEAR6),)), host([LAN]), set()),
    "each backend in no network, once for all services": (
        replace(SIMPLE, services=(service(FOUR, FAR4, NEAR4), service(SIX, FAR4))),
        host([LAN]),
        {(Lack.NO_NETWORK, FAR4)},
    ),
    "an interface that is down, once for all its backends": (
        replace(SIMPLE, services=(service(FOUR, NEAR4, NEAR6, "10.1.10.2"),)),
        down(host([LAN]), "eth0"),
        {(Lack.INTERFACE_DOWN, "eth0")},
    ),
    "a tunnel without a route": (
        replace(SIMPLE, services=(service(FOUR, FAR4, kind=TunnelKind.GRE),)),
        host([LAN]),
        {(Lack.NO_ROUTE, FAR4)},
    ),
    "remote with a tunnel, not without": (
        replace(SIMPLE, services=(service(FOUR, FAR4, kind=TunnelKind.GRE), service(SIX, FAR4))),
        host([LAN]),
        {(Lack.NO_ROUTE, FAR4), (Lack.NO_NETWORK, FAR4)},
    ),
    "a small MTU": (
        replace(SIMPLE, services=(service(SIX, NEAR4, NEAR6, kind=TunnelKind.IPIP),)),
        host([replace(LAN, mtu=1310)]),
        {(Lack.MTU, f"[{SIX}]:80/tcp {NEAR6}")},
    ),
    "nowhere to send probes from": (
        replace(SIMPLE, services=(service(SIX, NEAR4, "10.1.10.2"),)),
        host([interface("eth0", 2, "10.1.0.5/16")]),
        {(Lack.NO_ADDRESS, f"[{SIX}]:80/tcp")},
    ),
}


@pytest.mark.parametrize(("configured", "found", "expected"), ALL.values(), ids=ALL)
def test_troubles(configured: Config, found: Host, expected: set[tuple[Lack, str]]) -> None:
    assert {(trouble.lack, trouble.entry) for trouble in Ways(configured, found).troubles} == expected


def test_a_mac_that_is_not_known_is_no_alarm() -> None:
    planner = Planner(State(replace(SIMPLE, services=(service(FOUR, NEAR4),))), host=host([LAN]))
    assert planner.plan().troubles == frozenset()


def test_what_leaves_is_no_trouble() -> None:
    state = State(replace(SIMPLE, services=(service(FOUR, FAR4, NEAR4),)))
    state.reconfigure(replace(SIMPLE, services=(service(FOUR, NEAR4),)), 100)
    assert Planner(state, host=host([LAN])).plan().troubles == frozenset()


def test_too_small_an_mtu_does_not_stop_the_rest() -> None:
    one = replace(SIMPLE, services=(service(SIX, NEAR4, kind=TunnelKind.IPIP),))
    made = Planner(State(one), host=host([replace(LAN, mtu=1299)], [f"2 {NEAR4}"])).plan()
    assert {trouble.lack for trouble in made.troubles} == {Lack.MTU}
    assert made.desired.services[0].members[0].hop is not None


def trouble(entry: str, lack: Lack = Lack.NO_NETWORK, text: str = "") -> Trouble:
    return Trouble(lack, entry, text or f"backend {entry} is lost")


A, B, C, D, E = (trouble(letter) for letter in "abcde")
OFF = trouble("eth0", Lack.INTERFACE_DOWN, "interface eth0 is down")

# Before, after -> (outcome, message, entries) of each alarm
CHANGES: list[tuple[set[Trouble], set[Trouble], list[tuple[str, str, list[str]]]]] = [
    (set(), set(), []),
    ({A, OFF}, {A, OFF}, []),
    (set(), {A}, [("began", "backend a is lost", ["a"])]),
    ({A}, set(), [("over", "over: backend a is lost", ["a"])]),
    ({A}, {A, B}, [("began", "backend b is lost", ["b"])]),
    ({A}, {trouble("a", text="in other words")}, []),
    (set(), {B, A, C}, [("began", "backend a is lost; and 2 more: b, c", ["a", "b", "c"])]),
    (set(), {A, B, C, D, E}, [("began", "backend a is lost; and 4 more: b, c, d, ...", ["a", "b", "c", "d", "e"])]),
    (
        {A, OFF},
        {B},
        [
            ("began", "backend b is lost", ["b"]),
            ("over", "over: interface eth0 is down", ["eth0"]),
            ("over", "over: backend a is lost", ["a"]),
        ],
    ),
]


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_alarms(before: set[Trouble], after: set[Trouble], expected: list[tuple[str, str, list[str]]]) -> None:
    found = alarms(frozenset(before), frozenset(after))
    assert [(alarm.outcome, alarm.message, alarm.details["entries"]) for alarm in found] == expected
    assert all(json.loads(json.dumps(alarm.details)) == alarm.details for alarm in found)


def test_a_thousand_troubles_are_one_alarm_of_bounded_size() -> None:
    many = frozenset(trouble(f"10.9.{number // 256}.{number % 256}") for number in range(1000))
    (alarm,) = alarms(frozenset(), many)
    assert alarm.details["count"] == 1000
    assert len(alarm.message) < 200
    assert len(alarm.details["entries"]) == 100
    assert summaries(many) == [alarm.message]


def test_an_instance_tells_of_each_trouble_once_and_recovers(tmp_path: Path) -> None:
    planner = Planner(State(replace(config(Mode.SIMPLE, "eth0"), services=(service(FOUR, NEAR4),))))
    planner.host = well = host([LAN], [f"2 {NEAR4}"])
    instance = Instance(root(str(tmp_path)), DataPlane(tmp_path, None, 1, pinned=False), planner.state, lambda: well)
    story = [(well, []), (without(well, "eth0"), ["began"]), (down(well, "eth0"), ["began", "over"])]
    for found, outcomes in [*story, (well, ["over"]), (well, [])]:
        planner.host = found
        instance.current = planner.plan()
        assert [alarm.outcome for alarm in instance.alarms()] == outcomes
        assert instance.alarms() == []
        hop = instance.current.desired.services[0].members[0].hop
        assert (hop is not None) is (found is well)


def test_what_a_kernel_without_ipv6_cannot_check() -> None:
    check = Check(CheckKind.SYN, 80)
    checked = [replace(service(vip, NEAR6), checks=(check,)) for vip in (FOUR, SIX)]
    assert without_ipv6([checked[0], service(SIX, NEAR6)]) == frozenset()
    [trouble] = without_ipv6(checked)
    assert (trouble.lack, trouble.entry) == (Lack.NO_IPV6, f"[{SIX}]:80/tcp")
    assert trouble.text.startswith(f"[{SIX}]:80/tcp: this kernel has no IPv6, so its backends cannot be checked; boot")
