"""The program's vocabulary: why packets leave, what destinations are, as numbers that C and Python share."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why a packet left the program as it did. Values are counters' indexes: only ever add at the end."""

    FORWARD = 0
    NOT_IP = 1
    NOT_VIP = 2
    TAGGED = 3
    VIP_SOURCE = 4
    UNKNOWN_PORT = 5
    PROTOCOL = 6
    ICMP_TYPE = 7
    ICMP_ERROR = 8
    ECHO = 9
    ECHO_VIP_DOWN = 10
    FRAGMENT = 11
    MALFORMED = 12
    TTL = 13
    NO_BACKEND = 14
    DEAD = 15
    RESET = 16
    UNRESOLVED = 17
    PROBE_ANSWER = 18
    PROBE_SENT = 19
    PROBE_REFUSED = 20
    INCOMPLETE = 21
    QINQ = 22
    UNTAGGED = 23
    NEIGHBOUR = 24
    NO_INTERFACE = 25
    NO_ROOM = 26
    TOO_BIG = 27
    TOO_BIG_LIMITED = 28
    RETURN = 29
    NO_ROUTE = 30
    BLOCKED = 31
    # Not exits but decisions about tracked slots, counted beside the exit.
    TRACKED_HIT = 32
    TRACKED_NEW = 33
    TRACKED_OLD = 34
    REMEMBERED = 35
    REFUSED = 36
    FRAGMENT_FOLLOWED = 37
    UNTOLD = 38
    TRACKED_UNKNOWN = 39
    TRACKED_FIRST = 40

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


REASON_TEXT: dict[Reason, str] = {
    Reason.FORWARD: "forwarded to a backend",
    Reason.NOT_IP: "neither IPv4 nor IPv6: passed to the host",
    Reason.NOT_VIP: "the destination is not a VIP: passed to the host",
    Reason.TAGGED: "a VLAN tag where none is expected: passed to the host",
    Reason.QINQ: "a VLAN tag behind another, or a service tag: passed to the host",
    Reason.VIP_SOURCE: "from a VIP, but the answer to no probe: passed to the host",
    Reason.UNKNOWN_PORT: "the VIP has no service on this port: dropped or passed as `unknown_port` says",
    Reason.PROTOCOL: "neither TCP, UDP nor ICMP, to a VIP: dropped",
    Reason.ICMP_TYPE: "an ICMP type that is not for a VIP: dropped",
    Reason.ICMP_ERROR: "an ICMP error for a VIP, about a packet of no flow of ours: dropped",
    Reason.ECHO: "an ICMP echo request to a VIP: answered",
    Reason.ECHO_VIP_DOWN: "an ICMP echo request to a VIP that is down: dropped",
    Reason.FRAGMENT: "a fragment of a datagram whose first fragment was not seen, or of neither TCP nor UDP: dropped",
    Reason.MALFORMED: "header or length fields contradict the frame: dropped",
    Reason.TTL: "the time to live ran out: dropped",
    Reason.NO_BACKEND: "no backend is available: dropped",
    Reason.DEAD: "the flow's backend is dead and `on_dead` is `drop`, or there is nothing to answer: dropped",
    Reason.RESET: "the flow's backend is dead and `on_dead` is `reset`: answered with RST",
    Reason.UNRESOLVED: "the backend's MAC address is not known: dropped",
    Reason.PROBE_ANSWER: "the answer to a probe: sent to the prober",
    Reason.PROBE_SENT: "a probe: sent to its backend",
    Reason.PROBE_REFUSED: "a packet of the prober that is no probe, or for no backend: dropped",
    Reason.INCOMPLETE: "the second program is missing: dropped",
    Reason.UNTAGGED: "no VLAN tag, or one that only tells a priority, where tags are expected: passed to the host",
    Reason.NEIGHBOUR: "neighbour discovery for a VIP: passed to the host",
    Reason.NO_INTERFACE: "the interface that leads to the backend is gone: dropped",
    Reason.NO_ROOM: "the driver leaves no room for a longer header: dropped",
    Reason.TOO_BIG: 'longer than the way to the backend allows: answered with ICMP, or ICMPv6, "too big"',
    Reason.TOO_BIG_LIMITED: "likewise, but over the limit of answers, or nothing that may be answered: dropped",
    Reason.RETURN: "the answer of a backend behind NAT: sent to the client",
    Reason.NO_ROUTE: "the answer of a backend behind NAT, and no way to the client that the program knows: passed on",
    Reason.BLOCKED: "to a VIP, from a source that is blocked: dropped",
    Reason.TRACKED_HIT: "in a tracked slot: a remembered flow",
    Reason.TRACKED_NEW: "in a tracked slot: a new flow",
    Reason.TRACKED_OLD: "in a tracked slot: a flow older than the change",
    Reason.REMEMBERED: "a flow was remembered",
    Reason.REFUSED: "a flow could not be remembered: its set is full of living flows",
    Reason.FRAGMENT_FOLLOWED: "a later fragment followed the first one of its datagram",
    Reason.UNTOLD: "a flow was remembered, and there was no room to tell the rest of the fleet",
    Reason.TRACKED_UNKNOWN: "in a tracked slot: a connection that should be remembered, and is not known here",
    Reason.TRACKED_FIRST: "in a tracked slot, seconds after it changed: an older connection, or one not known here",
}


DROPS = (
    *(Reason.UNKNOWN_PORT, Reason.PROTOCOL, Reason.ICMP_TYPE, Reason.ICMP_ERROR, Reason.ECHO_VIP_DOWN),
    *(Reason.FRAGMENT, Reason.MALFORMED, Reason.TTL, Reason.NO_BACKEND, Reason.DEAD, Reason.UNRESOLVED),
    *(Reason.PROBE_REFUSED, Reason.INCOMPLETE, Reason.NO_INTERFACE, Reason.NO_ROOM, Reason.TOO_BIG_LIMITED),
    Reason.BLOCKED,
)
"""Reasons for which packets are dropped; UNKNOWN_PORT passes them where the configuration says so."""


class State(IntEnum):
    """What a destination may receive. Living states are the two highest."""

    NONE = 0
    DEAD = 1
    DRAINING = 2
    AVAILABLE = 3


class DeadPolicy(IntEnum):
    """`on_dead` as the program sees it."""

    RESELECT = 0
    RESET = 1
    DROP = 2


class ServiceFlag(IntEnum):
    """Bits of a service's flags."""

    PREVIOUS_STICKY = 1
    """Ports had no part in the hash before the last hash change."""
    REMEMBER_ALL = 2
    """Every flow is remembered."""


class NewsFlag(IntEnum):
    """Bits that tell what happened to a remembered flow."""

    CANDIDATE = 1
    """No second packet has confirmed it yet."""
    OPENED = 2
    """The packet chose anew, as a connection that begins does; else it went where older flows belong."""


class Tail(IntEnum):
    """Positions in the program array."""

    COLD = 0
    COLD6 = 1
    RETURN = 2
    NAT = 3
    ICMP_ERROR = 4
    FRAGMENT = 5
    TOO_BIG = 6
    NAT_PART = 7
    RETURN_ERROR = 8
    RETURN_FRAGMENT = 9
    PROBE_ICMP = 10
    DROP = 11


class Encapsulation(IntEnum):
    """What a packet travels in: a kind of tunnel, and the family of the outer header."""

    NONE = 0
    IPIP4 = 1
    IPIP6 = 2
    GRE4 = 3
    GRE6 = 4
    FOU4 = 5
    FOU6 = 6
    GUE4 = 7
    GUE6 = 8
    DSCP = 9

    def __str__(self) -> str:
        return self.name.lower()


class Refusal(IntEnum):
    """Why a destination cannot be sent to right now; 0 where it can. From 64 on: it can, in another way than most."""

    NOTHING = 0
    NO_BACKEND = int(Reason.NO_BACKEND)
    DEAD = int(Reason.DEAD)
    UNRESOLVED = int(Reason.UNRESOLVED)
    TUNNEL = 64
    NAT = 80
