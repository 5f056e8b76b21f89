"""The settings of the host itself, and those of the dialect that mean nothing any more."""

from __future__ import annotations

from appliance.config.addresses import HostAddress
from appliance.config.kinds import Boolean, Choice, Integer, Text
from appliance.config.outlets import RouterId
from appliance.config.setting import POLICY, SERVICE, TOP, Setting, words
from appliance.model import OnOrphan
from appliance.model_logging import Priority

_LINE = Text(r"[^\n]*", "one line of text")

HOST_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "address",
        (TOP,),
        HostAddress(4),
        "The host's primary IPv4 address.",
        "10.1.10.5",
    ),
    Setting(
        "router_id",
        (TOP,),
        RouterId(),
        "What the host calls itself in BGP (RFC 6286). Absent: `address`.",
        "10.1.10.5",
    ),
    Setting(
        "host_id",
        (TOP,),
        Text(r"[^\s]+", "a name without blanks", most=100),
        "What the host calls itself in the log. Absent: `address`.",
        "balancer-1",
    ),
    Setting(
        "native",
        (TOP,),
        Boolean(),
        "Another word for `xdp: native`; `no` is another for `xdp: generic`.",
        "yes",
    ),
    Setting(
        "on_orphan",
        (TOP,),
        Choice(words(OnOrphan)),
        "What the program does when no daemon has kept its tables for a while: go on with the last ones (forward), or "
        "leave all packets to the host (pass).",
        "pass",
        "forward",
    ),
    Setting(
        "priority",
        (SERVICE, POLICY),
        Choice(words(Priority)),
        "How grave it is that the VIP goes down; the gravest of its services counts.",
        "medium",
        "critical",
    ),
    Setting(
        "defcon",
        (TOP,),
        Integer(1, 5),
        "The readiness level of the dialect.",
        "5",
        successor="remove it; `*` after an address in `virtual` withdraws a VIP",
    ),
    Setting(
        "webroot",
        (TOP,),
        _LINE,
        "Where the dialect's console came from.",
        "/var/www",
        successor="remove it; the console is part of the program, at the address that `webserver` gives",
    ),
    Setting(
        "persist",
        (SERVICE, POLICY),
        Integer(0, 2**31 - 1),
        "How long IPVS let a client keep its backend, in seconds.",
        "300",
        successor="write `sticky: yes`, by which a client keeps its backend for as long as that is there",
    ),
    Setting(
        "reset",
        (SERVICE, POLICY),
        Boolean(),
        "Whether IPVS reset connections whose backend went away.",
        "yes",
        successor="write `on_dead: reset`",
    ),
)
