"""How frames leave where a route names an interface: a configured one, a bond above it, or a VLAN on either. Pure."""

from __future__ import annotations

from appliance.dataplane.desired import Outlet
from appliance.model import Config, Host, Interface


def outlets(config: Config, host: Host) -> dict[int, Outlet]:
    """Return the outlet of each interface that frames can leave by, by its index.

    What a bond or a VLAN interface holds leaves by the first configured interface below it that is up, rather not one
    that the bond keeps in reserve; else by the first.
    """
    configured = [interface for interface in host.interfaces if interface.name in config.interfaces]
    below: dict[int, Interface] = {}
    for interface in sorted(configured, key=lambda one: (not one.up, one.standby)):
        below.setdefault(interface.index, interface)
        if interface.master:
            below.setdefault(interface.master, interface)
    found = {}
    for interface in host.interfaces:
        if interface.index in below:
            found[interface.index] = Outlet(below[interface.index].index, None, interface.mtu)
        elif interface.vlan is not None and interface.parent in below:
            found[interface.index] = Outlet(below[interface.parent].index, interface.vlan, interface.mtu)
    return found
