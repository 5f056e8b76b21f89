"""The nouns that all packages share: services, backends, health, events. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.model_address import Address as Address
from appliance.model_address import Endpoint
from appliance.model_address import Network as Network
from appliance.model_address import ServiceKey as ServiceKey
from appliance.model_bgp import Bgp
from appliance.model_check import Check as Check
from appliance.model_check import CheckKind as CheckKind
from appliance.model_check import Outcome as Outcome
from appliance.model_check import Protocol as Protocol
from appliance.model_console import Console
from appliance.model_event import Event as Event
from appliance.model_event import EventKind as EventKind
from appliance.model_event import Severity as Severity
from appliance.model_fleet import Fleet
from appliance.model_host import Host as Host
from appliance.model_host import Interface as Interface
from appliance.model_host import Route as Route
from appliance.model_logging import Logging, Priority


class Mode(StrEnum):
    """How packets reach the backends at layer 2."""

    SIMPLE = "simple"
    """Backends are in the balancer's own networks, untagged, and packets leave where they came."""
    VLAN = "vlan"
    """Packets come tagged; the VLAN id becomes the backend's, and they leave where they came."""
    MULTI_NIC = "multi-nic"
    """Untagged, an interface for each network; packets leave by that of the backend."""


class XdpMode(StrEnum):
    """How the program is attached: in the driver, in the network stack, or driver first with a fall-back."""

    NATIVE = "native"
    GENERIC = "generic"
    AUTO = "auto"


class OnDead(StrEnum):
    """What happens to packets of flows whose backend does not answer any more."""

    RESELECT = "reselect"
    RESET = "reset"
    DROP = "drop"


class OnDown(StrEnum):
    """What happens to the flows of a backend that answers its checks, but wrongly."""

    DRAIN = "drain"
    CUT = "cut"


class Forward(StrEnum):
    """Who answers the client: the backend itself, from the VIP, or the backend through the balancer."""

    DSR = "dsr"
    NAT = "nat"


class TunnelKind(StrEnum):
    """How packets reach a backend that is not on the same network at layer 2."""

    IPIP = "ipip"
    """IP in IP: RFC 2003, 2473, 4213."""
    GRE = "gre"
    """RFC 2784."""
    FOU = "fou"
    """The inner packet directly in UDP."""
    GUE = "gue"
    """Generic UDP encapsulation, variant 0 of draft-ietf-intarea-gue: a header of 4 bytes behind that of UDP."""
    DSCP = "dscp"
    """No header more: the destination becomes the backend's address, and a DSCP code names the service."""


class Scheduler(StrEnum):
    """How new flows are shared out."""

    MAGLEV = "maglev"
    LEAST_CONNECTIONS = "least-connections"


class Tracking(StrEnum):
    """Which flows are remembered: those that a change concerns, every one, or none."""

    AUTO = "auto"
    ALL = "all"
    NONE = "none"


class UnknownPort(StrEnum):
    """What happens to packets for a VIP on a port that no service has."""

    DROP = "drop"
    PASS = "pass"


class OnOrphan(StrEnum):
    """What the program does with packets when no daemon has refreshed its tables for a while."""

    FORWARD = "forward"
    PASS = "pass"


class Health(StrEnum):
    """What the checks say of one backend of one service."""

    UNKNOWN = "unknown"
    """No check has finished yet."""
    UP = "up"
    WRONG = "wrong"
    """It answers, but not as expected (HTTP status, body)."""
    DEAD = "dead"
    """It does not answer: refused, reset, timed out."""


@dataclass(frozen=True)
class Backend:
    """A backend of one service. `weight` 0..100 is its share relative to the others; disabled ones drain.

    `port` is where a backend behind NAT listens; None: the service's own. A `fallback` gets new flows only while fewer
    others than the service needs are healthy.
    """

    address: Address
    weight: int = 1
    enabled: bool = True
    port: int | None = None
    fallback: bool = False


@dataclass(frozen=True)
class Tunnel:
    """How a service's packets travel to its backends. `port` means something to `fou` and `gue`, `code` to `dscp`.

    With `checksum`, the outer UDP header has one (always, over IPv6, unless switched off: RFC 6935).
    """

    kind: TunnelKind
    port: int = 0
    checksum: bool = True
    code: int = 0


@dataclass(frozen=True)
class Service:
    """A service with every inherited value resolved. Backends are sorted by address; times are seconds."""

    key: ServiceKey
    backends: tuple[Backend, ...]
    checks: tuple[Check, ...]
    need: int = 1
    name: str = ""
    description: str = ""
    on_dead: OnDead = OnDead.RESELECT
    on_down: OnDown = OnDown.DRAIN
    drain_timeout: float = 900.0
    sticky: bool = False
    """The backend follows from the addresses alone, so that a client meets the same on every port of the VIP."""
    scheduler: Scheduler = Scheduler.MAGLEV
    eject_most_loaded: bool = False
    """With least connections, whether the backend with the most for its weight gets no new ones."""
    tracking: Tracking = Tracking.AUTO
    slow_start: float = 0.0
    """Seconds over which a backend that comes back gains its full share."""
    forward: Forward = Forward.DSR
    tunnel: Tunnel | None = None
    clamp_mss: int = 0
    """With NAT, the largest segment that SYNs may announce, bytes; 0: as they come."""
    priority: Priority = Priority.CRITICAL
    vip_enabled: bool = True
    """Whether the VIP may be announced to routers; packets that come all the same are served."""
    critical: bool = True
    """Whether the VIP depends on it."""
    vip_any: bool = False
    """Whether one service up is enough for the VIP; the same for all services of it."""
    max_removal: float | None = None
    """The share of the backends that health alone may take out within `removal_window`; None: all."""
    removal_window: float = 60.0


@dataclass(frozen=True)
class Vlan:
    """A network of the configuration: id 1..4094, prefix, and the gateway where the prefix names one by its host part.

    In mode multi-nic the id only numbers the network.
    """

    id: int
    prefix: Network
    gateway: Address | None = None


@dataclass(frozen=True)
class Config:
    """A whole, valid configuration. `hash_seed` is None where the file gives none. Times are seconds."""

    interfaces: tuple[str, ...] = ()
    mode: Mode = Mode.SIMPLE
    xdp: XdpMode = XdpMode.AUTO
    services: tuple[Service, ...] = ()
    hash_seed: bytes | None = None
    max_flows: int = 1 << 20
    idle: float = 900.0
    udp_grace: float = 30.0
    unknown_port: UnknownPort = UnknownPort.DROP
    vlans: tuple[Vlan, ...] = ()
    attach_delay: float = 0.0
    """Pause between attaching to one interface and to the next, so that a bond keeps a working member."""
    block: tuple[Network, ...] = ()
    """Packets from these prefixes are dropped."""
    count_prefixes: bool = False
    """Whether packets are counted by /20 of their source."""
    mixed_tags: bool = False
    """In mode vlan: whether untagged packets come and go as well, by interfaces of their own."""
    on_orphan: OnOrphan = OnOrphan.FORWARD
    address: ipaddress.IPv4Address | None = None
    """The host's primary address."""
    router_id: ipaddress.IPv4Address | None = None
    """What it calls itself in BGP (RFC 6286); not 0.0.0.0."""
    host_id: str | None = None
    """What it calls itself in the log."""
    webserver: tuple[Endpoint, ...] | None = None
    """Where console, JSON and metrics are offered; empty: nowhere. None: where it is usual."""
    console: Console = field(default_factory=Console)
    multicast: Endpoint | None = None
    fleet: Fleet | None = None
    learn: float | None = None
    """Seconds to wait after the start before anything is announced."""
    listen: bool = False
    """Whether routers may connect to the BGP port."""
    bgp: Bgp = field(default_factory=Bgp)
    logging: Logging = field(default_factory=Logging)
    compat_metrics: bool = False
    """Whether metrics have the names of the earlier vc5 as well."""
    backend_metrics: bool = True
    """Whether there are metrics of each backend."""
    hold_down: float = 5.0
    """For how long a VIP has to be up before it is announced."""
    max_probes: int = 640
    """Probes of one backend at once, over all its services; 0: any number."""
    demote: bool = True
    """While this node seems to be cut off: whether its VIPs are announced as a last resort, or else not at all."""


@dataclass(frozen=True)
class ProbeResult:
    """One finished check of one backend. Durations are nanoseconds; 0 where the phase was not reached."""

    service: ServiceKey
    backend: Address
    check: int
    """Which of the service's checks, counted from 0."""
    outcome: Outcome
    diagnostic: str
    at: float
    """Wall-clock seconds since the epoch at the end of the probe."""
    total_ns: int
    connect_ns: int = 0
    tls_ns: int = 0
    first_byte_ns: int = 0
    http_status: int = 0
    tls_version: str = ""
    certificate_expires: int = 0
    """In seconds since the epoch; 0: not known."""
    kind: CheckKind | None = None
    """The type of the check."""
