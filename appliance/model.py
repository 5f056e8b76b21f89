"""The nouns that all packages share: services, backends, health, events. Frozen, and free of IO."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Protocol(IntEnum):
    """A transport protocol, by its IANA number (the `protocol` field of the IPv4 header)."""

    TCP = 6
    UDP = 17

    def __str__(self) -> str:
        return self.name.lower()


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


class Health(StrEnum):
    """What the checks say of one backend of one service."""

    UNKNOWN = "unknown"
    """No check has finished yet."""
    UP = "up"
    WRONG = "wrong"
    """It answers, but not as expected (HTTP status, body)."""
    DEAD = "dead"
    """It does not answer: refused, reset, timed out."""


class CheckKind(StrEnum):
    """The types of health check."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    SYN = "syn"


class Outcome(StrEnum):
    """How one probe ended."""

    OK = "ok"
    WRONG = "wrong-answer"
    NONE = "no-answer"


@dataclass(frozen=True)
class ServiceKey:
    """A service is named by VIP, port (1..65535) and protocol; written `203.0.113.10:443/tcp`."""

    vip: Address
    port: int
    protocol: Protocol

    def __post_init__(self) -> None:
        # A key is looked up far more often than it is made, and hashing an address takes ten times as long.
        object.__setattr__(self, "_hash", hash((int(self.vip), self.port, int(self.protocol))))

    def __hash__(self) -> int:
        found: int = self.__dict__["_hash"]
        return found

    def __str__(self) -> str:
        found: str | None = self.__dict__.get("_text")
        if found is None:
            host = f"[{self.vip}]" if self.vip.version == 6 else str(self.vip)
            found = f"{host}:{self.port}/{self.protocol}"
            object.__setattr__(self, "_text", found)
        return found

    def __lt__(self, other: object) -> bool:
        """Order by family, VIP, port, protocol (addresses of two families cannot be compared by `ipaddress`)."""
        if not isinstance(other, ServiceKey):
            return NotImplemented
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, int, int]:
        return (self.vip.version, int(self.vip), self.port, int(self.protocol))

    @classmethod
    def parse(cls, text: str) -> ServiceKey:
        """Read `203.0.113.10:443/tcp` or `[2001:db8::1]:443/tcp`; raises ValueError that says what is wrong."""
        address, slash, protocol = text.rpartition("/")
        host, colon, port = address.rpartition(":")
        if not slash or not colon or protocol.lower() not in ("tcp", "udp") or not port.isascii() or not port.isdigit():
            raise ValueError(f"{text!r} is not a service; write VIP:PORT/tcp or VIP:PORT/udp")
        if not 1 <= int(port) <= 65535:
            raise ValueError(f"{text!r}: port {port} is not between 1 and 65535")
        try:
            vip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is not an IP address") from None
        return cls(vip, int(port), Protocol[protocol.upper()])


@dataclass(frozen=True)
class Check:
    """One health check with all its values in force. Times are seconds.

    `expect` holds the HTTP status codes that pass, ascending; empty means any. `host`, `path`, `method` and `expect`
    mean nothing to `tcp` and `syn`. `rise` good results make a backend up, `fall` bad ones down: in a row, or of the
    latest `window` ones.
    """

    kind: CheckKind
    port: int
    host: str = ""
    path: str = "/"
    method: str = "GET"
    expect: tuple[int, ...] = (200,)
    interval: float = 2.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 2
    window: int | None = None


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
    hold_down: float = 5.0
    """For how long a VIP has to be up before it is announced."""
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


class EventKind(StrEnum):
    """What an event is about; the words are part of the log's contract."""

    PROBE = "probe"
    BACKEND = "backend"
    SERVICE = "service"
    DAEMON = "daemon"
    RELOAD = "reload"
    OPERATOR = "operator"
    ALARM = "alarm"


@dataclass(frozen=True)
class Event:
    """Something an operator may ask about later. `at` is wall-clock seconds; `details` is JSON-ready."""

    at: float
    kind: EventKind
    message: str
    service: ServiceKey | None = None
    backend: Address | None = None
    outcome: str = ""
    details: dict[str, Any] | None = None


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
