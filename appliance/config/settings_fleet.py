"""The settings of the fleet: how balancers that announce the same VIPs tell each other what they know."""

from __future__ import annotations

from appliance.config.addresses import HostAddress
from appliance.config.kinds import Boolean, Choice, Duration, Integer, ListOf, Place, Section
from appliance.config.outlets import MulticastGroup
from appliance.config.setting import POLICY, SERVICE, TOP, Setting, words
from appliance.config.values_fleet import ByteRate, FleetKey, FleetPeer
from appliance.model_fleet import FLEET_PORT, LastAnnouncer

_FLEET = (Place.FLEET,)

FLEET_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "multicast",
        (TOP,),
        MulticastGroup(),
        "The group by which balancers tell each other of flows; needs `fleet`, which has the key.",
        "'239.255.76.5:9876'",
    ),
    Setting(
        "fleet",
        (TOP,),
        Section(Place.FLEET, "a map of settings"),
        "The balancers that announce the same VIPs tell each other what makes their answers differ, signed with a key "
        "that all of them have: to the group that `multicast` names, to `peers`, or to both. All of them need the same "
        "`hash_seed`. Absent: nothing is told.",
        "{key: a-long-secret-text, peers: [10.1.1.2, 10.1.1.3]}",
    ),
    Setting(
        "leave",
        (TOP,),
        Duration(0, 3600),
        "How long a stop waits at most for traffic to ebb: routes become a last resort, as by `vc5 drain --all`, and "
        "the daemon ends once no packets come any more, or then. 0: routes are withdrawn at once.",
        "60s",
        "0",
    ),
    Setting(
        "last_announcer",
        (TOP, SERVICE, POLICY),
        Choice(words(LastAnnouncer)),
        "What becomes of the route to a VIP that goes down while no other node announces it: it is withdrawn like any "
        "other (withdraw), or stays as a last resort until another node announces the VIP (keep), so that there is "
        "always a route. One service of a VIP says it for all of them. Without `fleet` each node takes itself for the "
        "last one.",
        "keep",
        "withdraw",
    ),
    Setting(
        "key",
        _FLEET,
        ListOf(FleetKey(), "a secret of 16 to 1024 characters, or a list of them", one=True, at_least=1, at_most=8),
        "The secret that all nodes share. Of several, the first signs and all are accepted, so that a new one can be "
        "added to every node before it becomes the first, and the old one removed after that.",
        "[the-new-secret-text, the-old-secret-text]",
        required=True,
    ),
    Setting(
        "peers",
        _FLEET,
        ListOf(FleetPeer(), "a node's address or a list of them", one=True, at_most=64, null_is_empty=True),
        "The other nodes, where they are not reached by `multicast`. The node's own addresses are ignored, so that all "
        "nodes can have the same list.",
        "[10.1.1.2, '10.1.1.3:9877', '2001:db8::4']",
    ),
    Setting(
        "source",
        _FLEET,
        HostAddress(),
        "The local address of the exchange, for peers and a group of its family. Absent: as routes say.",
        "10.1.1.1",
    ),
    Setting(
        "port",
        _FLEET,
        Integer(1, 65535),
        f"The UDP port of this node, and of peers who name none. Absent: {FLEET_PORT}.",
        "9877",
    ),
    Setting(
        "rate",
        _FLEET,
        ByteRate(10_000, 10_000_000_000),
        "How many bytes a second are sent at most.",
        "10M",
        "4M",
    ),
    Setting(
        "quorum",
        _FLEET,
        Boolean(),
        "Whether a backend that this node takes for down is down only once most of the nodes that are heard say so.",
        "yes",
        "no",
    ),
)
