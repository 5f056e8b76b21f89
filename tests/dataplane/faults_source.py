"""Mistakes to plant where packets are counted and dropped by their source; see faults.py."""

from __future__ import annotations

from tests.dataplane.faults import Fault

ASKED4, ASKED6 = "vc5_suspect4(ip) && vc5_is_blocked4(ip)", "vc5_suspect6(ip) && vc5_is_blocked(ip->source)"

FAULTS = (
    Fault("IPv4 never blocked", ASKED4, "0"),
    Fault("IPv6 never blocked", ASKED6, "0"),
    Fault("who shares a bit is blocked", ASKED4, "vc5_suspect4(ip)"),
    Fault("who shares a bit is blocked, IPv6", ASKED6, "vc5_suspect6(ip)"),
    Fault("sources of packets from VIPs blocked", f"to_vip && {ASKED6}", ASKED6),
    Fault("quick way looks at no source", "if (vc5_suspect4(ip))", "if (0)"),
    Fault("quick way looks at no source, IPv6", "if (vc5_suspect6(ip))", "if (0)"),
    Fault("only prefixes up to /20 found", ".length = 128", ".length = 116"),
    Fault("half of the address looked up", "address[2], address[3]}", "address[2], 0}"),
    Fault("IPv4 not mapped", "bpf_htonl(0xffff), ip->saddr}", "0, ip->saddr}"),
    Fault("bits of IPv4 asked for IPv6", "(1 << VC5_SOURCE_BITS) + (mixed", "(mixed"),
    Fault("IPv6 sources not mixed", "bpf_ntohl(ip->source[0]) * VC5_SOURCE_FACTOR", "bpf_ntohl(ip->source[0])"),
    Fault("next bit", "place & 63", "(place + 1) & 63"),
    Fault("every packet counted", "!(counted & (VC5_SOURCE_SAMPLE - 1))", "1"),
    Fault("one too early", "!(counted & (VC5_SOURCE_SAMPLE - 1))", "!((counted + 1) & (VC5_SOURCE_SAMPLE - 1))"),
    Fault("next prefix counted", "verdict->source - 1", "verdict->source"),
    Fault("only forwarded packets counted by source", "vc5_count_source(verdict, *reason);", ""),
    Fault("only dropped packets counted by source", "vc5_count_source(verdict, counter->packets);", ""),
    Fault(
        "prefix of the wrong end", "bpf_ntohl(ip->saddr) >> (32 - VC5_SOURCE_BITS)", "bpf_ntohl(ip->saddr) & 0xfffff"
    ),
)
