"""Structs that few packets need: of tunnels, blocked prefixes, NAT, notes, news for the fleet, and what was dropped."""

from __future__ import annotations

from appliance.dataplane.structs import Field, Struct

WORDS = 4
"""32-bit words of an address; IPv4 is mapped into IPv6."""

TUNNEL = Struct(
    "vc5_tunnel",
    "what packets travel in to destinations",
    (
        Field("header", "u32", "as it lies in the frame, lengths and checksums 0; dscp: the backend, IPv4 mapped", 13),
        Field("leg", "u16", "the way out"),
        Field("reserved", "u16", "0"),
        Field("ip_sum", "u16", "ones' complement sum of the outer IPv4 header"),
        Field("udp_sum", "u16", "likewise of what the checksum of the outer UDP header covers"),
        Field("room", "u16", "bytes of the longest packet that fits"),
        Field("kind", "u8", "enum vc5_encapsulation"),
        Field("option", "u8", "fou, gue: 1 with a checksum; dscp: the code, where it stands in its byte"),
    ),
)

BLOCK_KEY = Struct(
    "vc5_block_key",
    "a blocked prefix, as the kernel's trie of prefixes wants it",
    (
        Field("length", "u32", "bits; of IPv4 96 more"),
        Field("address", "u32", "network order; IPv4 is mapped", WORDS),
    ),
)
ENDPOINT = Struct(
    "vc5_endpoint",
    "who answers behind NAT",
    (
        Field("address", "u32", "network order; IPv4 is mapped", WORDS),
        Field("port", "u16", "network order"),
        Field("protocol", "u16", "IANA number"),
    ),
)
NOTE = Struct(
    "vc5_note",
    "per CPU: what one program tells the next of the packet in hand, and how much it may answer; a cache line",
    (
        Field("time", "u32", 'coarse time of the last answer "too big"'),
        Field("spent", "u32", "such answers sent at that time"),
        Field("mtu", "u32", "what the packet is too big for, bytes"),
        Field("destination", "u32", "whom that packet was for"),
        Field("transport", "u32", "where the ICMP header of an error begins, bytes from its IP header"),
        Field(
            "inner", "u32", "behind NAT: where the transport header begins that an error quotes; 0: it is a fragment"
        ),
        Field("protocol", "u32", "of that header, or of the fragment's; of an error's and a first fragment's"),
        Field("back", "u32", "1: it comes from the backend; 0: it goes there"),
        Field("reason", "u32", "why it is dropped"),
        Field("reserved", "u32", "0", 7),
    ),
)

NEWS = Struct(
    "vc5_flow_news",
    "of a flow that was remembered anew, or confirmed, for the rest of the fleet",
    (
        Field("name", "u64", "the flow's: it decides set and tag of its way, in a flow table of any size"),
        Field("destination", "u32", "whose flow it is"),
        Field("slot", "u32", "counted over all services"),
        Field("expiry", "u32", "coarse time, not modulo anything, when it is forgotten"),
        Field("flags", "u32", "enum vc5_news_flag"),
    ),
)

DROP_REASONS = 32
"""Reasons of exits are below this; the others are never a packet's last word."""
DROPS_KEPT = 16
"""Dropped packets that a CPU keeps of each reason; a power of two."""
DROPS_A_SECOND = 4
"""Of so many packets a CPU writes down what they were, for each reason within one coarse second."""
DROP_OCTETS = 128
"""First bytes of a frame that are kept; a power of two."""
DROPS_CLOSED = 64
"""Words from a CPU's counter of a reason to the coarse time in which no more is written down."""
DROPS_NUMBER = 128
"""Words from that counter to how many have ever been written down."""

DROPPED = Struct(
    "vc5_dropped",
    "per CPU and reason: a packet that was dropped",
    (
        Field("number", "u64", "how many it makes, of that reason on that CPU; 0: it is being written"),
        Field("at", "u64", "nanoseconds of CLOCK_MONOTONIC"),
        Field("time", "u32", "the coarse time"),
        Field("interface", "u32", "index of the interface that it came in by"),
        Field("length", "u32", "bytes of the frame"),
        Field("kept", "u32", "how many of them follow"),
        Field("octets", "u8", "the first ones, as the frame was when it was dropped", DROP_OCTETS),
    ),
)
