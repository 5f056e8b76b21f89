"""The table of all settings: the one source of parser, JSON Schema and reference page.

A new setting is a row here and a use in `resolve`. Names of the dialect that this version cannot do are listed in
LATER, so that they are refused by name instead of being taken for spelling mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance.config.addresses import WEIGHT, HostAddress, ServerKind, VirtualKind
from appliance.config.kinds import (
    Boolean,
    Choice,
    Duration,
    Either,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Place,
    ScalarKind,
    Section,
    Text,
)
from appliance.config.policy import PORT, FormKind, PortOrNothing
from appliance.config.values import RequestPath, Seed, StatusCodes
from appliance.model import CheckKind, Mode, OnDead, OnDown, UnknownPort, XdpMode

MAX_BACKENDS = 1000
"""Backends of one service; a slot has ten bits for the destination's index inside its service."""

MAX_CHECKS = 16
"""Checks of one service."""

_TOP, _SERVICE, _SERVER, _POLICY, _CHECK = Place.TOP, Place.SERVICE, Place.SERVER, Place.POLICY, Place.CHECK
_LEVELS = (_TOP, _SERVICE, _POLICY, _CHECK)
_HTTP = (CheckKind.HTTP, CheckKind.HTTPS)

_LIST_NAME = Text(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", "a name of letters, digits, hyphens, dots and underscores", most=64)
_SERVERS = ListOf(
    Either(ServerKind(), Section(_SERVER, "a map"), "an IPv4 address, or a map with address, weight and enabled"),
    "a list of servers",
    at_most=MAX_BACKENDS,
)
_POLICIES = MapOf(
    FormKind(),
    Either(PortOrNothing(), Section(_POLICY, "a map"), "nothing, or a map of settings"),
    "a map from what to serve to its settings",
    at_least=1,
)
_INTERFACE = Text(
    r"[^\s/:.][^\s/:]{0,14}", "an interface name of 1 to 15 characters, without blanks, slashes and colons", most=15
)
_HOST = Text(
    r"[A-Za-z0-9_]([A-Za-z0-9_.\-]*[A-Za-z0-9_.])?(:[1-9][0-9]{0,4})?",
    "a host name or IPv4 address",
    hint="letters, digits, hyphens and dots; no scheme, no path",
)


@dataclass(frozen=True)
class Setting:
    """One setting: where it may stand, what it accepts, what it means. `default` and `example` are YAML."""

    name: str
    places: tuple[Place, ...]
    kind: Kind
    help: str
    example: str
    default: str | None = None
    """A text that `kind` parses; None where leaving the setting out means nothing, or something that `help` tells."""
    required: bool = False
    checks: tuple[CheckKind, ...] = ()
    """The types of check that know this setting; empty for all."""


def _words(enum: type[Mode | XdpMode | OnDead | OnDown | UnknownPort | CheckKind]) -> dict[str, Any]:
    return {str(member): member for member in enum}


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "interfaces",
        (_TOP,),
        ListOf(_INTERFACE, "an interface name or a list of them", one=True, null_is_empty=True),
        "The interfaces that packets for the VIPs arrive on; needed as soon as there is a service.",
        "[eth0]",
    ),
    Setting(
        "mode",
        (_TOP,),
        Choice({str(Mode.SIMPLE): Mode.SIMPLE}, {"vlan": "write `mode: simple`", "multi-nic": "write `mode: simple`"}),
        "How packets reach the backends. simple: they are in the interface's network; packets leave where they came.",
        "simple",
        "simple",
    ),
    Setting(
        "xdp",
        (_TOP,),
        Choice(_words(XdpMode)),
        "Where the program is attached: in the driver (native), in the network stack (generic, slower), or in the "
        "driver where it can and else in the stack (auto).",
        "native",
        "auto",
    ),
    Setting(
        "services",
        (_TOP,),
        ListOf(Section(_SERVICE, "a map that describes a service"), "a list of services", null_is_empty=True),
        "What is served.",
        "[{virtual: 203.0.113.10, servers: [10.1.1.5], policy: {http: }}]",
    ),
    Setting(
        "servers",
        (_TOP,),
        MapOf(_LIST_NAME, _SERVERS, "a map from names to lists of servers", null_is_empty=True),
        "Named lists of servers, for `servers` of a service.",
        "{web: [10.1.1.5, 10.1.1.6 weight=3]}",
    ),
    Setting(
        "policy",
        (_TOP,),
        MapOf(_LIST_NAME, _POLICIES, "a map from names to policies", null_is_empty=True),
        "Named policies, for `policy` of a service.",
        "{web: {http: , https: }}",
    ),
    Setting(
        "hash_seed",
        (_TOP,),
        Seed(),
        "A secret of 128 bits that decides which flow goes where; balancers that share VIPs need the same one. "
        "Absent: made once and kept in the state directory.",
        "8d969eef6ecad3c29a3a629280e686cf",
    ),
    Setting(
        "max_flows",
        (_TOP,),
        Integer(1 << 12, 1 << 26),
        "How many flows can be remembered while slots change hands; 8 bytes each.",
        "4194304",
        str(1 << 20),
    ),
    Setting(
        "idle",
        (_TOP,),
        Duration(1, 4 * 3600),
        "A flow without a packet for this long counts as ended.",
        "30m",
        "15m",
    ),
    Setting(
        "udp_grace",
        (_TOP,),
        Duration(1, 4 * 3600),
        "How long UDP packets of unknown flows still go to a slot's former backend. At most `idle`.",
        "10s",
        "30s",
    ),
    Setting(
        "unknown_port",
        (_TOP,),
        Choice(_words(UnknownPort)),
        "What happens to packets for a VIP on a port that no service has.",
        "drop",
        "drop",
    ),
    Setting(
        "virtual",
        (_SERVICE,),
        ListOf(VirtualKind(), "a VIP or a list of VIPs", one=True, at_least=1),
        "The VIPs of the service.",
        "[203.0.113.10, 203.0.113.11]",
        required=True,
    ),
    Setting(
        "servers",
        (_SERVICE,),
        Either(_LIST_NAME, _SERVERS, "a list of servers, or the name of one"),
        "The backends: a list, or the name of a list under the top level's `servers`. `*` after an address disables "
        "the backend: it keeps its flows and gets no new ones.",
        "[10.1.1.5, 10.1.1.6 weight=3, 10.1.1.7*, {address: 10.1.1.8, weight: 2, enabled: no}]",
        required=True,
    ),
    Setting(
        "policy",
        (_SERVICE,),
        Either(_LIST_NAME, _POLICIES, "a map from what to serve to its settings, or the name of a policy"),
        "What to serve: a map, or the name of a policy under the top level's `policy`.",
        "{http: , 8443/https: {need: 2}, 53/udp: }",
        required=True,
    ),
    Setting("address", (_SERVER,), HostAddress(), "The backend's address.", "10.1.1.5", required=True),
    Setting("weight", (_SERVER,), WEIGHT, "Its share of new flows, relative to the others.", "3", "1"),
    Setting("enabled", (_SERVER,), Boolean(), "Whether it gets new flows.", "no", "yes"),
    Setting(
        "name",
        (_SERVICE, _POLICY),
        Text(r"[A-Za-z0-9][A-Za-z0-9\-]*", "letters, digits and hyphens, a letter or digit first", most=63),
        "A short name for tables and metrics.",
        "shop",
    ),
    Setting(
        "description",
        (_SERVICE, _POLICY),
        Text(r"[^\n]*", "one line of text", most=500),
        "Free text for the console.",
        "Web shop, both sites",
    ),
    Setting(
        "need",
        (_SERVICE, _POLICY),
        Integer(0, MAX_BACKENDS),
        "How many backends have to be healthy for the service to be up; 0: it is always up.",
        "2",
        "1",
    ),
    Setting(
        "on_dead",
        (_TOP, _SERVICE, _POLICY),
        Choice(_words(OnDead)),
        "What happens to packets of flows whose backend does not answer any more: another backend, a TCP reset, or "
        "nothing.",
        "reset",
        "reselect",
    ),
    Setting(
        "on_down",
        (_TOP, _SERVICE, _POLICY),
        Choice(_words(OnDown)),
        "What happens to the flows of a backend that answers its checks, but wrongly: they go on (drain), or they are "
        "treated as those of a dead one (cut).",
        "cut",
        "drain",
    ),
    Setting(
        "drain_timeout",
        (_TOP, _SERVICE, _POLICY),
        Duration(0, 24 * 3600),
        "How long a backend that was taken out of the configuration keeps its flows.",
        "1h",
        "15m",
    ),
    Setting("interval", _LEVELS, Duration(0.1, 3600), "The time from one check to the next.", "5s", "2s"),
    Setting("timeout", _LEVELS, Duration(0.01, 300), "How long a check may take.", "500ms", "2s"),
    Setting("rise", _LEVELS, Integer(1, 100), "Good results in a row that make a backend up.", "3", "2"),
    Setting("fall", _LEVELS, Integer(1, 100), "Bad results in a row that make a backend down.", "3", "2"),
    Setting(
        "host",
        (_SERVICE, _POLICY, _CHECK),
        _HOST,
        "The Host header, and the TLS name. Absent: the VIP.",
        "www.example.com",
        checks=_HTTP,
    ),
    Setting(
        "path",
        (_SERVICE, _POLICY, _CHECK),
        RequestPath(),
        "The path to ask for; a leading slash may be left out.",
        "/alive",
        "/",
        checks=_HTTP,
    ),
    Setting(
        "expect",
        (_SERVICE, _POLICY, _CHECK),
        Either(
            StatusCodes(),
            ListOf(StatusCodes(), "a list of status codes", at_least=1),
            f"{StatusCodes().words()}, or a list of them",
        ),
        "The status codes that are good.",
        "200 300-399",
        "200",
        checks=_HTTP,
    ),
    Setting(
        "method",
        (_SERVICE, _POLICY, _CHECK),
        Choice({"GET": "GET", "HEAD": "HEAD"}),
        "The request's method.",
        "HEAD",
        "GET",
        checks=_HTTP,
    ),
    Setting(
        "checks",
        (_POLICY,),
        ListOf(Section(_CHECK, "a map that describes a check"), "a list of checks ([] for none)", at_most=MAX_CHECKS),
        "The health checks, all of which must pass; `[]` for none. Absent: one check that fits the policy's key.",
        "[{type: http, path: /alive}, {type: tcp, port: 8500}]",
    ),
    Setting(
        "bind",
        (_POLICY,),
        PORT,
        "The backends' port. In this version it must be the service's own: backends receive packets for the VIP as "
        "they are.",
        "80",
    ),
    Setting(
        "type",
        (_CHECK,),
        Choice(_words(CheckKind), {"dns": "write syn or tcp"}),
        "http, https: a request; tcp: a full connection; syn: half a connection (SYN, SYN-ACK, RST).",
        "http",
        required=True,
    ),
    Setting("port", (_CHECK,), PORT, "The port to check. Absent: the service's port.", "8500"),
)

_REMOVE = "remove it"
_TOP_LATER = (
    "bgp vlans vlans6 logging prefixes learn multicast webserver webroot address router_id host_id defcon "
    "scheduler listen"
)
_SERVICE_LATER = "sticky priority scheduler persist reset tunnel-type tunnel-port forward tracking slow_start"

LATER: dict[Place, dict[str, str]] = {
    _TOP: {
        **dict.fromkeys(_TOP_LATER.split(), _REMOVE),
        "native": "write `xdp: native`",
        "untagged": "write `mode: simple`",
        "rhi": "this is an earlier dialect; remove it",
        "reals": "this is an earlier dialect; write named lists under `servers`",
    },
    _SERVICE: dict.fromkeys(_SERVICE_LATER.split(), _REMOVE),
    _POLICY: {
        **dict.fromkeys(_SERVICE_LATER.split(), _REMOVE),
        "servers": "write a service of its own for these servers",
    },
    _SERVER: {},
    _CHECK: {},
}
"""Names of the dialect that this version does not have, with what to do about each."""

_BY_PLACE = {place: {row.name: row for row in SETTINGS if place in row.places} for place in Place}


def settings_of(place: Place) -> dict[str, Setting]:
    """Return the settings of a place by name, in the order of the table."""
    return _BY_PLACE[place]


@cache
def default_of(name: str) -> Any:
    """Return the parsed default of a setting; None where it has none."""
    for row in SETTINGS:
        if row.name == name and row.default is not None:
            kind = row.kind.scalar if isinstance(row.kind, Either) else row.kind
            assert isinstance(kind, ScalarKind)
            return kind.parse(row.default)
    return None
