"""The settings that only the top level has."""

from __future__ import annotations

from appliance.config.kinds import Boolean, Choice, Duration, Either, Integer, ListOf, MapOf, Place, Section, Text
from appliance.config.prefixes import BlockedPrefix, VlanId, VlanPrefix
from appliance.config.setting import LIST_NAME, POLICIES, SERVERS, SERVICE, TOP, VLAN, Setting, words
from appliance.config.values import Seed
from appliance.model import Mode, UnknownPort, XdpMode

INTERFACE = Text(
    r"[!#-&(-\-0-9;-_a-~][!#-&(-.0-9;-_a-~]{0,14}",
    "an interface name of 1 to 15 ASCII characters, without blanks, quotes, slashes and colons",
    most=15,
)


def _vlan(version: int) -> Either:
    return Either(VlanPrefix(version), Section(VLAN, "a map"), f"an IPv{version} prefix")


TOP_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "interfaces",
        (TOP,),
        ListOf(INTERFACE, "an interface name or a list of them", one=True, null_is_empty=True),
        "The interfaces that packets for the VIPs arrive on; needed as soon as there is a service.",
        "[eth0]",
    ),
    Setting(
        "mode",
        (TOP,),
        Choice(words(Mode)),
        "How packets reach the backends. simple: untagged, backends are in the interfaces' networks, packets leave "
        "where they came. vlan: tagged; the VLAN becomes the backend's, packets leave where they came. multi-nic: "
        "untagged, an interface for each network; packets leave by the backend's. Absent: multi-nic with `vlans` and "
        "`untagged: yes`, vlan with `vlans`, else simple.",
        "vlan",
    ),
    Setting(
        "untagged",
        (TOP,),
        Boolean(),
        "Whether packets come without VLAN tags although there are `vlans`: another word for `mode: multi-nic`.",
        "yes",
    ),
    Setting(
        "vlans",
        (TOP,),
        MapOf(VlanId(), _vlan(4), "a map from VLAN ids to IPv4 prefixes", null_is_empty=True),
        "The IPv4 network of each VLAN. A prefix with a host part names the gateway that leads to tunnelled backends "
        "in no VLAN. A map may say more. In mode multi-nic the ids only number the networks.",
        "{10: 10.1.10.0/24, 20: 10.1.20.1/24, 30: {prefix: 10.1.30.0/24, enabled: no}}",
    ),
    Setting(
        "vlans6",
        (TOP,),
        MapOf(VlanId(), _vlan(6), "a map from VLAN ids to IPv6 prefixes", null_is_empty=True),
        "The IPv6 network of each VLAN, likewise.",
        "{10: '2001:db8:10::/64', 20: '2001:db8:20::1/64'}",
    ),
    Setting(
        "mixed_tags",
        (TOP,),
        Boolean(),
        "Whether untagged packets come and go as well, in mode vlan: from untagged interfaces to VLANs and back, and "
        "to backends in the interfaces' own networks. Tags are pushed and popped; costs a few nanoseconds.",
        "yes",
        "no",
    ),
    Setting(
        "xdp",
        (TOP,),
        Choice(words(XdpMode)),
        "Where the program is attached: in the driver (native), in the network stack (generic, slower), or in the "
        "driver where it can and else in the stack (auto).",
        "native",
        "auto",
    ),
    Setting(
        "services",
        (TOP,),
        ListOf(Section(SERVICE, "a map that describes a service"), "a list of services", null_is_empty=True),
        "What is served.",
        "[{virtual: 203.0.113.10, servers: [10.1.1.5], policy: {http: }}]",
    ),
    Setting(
        "servers",
        (TOP,),
        MapOf(LIST_NAME, SERVERS, "a map from names to lists of servers", null_is_empty=True),
        "Named lists of servers, for `servers` of a service.",
        "{web: [10.1.1.5, 10.1.1.6 weight=3]}",
    ),
    Setting(
        "policy",
        (TOP,),
        MapOf(LIST_NAME, POLICIES, "a map from names to policies", null_is_empty=True),
        "Named policies, for `policy` of a service.",
        "{web: {http: , https: }}",
    ),
    Setting(
        "defaults",
        (TOP,),
        Section(Place.DEFAULTS, "a map of settings", null_is_empty=True),
        "Values for all services, servers and checks that are not given closer to them.",
        "{need: 2, weight: 10, interval: 5s, path: /alive}",
    ),
    Setting(
        "hash_seed",
        (TOP,),
        Seed(),
        "A secret of 128 bits that decides which flow goes where; balancers that share VIPs need the same one. "
        "Absent: made once and kept in the state directory.",
        "8d969eef6ecad3c29a3a629280e686cf",
    ),
    Setting(
        "max_flows",
        (TOP,),
        Integer(1 << 12, 1 << 26),
        "How many flows can be remembered while slots change hands; 8 bytes each.",
        "4194304",
        str(1 << 20),
    ),
    Setting(
        "idle",
        (TOP,),
        Duration(1, 4 * 3600),
        "A flow without a packet for this long counts as ended.",
        "30m",
        "15m",
    ),
    Setting(
        "udp_grace",
        (TOP,),
        Duration(1, 4 * 3600),
        "How long UDP packets of unknown flows still go to a slot's former backend. At most `idle`.",
        "10s",
        "30s",
    ),
    Setting(
        "unknown_port",
        (TOP,),
        Choice(words(UnknownPort)),
        "What happens to packets for a VIP on a port that no service has.",
        "drop",
        "drop",
    ),
    Setting(
        "hold_down",
        (TOP,),
        Duration(0, 3600),
        "How long a VIP has to be up before it is announced.",
        "30s",
        "5s",
    ),
    Setting(
        "max_probes",
        (TOP,),
        Integer(0, 8192),
        "How many checks of one backend may be under way at once, over all its services; the others wait for their "
        "turn. 0: any number.",
        "100",
        "640",
    ),
    Setting(
        "on_isolation",
        (TOP,),
        Choice({"demote": True, "no": False}),
        "How the VIPs are announced while most backends of unrelated services fail at once, which speaks against this "
        "node and not against them: so that routers prefer other nodes, or not at all.",
        "no",
        "demote",
    ),
    Setting(
        "attach_delay",
        (TOP,),
        Duration(0, 300),
        "The pause between attaching to one interface and to the next, so that a bond keeps a working member while "
        "the link of another comes back.",
        "10s",
        "0",
    ),
    Setting(
        "block",
        (TOP,),
        ListOf(BlockedPrefix(), "a prefix or a list of prefixes", one=True, null_is_empty=True),
        "Packets from these prefixes are dropped.",
        "[198.51.100.0/24, '2001:db8:bad::/48']",
    ),
    Setting(
        "count_prefixes",
        (TOP,),
        Boolean(),
        "Whether packets are counted by the /20 of their IPv4 source, for `vc5 prefixes`.",
        "yes",
        "no",
    ),
)
