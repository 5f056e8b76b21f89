"""What the tables should say: the plan, in the data plane's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.enums import DeadPolicy, State
from appliance.model import Address, Forward, Network, ServiceKey, Tunnel


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
class Outlet:
    """The interface, by index, and the tag with which frames leave; `mtu` in bytes."""

    interface: int
    vlan: int | None = None
    mtu: int = 1500


@dataclass(frozen=True)
class Member:
    """A backend of a service. `weight` counts only while the state is AVAILABLE; no hop: the MAC is not known yet.

    `source` is where its probes come from: the balancer's address of the VIP's family; None where that is `hop.own`.
    `port` is where a backend behind NAT listens; None: the service's own.
    """

    address: Address
    weight: int
    state: State
    hop: Hop | None = None
    source: Address | None = None
    port: int | None = None


@dataclass(frozen=True)
class DesiredService:
    """A service; members sorted by address. `grace` is the time in seconds after which `was` follows `now`.

    Without `tracking`, slots change at once and nothing is remembered; with `remember_all`, every flow is. Where it is
    `sticky`, ports have no part in the choice of a backend. `clamp` is the largest segment, bytes, that SYNs from and
    to backends behind NAT may announce; 0: any.
    """

    key: ServiceKey
    members: tuple[Member, ...]
    grace: int
    on_dead: DeadPolicy = DeadPolicy.RESELECT
    tracking: bool = True
    tunnel: Tunnel | None = None
    forward: Forward = Forward.DSR
    clamp: int = 0
    remember_all: bool = False
    sticky: bool = False

    def sent_alike(self, other: DesiredService) -> bool:
        """Whether packets go to the backends of both in the same way."""
        return (self.tunnel, self.forward, self.clamp) == (other.tunnel, other.forward, other.clamp)


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
    blocked: tuple[Network, ...] = ()
    """Packets to VIPs from these are dropped. As long as it is the same object, nobody looks what is in it."""
    outlets: Mapping[int, Outlet] = field(default_factory=dict)
    """How frames leave where the host's routes name an interface, by its index; only NAT asks the routes."""
    fleet_slots: Mapping[ServiceKey, int] = field(default_factory=dict)
    """How many slots a service has at other nodes of the fleet, the largest number that they tell; of one that none of
    them tells of, how many it had here before a stop."""
