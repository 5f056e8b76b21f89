"""What the host's network looks like. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.model_address import Address, Network


@dataclass(frozen=True)
class Interface:
    """A network interface of the host. `mac` is 6 bytes; `addresses` carry their prefix; `mtu` in bytes.

    `vlan` is set on a VLAN interface, and `parent` is then the index of the one below it. `master` is the index of the
    bond that it is a member of; one on `standby` is kept by it in reserve, and the bond drops what comes in there.
    """

    name: str
    index: int
    mac: bytes
    addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...] = ()
    mtu: int = 1500
    up: bool = True
    vlan: int | None = None
    parent: int = 0
    master: int = 0
    standby: bool = False


@dataclass(frozen=True)
class Route:
    """A route of the host's main table; `gateway` is None where the destination is on the link."""

    prefix: Network
    gateway: Address | None
    interface: int
    metric: int = 0


@dataclass(frozen=True)
class Host:
    """What the host's network looks like at one moment.

    `interfaces` are in the order of the configuration, those missing left out; behind them the VLAN interfaces on top
    of them, and bonds above them. `neighbours` maps (interface index, address) to the 6-byte MAC of every
    neighbour that is resolved. `routes` are those through these interfaces.
    """

    interfaces: tuple[Interface, ...] = ()
    neighbours: Mapping[tuple[int, Address], bytes] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
