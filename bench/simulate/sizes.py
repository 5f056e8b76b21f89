"""What the exchange costs in bytes: the sizes of its datagrams, and how many entries share one.

This is the only module that knows the form of the exchange (appliance/fleet has it). All sizes count from the IP
header.
"""

from __future__ import annotations

import math

from appliance.fleet.stream import LATEST

IP_UDP = 28
"""An IPv4 and a UDP header."""
ENVELOPE = 44
"""Magic, key id, life, sequence, kind, reserved, and the MAC behind the body."""
STREAM = 8
"""The number of a datagram of records."""
MOST = 1400
"""Of a datagram, without IP and UDP."""
RECORD = 3
SERVICE = 5 + 2 + 1
ADDRESS = 5
"""Kind and length of a record; a service, an address: of IPv4."""
FLOWS = RECORD + SERVICE + ADDRESS + 1
FLOW = 8 + 2 + 1
"""Flows of one backend, and each of them: name, life, flags."""
SLOTS = RECORD + SERVICE + 4 + 2 * ADDRESS
SLOT = 4 + 2 + 2
"""Slots with one `was` and one `now`, and each of them: number, `changed`, `diverted`."""
HELLO = IP_UDP + ENVELOPE + 2 + 8 + 6 + 63
"""With names of some 14 octets."""
HEARD = 18
"""For each balancer heard: its life, nonce and mark."""
HELLO_ROOM = (MOST + IP_UDP - HELLO) // HEARD
"""So many balancers fit into a HELLO."""
BATCH = 0.003
"""Seconds for which entries are gathered."""
WAY = 8
"""A remembered flow in the product's flow table."""
OWNED = 10
"""The same where every flow is remembered: with the number of its backend beside it."""
LRU_ENTRY = 190
"""A flow in an LRU hash of the kernel: 36 octets of key, 80 of value, and what the map adds (190 MB for a million)."""


def _datagrams(octets: float, full: float, latest: float = 0.0) -> float:
    """The bytes of records with what goes around them; `full`: how many gatherings there are anything in.

    The `latest` datagrams are sent twice.
    """
    room = MOST - ENVELOPE - STREAM
    number = max(full, octets / room)
    return (octets + number * (IP_UDP + ENVELOPE + STREAM)) * (1 + min(1.0, latest / number if number else 0.0))


def flows(entries: float, senders: float, backends: float, *, twice: bool = False) -> float:
    """Bytes a second of so many entries about flows a second, spread over balancers and backends.

    `twice`: what a balancer tells in one moment is little enough to be sent twice.
    """
    if entries <= 0:
        return 0.0
    each = entries / senders * BATCH
    gatherings = senders / BATCH * -math.expm1(-each)
    distinct = gatherings * backends * -math.expm1(-entries / gatherings / backends)
    return _datagrams(entries * FLOW + distinct * FLOWS, gatherings, math.inf if twice else 0.0)


def slots(entries: float, groups: float, senders: float) -> float:
    """Bytes of entries about slots that every one of `senders` tells at once, `groups` of them with the same `was`."""
    return senders * _datagrams(entries * SLOT + groups * SLOTS, 1.0 if entries else 0.0, LATEST)


def hellos(balancers: int) -> float:
    """Bytes a second that each balancer receives to know that the others are there, if each says so once a second.

    What does not fit into one datagram is taken to go into more of them.
    """
    others = balancers - 1
    return others * (math.ceil(others / HELLO_ROOM) * HELLO + others * HEARD)
