"""The settings of services, of their servers and policies."""

from __future__ import annotations

from appliance.config.addresses import WEIGHT, HostAddress, VirtualKind
from appliance.config.kinds import Boolean, Choice, Duration, Either, Integer, ListOf, Text
from appliance.config.prefixes import AnyPrefix
from appliance.config.setting import (
    LIST_NAME,
    MAX_BACKENDS,
    POLICIES,
    POLICY,
    SERVER,
    SERVERS,
    SERVICE,
    TOP,
    VLAN,
    Setting,
    words,
)
from appliance.config.values import Percentage
from appliance.model import OnDead, OnDown

SERVICE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "virtual",
        (SERVICE,),
        ListOf(VirtualKind(), "a VIP or a list of VIPs", one=True, at_least=1),
        "The VIPs of the service. `*` after an address disables that VIP, for every service that has it: routers are "
        "not told of it; packets that come all the same are served.",
        "[203.0.113.10, 203.0.113.11]",
        required=True,
    ),
    Setting(
        "servers",
        (SERVICE,),
        Either(LIST_NAME, SERVERS, "a list of servers, or the name of one"),
        "The backends: a list, or the name of a list under the top level's `servers`; needed unless every key of the "
        "policy has its own. `*` after an address disables the backend: it keeps its flows and gets no new ones.",
        "[10.1.1.5, 10.1.1.6 weight=3, 10.1.1.7*, {address: 10.1.1.8, weight: 2, enabled: no}]",
    ),
    Setting(
        "servers",
        (POLICY,),
        Either(LIST_NAME, SERVERS, "a list of servers, or the name of one"),
        "Backends of its own, instead of the service's.",
        "[10.1.2.5, 10.1.2.6]",
    ),
    Setting(
        "policy",
        (SERVICE,),
        Either(LIST_NAME, POLICIES, "a map from what to serve to its settings, or the name of a policy"),
        "What to serve: a map, or the name of a policy under the top level's `policy`.",
        "{http: , 8443/https: {need: 2}, 53/udp: }",
        required=True,
    ),
    Setting(
        "fallback",
        (SERVICE,),
        Either(LIST_NAME, SERVERS, "a list of servers, or the name of one"),
        "Backends that get new flows only while fewer than `need` of the `servers` are healthy.",
        "[10.1.2.5, 10.1.2.6]",
    ),
    Setting("address", (SERVER,), HostAddress(), "The backend's address.", "10.1.1.5", required=True),
    Setting(
        "weight",
        (SERVER, VLAN),
        WEIGHT,
        "The share of new flows, relative to others: the server's, or that of servers in the VLAN that have none.",
        "3",
        "1",
    ),
    Setting(
        "enabled",
        (SERVER, VLAN),
        Boolean(),
        "Whether the server gets new flows, or the servers in the VLAN unless they say so themselves.",
        "no",
        "yes",
    ),
    Setting("prefix", (VLAN,), AnyPrefix(), "The network of the VLAN.", "10.1.30.0/24", required=True),
    Setting(
        "gateway",
        (VLAN,),
        HostAddress(),
        "The gateway that leads to tunnelled backends in no VLAN.",
        "10.1.30.1",
    ),
    Setting(
        "name",
        (SERVICE, POLICY),
        Text(r"[A-Za-z0-9][A-Za-z0-9\-]*", "letters, digits and hyphens, a letter or digit first", most=63),
        "A short name for tables and metrics.",
        "shop",
    ),
    Setting(
        "description",
        (SERVICE, POLICY),
        Text(r"[^\n]*", "one line of text", most=500),
        "Free text for the console.",
        "Web shop, both sites",
    ),
    Setting(
        "need",
        (SERVICE, POLICY),
        Integer(0, MAX_BACKENDS),
        "How many backends have to be healthy for the service to be up; 0: it is always up.",
        "2",
        "1",
    ),
    Setting(
        "critical",
        (SERVICE, POLICY),
        Boolean(),
        "Whether the VIP depends on this service. Where none of a VIP's services is critical, one of them is enough.",
        "no",
        "yes",
    ),
    Setting(
        "vip_up",
        (TOP, SERVICE),
        Choice({"all": False, "any": True}),
        "How many of the critical services of a VIP have to be up for the VIP to be up; the same for all of them.",
        "any",
        "all",
    ),
    Setting(
        "max_removal",
        (TOP, SERVICE, POLICY),
        Percentage(),
        "The share of a service's backends that failing checks alone may take out within `removal_window`; those "
        "beyond it stay in. Absent: all of them.",
        "50%",
    ),
    Setting(
        "removal_window",
        (TOP, SERVICE, POLICY),
        Duration(1, 3600),
        "The time over which `max_removal` counts.",
        "5m",
        "1m",
    ),
    Setting(
        "on_dead",
        (TOP, SERVICE, POLICY),
        Choice(words(OnDead)),
        "What happens to packets of flows whose backend does not answer any more: another backend, a TCP reset, or "
        "nothing.",
        "reset",
        "reselect",
    ),
    Setting(
        "on_down",
        (TOP, SERVICE, POLICY),
        Choice(words(OnDown)),
        "What happens to the flows of a backend that answers its checks, but wrongly: they go on (drain), or they are "
        "treated as those of a dead one (cut).",
        "cut",
        "drain",
    ),
    Setting(
        "drain_timeout",
        (TOP, SERVICE, POLICY),
        Duration(0, 24 * 3600),
        "How long a backend that was taken out of the configuration keeps its flows.",
        "1h",
        "15m",
    ),
)
