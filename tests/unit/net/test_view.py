"""What the kernel says, put together."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from appliance.model import Host, Interface, Route
from appliance.net.links import Link
from appliance.net.routes import NexthopNews, Path, RouteNews, Way
from appliance.net.view import Message, Neighbour, NeighbourState, OwnAddress, View

MAC = bytes.fromhex("020000000001")
OTHER_MAC = bytes.fromhex("020000000002")
ETH0 = Link(5, "eth0", MAC, 1500, up=True)
ETH1 = Link(4, "eth1", OTHER_MAC, 9000, up=False)
OWN = ip_interface("192.0.2.1/24")
NEXT_HOP = ip_address("192.0.2.7")
NUD = NeighbourState


def filled(*messages: Message) -> View:
    view = View(("eth0", "eth1"))
    for message in messages:
        view.apply(message)
    return view


def neighbour(state: NeighbourState, mac: bytes = MAC) -> Neighbour:
    return Neighbour(5, NEXT_HOP, mac, state)


def test_interfaces_are_in_the_order_of_the_configuration_and_others_left_out() -> None:
    view = filled(Link(1, "lo", b"", 65536, up=True), ETH1, ETH0, OwnAddress(5, OWN))
    assert view.snapshot().interfaces == (
        Interface("eth0", 5, MAC, (OWN,), 1500, True),
        Interface("eth1", 4, OTHER_MAC, (), 9000, False),
    )


def test_address_may_come_before_its_link() -> None:
    assert filled(OwnAddress(5, OWN), ETH0).snapshot().interfaces[0].addresses == (OWN,)


@pytest.mark.parametrize("state", [NUD.STALE, NUD.DELAY, NUD.PROBE, NUD.REACHABLE, NUD.PERMANENT, NUD.NOARP])
def test_usable_entries_are_neighbours(state: NeighbourState) -> None:
    view = filled(ETH0, neighbour(state))
    assert view.snapshot().neighbours == {(5, NEXT_HOP): MAC}
    assert view.state(5, NEXT_HOP) is state


@pytest.mark.parametrize("state", [NUD.INCOMPLETE, NUD.FAILED, NUD.NONE])
def test_unusable_entries_are_none(state: NeighbourState) -> None:
    view = filled(ETH0, neighbour(NUD.REACHABLE), neighbour(state))
    assert view.snapshot().neighbours == {}
    assert view.state(5, NEXT_HOP) is state


CHANGES = [
    pytest.param(ETH0, False, id="the same link again"),
    pytest.param(Link(5, "eth0", MAC, 1500, up=False), True, id="link down"),
    pytest.param(Link(5, "eth0", OTHER_MAC, 1500, up=True), True, id="own MAC"),
    pytest.param(Link(5, "eth0", MAC, 1400, up=True), True, id="MTU"),
    pytest.param(Link(5, "eth9", MAC, 1500, up=True), True, id="renamed away"),
    pytest.param(Link(5, gone=True), True, id="link gone"),
    pytest.param(Link(9, "wlan0", MAC, 1500, up=True), False, id="link of no concern"),
    pytest.param(Link(9, gone=True), False, id="unknown link gone"),
    pytest.param(OwnAddress(5, OWN), False, id="the same address again"),
    pytest.param(OwnAddress(5, ip_interface("2001:db8::1/64")), True, id="one more address"),
    pytest.param(OwnAddress(5, OWN, gone=True), True, id="address gone"),
    pytest.param(OwnAddress(5, ip_interface("192.0.2.1/25"), gone=True), False, id="unknown address gone"),
    pytest.param(OwnAddress(9, OWN), False, id="address of no concern"),
    pytest.param(neighbour(NUD.STALE), False, id="same MAC, only older"),
    pytest.param(neighbour(NUD.REACHABLE, OTHER_MAC), True, id="MAC of a neighbour"),
    pytest.param(neighbour(NUD.FAILED), True, id="neighbour failed"),
    pytest.param(neighbour(NUD.REACHABLE, b""), True, id="neighbour without MAC"),
    pytest.param(Neighbour(5, NEXT_HOP), True, id="neighbour gone"),
    pytest.param(Neighbour(9, NEXT_HOP, MAC, NUD.REACHABLE), False, id="neighbour of no concern"),
]


@pytest.mark.parametrize(("message", "changed"), CHANGES)
def test_only_a_visible_change_makes_a_new_snapshot(message: Message, changed: bool) -> None:
    view = filled(ETH0, OwnAddress(5, OWN), neighbour(NUD.REACHABLE))
    before = view.snapshot()
    view.apply(message)
    assert (view.snapshot() != before) is changed
    assert (view.snapshot() is before) is not changed


def test_a_recreated_interface_starts_without_the_neighbours_of_the_old() -> None:
    view = filled(ETH0, OwnAddress(5, OWN), neighbour(NUD.REACHABLE), Link(5, gone=True), Link(5, "eth0", MAC, 1500))
    assert view.snapshot().interfaces == (Interface("eth0", 5, MAC, (), 1500, False),)
    assert view.snapshot().neighbours == {}
    assert view.state(5, NEXT_HOP) is NUD.NONE


def test_a_snapshot_does_not_change_afterwards() -> None:
    view = filled(ETH0, neighbour(NUD.REACHABLE))
    before = view.snapshot()
    view.apply(neighbour(NUD.FAILED))
    assert before.neighbours == {(5, NEXT_HOP): MAC}


WAY = Path((Way(5, NEXT_HOP.packed),))
EVERYWHERE = (bytes(4), 0, 0)
ROUTE = RouteNews(EVERYWHERE, (WAY,))
VLAN = Link(6, "eth0.10", MAC, 1500, up=True, enabled=True, kind="vlan", vlan=10, parent=5)
OWN_6 = ip_interface("2001:db8::1/64")


def complete(*messages: Message) -> View:
    """A view after a dump."""
    view = filled(Link(5, "eth0", MAC, 1500, up=True, enabled=True), VLAN, OwnAddress(5, OWN), OwnAddress(6, OWN_6))
    view.forget_routes()
    for message in (ROUTE, Neighbour(6, NEXT_HOP, MAC, NUD.REACHABLE), *messages):
        view.apply(message)
    assert view.lacking
    view.lacking = False
    return view


def test_vlan_interfaces_bring_their_own_addresses_neighbours_and_routes() -> None:
    host = complete(RouteNews((bytes(16), 0, 0), (Path((Way(6),)),))).snapshot()
    assert host.interfaces == (
        Interface("eth0", 5, MAC, (OWN,)),
        Interface("eth0.10", 6, MAC, (OWN_6,), vlan=10, parent=5),
    )
    assert host.neighbours == {(6, NEXT_HOP): MAC}
    assert host.routes == (
        Route(ip_network("0.0.0.0/0"), NEXT_HOP, 5),
        Route(ip_network("::/0"), None, 6),
    )


@pytest.mark.parametrize(
    ("message", "lacking", "stale"),
    [
        pytest.param(Link(5, "eth0", MAC, 1500, enabled=True), False, True, id="carrier lost"),
        pytest.param(Link(5, "eth0", MAC, 1500), False, True, id="down"),
        pytest.param(Link(5, "eth0", OTHER_MAC, 1400, up=True, enabled=True), False, False, id="MAC and MTU"),
        pytest.param(Link(5, gone=True), False, False, id="gone"),
        pytest.param(Link(9, "eth1", MAC, 1500), True, False, id="came"),
        pytest.param(Link(9, "eth9", MAC, 1500), False, False, id="of no concern"),
        pytest.param(Link(9, "v", MAC, 1500, kind="vlan", vlan=7, parent=5), True, False, id="VLAN came"),
        pytest.param(OwnAddress(5, OWN, gone=True), False, True, id="address gone"),
        pytest.param(OwnAddress(5, ip_interface("192.0.2.9/24"), gone=True), False, False, id="unknown address gone"),
        pytest.param(OwnAddress(6, OWN_6, gone=True), False, False, id="IPv6 address gone"),
        pytest.param(OwnAddress(5, ip_interface("192.0.2.9/24")), False, False, id="address came"),
        pytest.param(NexthopNews(1), False, False, id="nexthop of no concern"),
    ],
)
def test_what_must_be_asked_for_again(message: Message, lacking: bool, stale: bool) -> None:
    view = complete()
    view.apply(message)
    view.snapshot()
    assert (view.lacking, view.routes.stale) == (lacking, stale)


def test_an_interface_that_went_and_came_under_its_index_is_asked_for_anew() -> None:
    view = complete()
    before = view.snapshot()
    view.apply(Link(6, gone=True))
    view.apply(VLAN)
    assert view.snapshot().neighbours == {}
    assert view.lacking
    view = complete()
    view.apply(Link(5, "eth9", MAC, 1500, up=True, enabled=True))
    assert view.snapshot() == Host()
    view.apply(Link(5, "eth0", MAC, 1500, up=True, enabled=True))
    assert view.snapshot().interfaces == before.interfaces
    assert view.snapshot().routes == ()
    assert view.lacking


def test_neighbours_and_routes_of_a_vanished_vlan_go_and_others_stay() -> None:
    view = complete(Neighbour(5, NEXT_HOP, MAC, NUD.REACHABLE), RouteNews((bytes(16), 0, 0), (Path((Way(6),)),)))
    view.apply(Link(6, gone=True))
    host = view.snapshot()
    assert (host.neighbours, [route.interface for route in host.routes]) == ({(5, NEXT_HOP): MAC}, [5])


def test_equal_routes_asked_for_again_are_no_new_snapshot() -> None:
    view = complete()
    before = view.snapshot()
    view.forget_routes()
    view.apply(ROUTE)
    assert view.snapshot() is before
    view.forget_routes()
    assert view.snapshot().routes == ()


def test_thousands_of_vlans_are_taken_in_at_once() -> None:
    """Were all worked out anew with every message, this would take minutes."""
    view = View(["eth0"])
    view.apply(ETH0)
    for number in range(1, 4095):
        view.apply(Link(100 + number, f"eth0.{number}", MAC, 1500, kind="vlan", vlan=number, parent=5))
        view.apply(OwnAddress(100 + number, OWN))
    assert [interface.vlan for interface in view.snapshot().interfaces] == [None, *range(1, 4095)]
