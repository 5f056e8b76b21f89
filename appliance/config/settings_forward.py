"""The settings of how packets are shared out and how they travel, of services and policies."""

from __future__ import annotations

from appliance.config.kinds import Boolean, Choice, Duration, Integer
from appliance.config.policy import PORT
from appliance.config.setting import POLICY, SERVICE, TOP, Setting, words
from appliance.config.values import SegmentSize
from appliance.model import Forward, Scheduler, Tracking, TunnelKind

FORWARD_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "sticky",
        (SERVICE, POLICY),
        Boolean(),
        "Whether the backend follows from the addresses alone, so that a client meets the same one on every port of "
        "the VIP. Not with least-connections.",
        "yes",
        "no",
    ),
    Setting(
        "scheduler",
        (TOP, SERVICE, POLICY),
        Choice(words(Scheduler), also={"leastconn": Scheduler.LEAST_CONNECTIONS, "roundrobin": Scheduler.MAGLEV}),
        "How new flows are shared out: by a hash, in proportion to the weights (maglev), or to the backend that has "
        "the fewest for its weight (least-connections, also written leastconn).",
        "least-connections",
        "maglev",
    ),
    Setting(
        "eject_most_loaded",
        (SERVICE, POLICY),
        Boolean(),
        "Whether the backend with the most flows for its weight gets no new ones at all, as long as it has clearly "
        "more than the others. Only with least-connections.",
        "yes",
        "no",
    ),
    Setting(
        "tracking",
        (SERVICE, POLICY),
        Choice(words(Tracking)),
        "Which flows are remembered: those that a change concerns (auto), every one (all), or none. "
        "least-connections needs all, and has it by default; 53/udp has none by default.",
        "all",
        "auto",
    ),
    Setting(
        "slow_start",
        (SERVICE, POLICY),
        Duration(0, 3600),
        "How long a backend that comes back takes to gain its full share of new flows.",
        "1m",
        "0",
    ),
    Setting(
        "forward",
        (SERVICE, POLICY),
        Choice(words(Forward)),
        "Who answers the client. dsr: the backend, from the VIP, which it has on a loopback interface. nat: the "
        "backend through the balancer, which has to be its default route; packets get the backend's address and port.",
        "nat",
        "dsr",
    ),
    Setting(
        "clamp_mss",
        (SERVICE, POLICY),
        SegmentSize(),
        "The largest TCP segment, in bytes, that a SYN may announce; 0: as it comes. Only with `forward: nat`.",
        "1400",
        "0",
    ),
    Setting(
        "tunnel-type",
        (SERVICE, POLICY),
        Choice({"none": None, **words(TunnelKind)}),
        "How packets travel to backends that are in other networks: in IP (ipip), GRE, UDP (fou, gue), or addressed to "
        "the backend itself, with a DSCP code that names the service (dscp). All but dscp carry either family in "
        "either.",
        "gue",
        "none",
    ),
    Setting(
        "tunnel-port",
        (SERVICE, POLICY),
        PORT,
        "The UDP port at which backends take fou or gue, which need one.",
        "5555",
    ),
    Setting(
        "tunnel-checksum",
        (SERVICE, POLICY),
        Boolean(),
        "Whether the UDP header of fou or gue has a checksum.",
        "no",
        "yes",
    ),
    Setting(
        "tunnel-no-checksum",
        (SERVICE, POLICY),
        Boolean(),
        "The opposite of `tunnel-checksum`.",
        "yes",
    ),
    Setting(
        "dscp",
        (SERVICE, POLICY),
        Integer(0, 63),
        "The code that tells backends the service, with `tunnel-type: dscp`, which needs one.",
        "46",
    ),
    Setting(
        "bind",
        (POLICY,),
        PORT,
        "The backends' port. With `forward: nat` any; else it must be the service's own. `http: 8080` is short for "
        "`http: {bind: 8080}`.",
        "8080",
    ),
)
