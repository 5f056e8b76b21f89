"""Structs that only some programs use: those with tunnels, blocked prefixes, or backends behind NAT."""

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
