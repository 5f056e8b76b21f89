"""A host as a file describes it: VLAN interfaces, bonds, routes, both families; every mistake with its place."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.described import read_host
from appliance.control.ways import Ways
from appliance.errors import ControlError
from appliance.model import Config, Host, Interface, Mode, Route
from tests.unit.control.networks import TAGGED, config, interface, route

MAC = "02:00:00:00:00:01"
ETH0: dict[str, Any] = {"name": "eth0", "mac": MAC}
VLAN10 = {"name": "eth0.10", "mac": MAC, "vlan": 10, "addresses": ["10.1.10.5/24", "2001:db8:10::5/64"]}
VLAN20 = {"name": "office", "mac": MAC, "vlan": 20, "addresses": ["10.1.20.5/24"], "mtu": 1400}
SIMPLE, TWO = config(Mode.SIMPLE, "eth0"), config(Mode.VLAN, "eth0 eth1")


def read(place: Path, content: dict[str, Any], configured: Config) -> Host:
    place.joinpath("H.json").write_text(json.dumps(content), encoding="ascii")
    return read_host(place / "H.json", configured)


def made(name: str, index: int, *addresses: str, **more: Any) -> Interface:
    return replace(interface(name, index, *addresses, **more), mac=bytes.fromhex(MAC.replace(":", "")))


TEN = ("10.1.10.5/24", "2001:db8:10::5/64")

# Configuration, the described interfaces -> the host's
INTERFACES: dict[str, tuple[Config, list[dict[str, Any]], tuple[Interface, ...]]] = {
    "plain": (
        SIMPLE, [ETH0 | {"addresses": ["10.1.0.5/16"], "mtu": 9000}], (made("eth0", 1, "10.1.0.5/16", mtu=9000),)),
    "null is no VLAN": (SIMPLE, [ETH0 | {"vlan": None}], (made("eth0", 1),)),
    "down": (SIMPLE, [ETH0 | {"up": False}], (made("eth0", 1, up=False),)),
    "on standby": (SIMPLE, [ETH0 | {"standby": True}], (replace(made("eth0", 1), standby=True),)),
    "others are left out": (SIMPLE, [{"name": "eth9", "mac": MAC}, ETH0], (made("eth0", 2),)),
    "VLANs on top, by name and as the first": (
        TAGGED,
        [VLAN10, ETH0, VLAN20],
        (made("eth0", 2), made("eth0.10", 1, *TEN, vlan=10, parent=2),
         made("office", 3, "10.1.20.5/24", vlan=20, parent=2, mtu=1400)),
    ),
    "VLANs of others are left out": (
        TAGGED, [ETH0, {"name": "eth9", "mac": MAC}, VLAN10 | {"name": "eth9.10"}], (made("eth0", 1),)),
    "VLANs by parent": (
        TWO,
        [ETH0, ETH0 | {"name": "eth1"}, VLAN10 | {"name": "ten", "parent": "eth1"}],
        (made("eth0", 1), made("eth1", 2), made("ten", 3, *TEN, vlan=10, parent=2)),
    ),
    "VLANs that go by the name of the interface below": (
        TAGGED,
        [VLAN10 | {"name": "eth0"}, VLAN20 | {"name": "eth0"}],
        (made("eth0", 3), made("eth0.10", 1, *TEN, vlan=10, parent=3),
         made("eth0.20", 2, "10.1.20.5/24", vlan=20, parent=3, mtu=1400)),
    ),
    "the same, beside the interface below": (
        TAGGED, [ETH0, VLAN10 | {"name": "eth0"}], (made("eth0", 1), made("eth0.10", 2, *TEN, vlan=10, parent=1))),
    "a VLAN interface that is itself configured": (
        config(Mode.SIMPLE, "eth0.10"), [VLAN10], (made("eth0.10", 1, *TEN, vlan=10),)),
    "a bond": (
        TWO,
        [ETH0 | {"master": "bond0"}, ETH0 | {"name": "eth1", "master": "bond0"}, ETH0 | {"name": "bond0"},
         VLAN10 | {"name": "bond0.10"}],
        (made("eth0", 1, master=3), made("eth1", 2, master=3), made("bond0.10", 4, *TEN, vlan=10, parent=3),
         made("bond0", 3)),
    ),
    "no interfaces configured": (
        Config(), [VLAN10, ETH0], (made("eth0", 2), made("eth0.10", 1, *TEN, vlan=10, parent=2))),
}  # fmt: skip


@pytest.mark.parametrize(("configured", "described", "expected"), INTERFACES.values(), ids=INTERFACES)
def test_interfaces(
    tmp_path: Path, configured: Config, described: list[dict[str, Any]], expected: tuple[Interface, ...]
) -> None:
    assert read(tmp_path, {"interfaces": described}, configured).interfaces == expected


# A described route -> the host's, where eth0 is number 1, its VLAN 10 number 2 and an interface of no interest number 3
ROUTES: list[tuple[dict[str, Any], tuple[Route, ...]]] = [
    ({"via": "10.1.0.1", "interface": "eth0"}, (route("0.0.0.0/0", "10.1.0.1", 1),)),
    ({"via": "10.1.10.1", "interface": "eth0", "vlan": 10}, (route("0.0.0.0/0", "10.1.10.1", 2),)),
    ({"via": "10.1.10.1", "interface": "eth0.10"}, (route("0.0.0.0/0", "10.1.10.1", 2),)),
    ({"via": "10.1.10.1", "interface": "eth0.10", "vlan": 10}, (route("0.0.0.0/0", "10.1.10.1", 2),)),
    ({"prefix": "::/0", "via": "fe80::1", "interface": "eth0", "metric": 7}, (route("::/0", "fe80::1", 1, 7),)),
    ({"prefix": "10.9.0.0/16", "via": None, "interface": "eth0", "vlan": None}, (route("10.9.0.0/16", "", 1),)),
    ({"via": "10.1.0.1", "interface": "eth9"}, ()),
]


@pytest.mark.parametrize(("described", "expected"), ROUTES)
def test_routes(tmp_path: Path, described: dict[str, Any], expected: tuple[Route, ...]) -> None:
    content = {
        "interfaces": [ETH0, VLAN10, {"name": "eth9", "mac": MAC}],
        "routes": [{"prefix": "0.0.0.0/0"} | described],
    }
    assert read(tmp_path, content, TAGGED).routes == expected


def test_a_described_host_has_ways(tmp_path: Path) -> None:
    content = {
        "interfaces": [ETH0, VLAN10],
        "routes": [{"prefix": "0.0.0.0/0", "via": "10.1.10.1", "interface": "eth0", "vlan": 10}],
        "neighbours": {"2001:db8:10::b": "02:00:00:00:00:0b", "10.1.10.1": "02:00:00:00:00:01"},
    }
    found = read(tmp_path, content, TAGGED)
    for backend, remote in (("2001:db8:10::b", False), ("198.51.100.1", True)):
        hop = Ways(TAGGED, found).to(ip_address(backend), remote=remote).hop(found.neighbours)
        assert hop is not None
        assert (hop.interface, hop.vlan) == (1, 10)


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"interfaces": [ETH0 | {"vlan": 0}]}, "interfaces[0].vlan: must be a VLAN id from 1 to 4094, or null, not 0"),
    ({"interfaces": [ETH0 | {"vlan": 4095}]}, "interfaces[0].vlan: must be a VLAN id"),
    ({"interfaces": [ETH0 | {"vlan": True}]}, "interfaces[0].vlan: must be a VLAN id"),
    ({"interfaces": [ETH0 | {"vlan": "10"}]}, "interfaces[0].vlan: must be a VLAN id"),
    ({"interfaces": [ETH0 | {"up": 1}]}, "interfaces[0].up: must be true or false, not 1"),
    ({"interfaces": [ETH0 | {"standby": "no"}]}, 'interfaces[0].standby: must be true or false, not "no"'),
    ({"interfaces": [ETH0, VLAN10 | {"parent": "eth7"}]}, "interfaces[1].parent: must name one of the interfaces"),
    ({"interfaces": [ETH0, VLAN10 | {"parent": []}]}, "interfaces[1].parent: must name one of the interfaces"),
    ({"interfaces": [ETH0 | {"master": 7}]}, "interfaces[0].master: must name one of the interfaces"),
    ({"routes": 7}, "routes: must be a JSON list, not 7"),
    ({"routes": [7]}, "routes[0]: must be a JSON object, not 7"),
    ({"routes": [{}]}, "routes[0].prefix: must be a text, not null"),
    ({"routes": [{"prefix": "10.0.0.1/8"}]}, "routes[0].prefix: 10.0.0.1/8 has host bits set"),
    ({"routes": [{"prefix": "::/0", "via": 7}]}, "routes[0].via: must be a text, not 7"),
    ({"routes": [{"prefix": "::/0", "via": "x"}]}, "routes[0].via: 'x' does not appear to be"),
    ({"routes": [{"prefix": "::/0", "metric": -1}]}, "routes[0].metric: must be a whole number"),
    ({"routes": [{"prefix": "::/0", "interface": "eth7"}]}, 'routes[0].interface: there is no interface "eth7" in'),
    (
        {"interfaces": [ETH0], "routes": [{"prefix": "::/0", "interface": "eth0", "vlan": 9}]},
        'routes[0].interface: there is no interface "eth0" with VLAN 9 in',
    ),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_mistakes_are_named_with_their_place(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(ControlError) as caught:
        read(tmp_path, content, TAGGED)
    assert message in str(caught.value)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 5000), st.sampled_from(["eth0", "eth0.10", MAC, "10.0.0.0/8", "::1", ""])
)
NAMES = ["interfaces", "routes", "neighbours", "health", "name", "mac", "vlan", "parent", "master", "prefix", "via"]
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(["name", "vlan", "parent", "master", "up", "standby"]), LEAVES)
NEAR = st.builds(lambda first, second: {**ETH0, **first, **second}, st.sampled_from([{}, VLAN10, VLAN20]), FIELDS)
NEAR_ROUTES = st.dictionaries(st.sampled_from(["prefix", "via", "interface", "vlan", "metric"]), LEAVES)
NEARLY = st.fixed_dictionaries(
    {}, optional={"interfaces": st.lists(NEAR, max_size=4), "routes": st.lists(NEAR_ROUTES, max_size=2)}
)


@given(st.one_of(ANYTHING, NEARLY), st.sampled_from([SIMPLE, TAGGED, TWO, Config()]))
def test_nonsense_is_a_clear_error_or_a_host_that_can_be_asked(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], configured: Config
) -> None:
    try:
        found = read(tmp_path_factory.getbasetemp(), content, configured)
    except ControlError:
        return
    ways = Ways(configured, found)
    for backend in ("10.1.10.1", "2001:db8:10::1"):
        way = ways.to(ip_address(backend), remote=True)
        assert (way.trouble is None) is (way.neighbour is not None)
