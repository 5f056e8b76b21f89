"""By which interface frames leave where a route names another."""

from __future__ import annotations

import pytest

from appliance.control.outlets import outlets
from appliance.dataplane.desired import Outlet
from appliance.model import Config, Host, Interface

MAC = bytes(6)
ETH0, ETH1 = Interface("eth0", 2, MAC), Interface("eth1", 3, MAC, mtu=9000)
BOND = Interface("bond0", 9, MAC)
SLAVE0, SLAVE1 = Interface("eth0", 2, MAC, master=9), Interface("eth1", 3, MAC, master=9)
DOWN0 = Interface("eth0", 2, MAC, master=9, up=False)
DOWN1 = Interface("eth1", 3, MAC, master=9, up=False)
RESERVE0 = Interface("eth0", 2, MAC, master=9, standby=True)
CASES = {
    "one": ((ETH0,), {2: Outlet(2)}),
    "another-mtu": ((ETH0, ETH1), {2: Outlet(2), 3: Outlet(3, None, 9000)}),
    "a-vlan": ((ETH0, Interface("eth0.7", 5, MAC, vlan=7, parent=2)), {2: Outlet(2), 5: Outlet(2, 7)}),
    "a-bond": ((SLAVE0, SLAVE1, BOND), {2: Outlet(2), 3: Outlet(3), 9: Outlet(2)}),
    "a-bond-with-a-dead-member": ((DOWN0, SLAVE1, BOND), {2: Outlet(2), 3: Outlet(3), 9: Outlet(3)}),
    "a-bond-with-a-reserve": ((RESERVE0, SLAVE1, BOND), {2: Outlet(2), 3: Outlet(3), 9: Outlet(3)}),
    "a-bond-with-a-reserve-alone": ((RESERVE0, DOWN1, BOND), {2: Outlet(2), 3: Outlet(3), 9: Outlet(2)}),
    "a-vlan-on-a-bond": (
        (SLAVE0, SLAVE1, BOND, Interface("bond0.7", 11, MAC, vlan=7, parent=9)),
        {2: Outlet(2), 3: Outlet(3), 9: Outlet(2), 11: Outlet(2, 7)},
    ),
    "a-stranger": ((ETH0, Interface("wan", 4, MAC), Interface("wan.7", 6, MAC, vlan=7, parent=4)), {2: Outlet(2)}),
}


@pytest.mark.parametrize(("interfaces", "expected"), CASES.values(), ids=CASES)
def test_outlets(interfaces: tuple[Interface, ...], expected: dict[int, Outlet]) -> None:
    assert outlets(Config(("eth0", "eth1")), Host(interfaces)) == expected
