"""What the kernel says, put together."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from appliance.model import Interface
from appliance.net.links import Link
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
