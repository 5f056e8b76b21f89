"""The settings of `bgp`, of its groups of peers, and the lists that its filters name."""

from __future__ import annotations

from appliance.config.addresses import HostAddress
from appliance.config.kinds import Boolean, Duration, Either, Integer, ListOf, MapOf, Place, Section, Text
from appliance.config.outlets import Secret
from appliance.config.routing import (
    AsNumber,
    Filter,
    HoldTime,
    Hops,
    PeerAddress,
    PrefixName,
    PrefixOrAddress,
)
from appliance.config.setting import BGP, GROUP, TOP, Setting
from appliance.config.settings_routes import COMMUNITIES, METRIC, PEERS

HOLD_TIME = 10
"""Seconds."""

MAX_RESTART_TIME = 4095
"""Seconds; 12 bits (RFC 4724 section 3)."""

MAX_PEERS = 1024
MAX_FILTERS = 10_000

_FILTERS = ListOf(
    Filter(),
    "a prefix, an address, a name of `prefixes` or any, or a list of them",
    one=True,
    at_most=MAX_FILTERS,
    null_is_empty=True,
)

BGP_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "bgp",
        (TOP,),
        Section(Place.BGP, "a map of settings", null_is_empty=True),
        "Which routers learn the VIPs that are up, and how.",
        "{as_number: 65001, peers: [10.1.10.252, 10.1.10.253]}",
    ),
    Setting(
        "prefixes",
        (TOP,),
        MapOf(
            PrefixName(),
            ListOf(
                PrefixOrAddress(), "a prefix or a list of prefixes", one=True, at_most=MAX_FILTERS, null_is_empty=True
            ),
            "a map from names to lists of prefixes",
            null_is_empty=True,
        ),
        "Named lists of prefixes, for `accept` and `reject`. An address alone is a prefix of its own.",
        "{site-a: [192.0.2.0/25, '2001:db8:a::/48'], shop: [203.0.113.10]}",
    ),
    Setting(
        "as_number",
        PEERS,
        AsNumber(),
        "The balancer's own AS; needed for every peer.",
        "65001",
    ),
    Setting(
        "remote_as",
        PEERS,
        AsNumber(),
        "The peer's AS; another one is refused. Absent: any. Equal to `as_number` is iBGP, everything else eBGP.",
        "65000",
    ),
    Setting(
        "peers",
        PEERS,
        ListOf(PeerAddress(), "a router's address or a list of them", one=True, at_most=MAX_PEERS, null_is_empty=True),
        "The routers. One that stands in a group has the group's values.",
        "[10.1.10.252, '2001:db8:10::252']",
    ),
    Setting(
        "groups",
        (BGP,),
        ListOf(Section(GROUP, "a map of settings"), "a list of groups", at_most=MAX_PEERS, null_is_empty=True),
        "Groups of peers with values of their own, each of which replaces that of `bgp`.",
        "[{name: core, as_number: 65002, peers: [10.1.20.252], reject: any}]",
    ),
    Setting(
        "name",
        (GROUP,),
        Text(r"[^\n]*", "one line of text", most=100),
        "What people call the group.",
        "core",
    ),
    Setting(
        "hold_time",
        PEERS,
        HoldTime(HOLD_TIME),
        "How many seconds a session outlives the last message; a third of it is the time between messages.",
        "30",
        str(HOLD_TIME),
    ),
    Setting(
        "local_pref",
        PEERS,
        METRIC,
        "The local preference of routes, over iBGP; 0 means the default.",
        "200",
        "100",
    ),
    Setting(
        "med",
        PEERS,
        METRIC,
        "The multi-exit discriminator of routes; 0: none is sent.",
        "50",
        "0",
    ),
    Setting(
        "source_ip",
        PEERS,
        HostAddress(),
        "The local address of sessions with peers of its family. An IPv4 address is also the next hop of IPv4 routes.",
        "10.1.10.5",
    ),
    Setting(
        "next_hop_4",
        PEERS,
        HostAddress(4),
        "The next hop of IPv4 routes. Absent: `source_ip`, else the local address of the session; over IPv6 that is "
        "one of IPv6, which the router has to take (RFC 8950).",
        "10.1.10.5",
    ),
    Setting(
        "next_hop_6",
        PEERS,
        HostAddress(6),
        "The next hop of IPv6 routes, which a session over IPv4 needs to announce any. Absent: the local address of "
        "the session.",
        "2001:db8:10::5",
    ),
    Setting(
        "communities",
        PEERS,
        COMMUNITIES,
        "The communities of routes: `65000:10`, large ones `65000:1:2`, and the well-known ones by name. A group's "
        "replace those of `bgp`; those of a service are added.",
        "['65000:10', no-export]",
    ),
    Setting(
        "accept",
        PEERS,
        _FILTERS,
        "VIPs that are announced even if `reject` has them too.",
        "[site-a, 203.0.113.10, '2001:db8::/48']",
    ),
    Setting(
        "reject",
        PEERS,
        _FILTERS,
        "VIPs that are not announced, `any` for none at all. A VIP in neither list is announced.",
        "any",
    ),
    Setting(
        "password",
        PEERS,
        # Linux, linux/tcp.h: TCP_MD5SIG_MAXKEYLEN.
        Secret(80),
        "The key of TCP-MD5 (RFC 2385) that the router has for this balancer.",
        "a-long-secret",
    ),
    Setting(
        "bfd",
        PEERS,
        Either(Boolean(), Section(Place.BFD, "a map"), "yes, no, or a map with interval and multiplier"),
        "Whether BFD (RFC 5880) watches the way to the peer, so that a session ends as soon as it breaks.",
        "{interval: 300ms, multiplier: 3}",
        "no",
    ),
    Setting(
        "multihop",
        PEERS,
        Hops(),
        "How many hops away an eBGP peer may be; yes: any number of them.",
        "2",
        "no",
    ),
    Setting(
        "ttl_security",
        PEERS,
        Boolean(),
        "Whether packets from further away than `multihop` says are ignored (RFC 5082); the router must do the same.",
        "yes",
        "no",
    ),
    Setting(
        "passive",
        PEERS,
        Boolean(),
        "Whether the router is to open the session; needs `listen`.",
        "yes",
        "no",
    ),
    Setting(
        "graceful_restart",
        PEERS,
        Boolean(),
        "Whether the router is asked to keep the routes while the daemon restarts (RFC 4724); packets are forwarded "
        "all the while.",
        "no",
        "yes",
    ),
    Setting(
        "restart_time",
        PEERS,
        Integer(1, MAX_RESTART_TIME),
        "For how many seconds at most. A daemon that does not come back draws packets for as long.",
        "60",
        "120",
    ),
    Setting(
        "loopback",
        (BGP,),
        Boolean(),
        "Whether a router daemon on this host, such as BIRD, is told the routes, at 127.0.0.1: over iBGP with a hold "
        "time of 4 s, in both families, under the router id 127.0.0.1, since that of the host is the other daemon's. "
        "The next hops are `next_hop_4`, else `address`, and `next_hop_6`, else ::1: the daemon is to announce with "
        "its own. Filters and attributes are those given here. Other `peers` may stand beside it.",
        "yes",
        "no",
    ),
    Setting(
        "learn",
        (TOP, BGP),
        Duration(0, 24 * 3600),
        "How long after the start nothing is announced, so that checks have had their say; not after one that goes on "
        "with the sessions of another daemon.",
        "20s",
    ),
    Setting(
        "listen",
        (TOP, BGP),
        Boolean(),
        "Whether routers may open the session, on port 179.",
        "yes",
        "no",
    ),
    Setting(
        "interval",
        (Place.BFD,),
        Duration(0.01, 60),
        "The time between two packets of BFD, in either direction.",
        "100ms",
        "300ms",
    ),
    Setting(
        "multiplier",
        (Place.BFD,),
        Integer(1, 255),
        "How many packets in a row have to be missing for the way to be broken.",
        "5",
        "3",
    ),
)
