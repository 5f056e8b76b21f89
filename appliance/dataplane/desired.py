"""What the tables should say: the plan, in the data plane's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.enums import DeadPolicy, State
from appliance.model import Address, ServiceKey


@dataclass(frozen=True)
class Hop:
    """The way to a backend at layer 2, or to the gateway that leads to it.

    `interface` is the index of the one that frames leave by, `macs` 12 bytes of destination and source MAC, `own` the
    balancer's address of the backend's family, `vlan` the id of the tag they leave with, `mtu` bytes.
    """

    interface: int
    macs: bytes
    own: Address
    vlan: int | None = None
    mtu: int = 1500


@dataclass(frozen=True)
class Member:
    """A backend of a service. `weight` counts only while the state is AVAILABLE; no hop: the MAC is not known yet.

    `source` is where its probes come from: the balancer's address of the VIP's family; None where that is `hop.own`.
    """

    address: Address
    weight: int
    state: State
    hop: Hop | None = None
    source: Address | None = None


@dataclass(frozen=True)
class DesiredService:
    """A service; members sorted by address. `grace` is the time in seconds after which `was` follows `now`.

    Without `tracking`, slots change at once and nothing is remembered; with `remember_all`, every flow is. Where it is
    `sticky`, ports have no part in the choice of a backend.
    """

    key: ServiceKey
    members: tuple[Member, ...]
    grace: int
    on_dead: DeadPolicy = DeadPolicy.RESELECT
    tracking: bool = True
    remember_all: bool = False
    sticky: bool = False


PROBER6 = IPv6Address("fd76:6335:0:1::1")


@dataclass(frozen=True)
class ProbeLink:
    """The probe veth as the program sees it: interface index, 12 bytes of MACs towards the prober, its addresses."""

    interface: int
    macs: bytes
    address: IPv4Address
    address6: IPv6Address = PROBER6


@dataclass(frozen=True)
class Desired:
    """The whole content of the tables, but for what history decides (who was where before)."""

    services: tuple[DesiredService, ...] = ()
    vips: Mapping[Address, bool] = field(default_factory=dict)
    """Which VIPs exist, and whether they are up."""
    seed: bytes = bytes(16)
    idle: int = 900
    pass_unknown_port: bool = False
    probe: ProbeLink | None = None
