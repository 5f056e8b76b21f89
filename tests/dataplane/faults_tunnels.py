"""Mistakes to plant into what is rendered only with tunnels; see faults.py."""

from __future__ import annotations

from tests.dataplane.faults import Fault

TUNNEL_FAULTS = (
    Fault("a packet too long by one sent", "return octets <= tunnel->room;", "return octets <= tunnel->room + 1u;"),
    Fault("padding taken along", "if (surplus && vc5_move_tail", "if (0 && vc5_move_tail"),
    Fault("time to live as it came", "	vc5_one_hop_less(ip, cargo->family);\n", ""),
    Fault("traffic class not copied to IPv4", "((u8 *)at)[1] = traffic;", ";"),
    Fault(
        "traffic class of IPv6 misread", "bpf_ntohs(*(const u16 *)ip) >> 4 & 0xff", "bpf_ntohs(*(const u16 *)ip) & 0xff"
    ),
    Fault("no flow label", "label = inside->hash >> 32 & VC5_FLOW_LABEL;", "label = 0;"),
    Fault("entropy from other bits", "inside->hash >> 32 & (0xffff", "inside->hash >> 31 & (0xffff"),
    Fault(
        "datagram without its own header",
        "datagram = bpf_htons(inside->octets + length - ip)",
        "datagram = bpf_htons(inside->octets)",
    ),
    Fault("length counted once", "2 * (u64)datagram", "(u64)datagram"),
    Fault("checksum where none is wanted", "		if (tunnel->option) {", "		if (1) {"),
    Fault("pseudo header with the IPv4 header's length", "bpf_htons(octets - sizeof(*ip))", "ip->tot_len"),
    Fault("IPv6 pseudo header forgotten", " + (0xffff ^ bpf_htons(header->next))", ""),
    Fault("hop limit in the sum as it came", "sum + (0xffff ^ bpf_htons(1))", "sum"),
    Fault("ICMPv6 with the checksum of UDP", "return protocol == VC5_PROTOCOL_UDP ? 6 : 2;", "return 6;"),
    Fault("later fragments with a checksum", "if (!cargo->protocol)\n\t\treturn;", ""),
    Fault(
        "last byte not summed", "for (i = VC5_SUM_CHUNK / 2; i; i /= 2)", "for (i = VC5_SUM_CHUNK / 2; i > 1; i /= 2)"
    ),
    Fault("any packet's sum believed", "		packet->unsummed = 1;\n", "		packet->unsummed = 0;\n"),
    Fault("anybody's tunnel", "&vc5_tunnels[number & (VC5_TUNNELS - 1)]", "&vc5_tunnels[number & 1]"),
    Fault(
        "EtherType of the packet inside",
        "*(u16 *)(frame + l2 - 2) = ip == sizeof(struct iphdr)",
        "if (0) *(u16 *)(frame + l2 - 2) = ip == sizeof(struct iphdr)",
    ),
    Fault("ECN overwritten", "before & bpf_htons(0xff03)", "before & bpf_htons(0xff00)"),
    Fault("code not in the header checksum", "difference + (u16)~before + after", "difference"),
    Fault("UDP without checksum gets one", "	if (!checksum)\n		return 0;\n", ""),
    Fault(
        "transport checksum before options",
        "l2 + cargo->headers + field, &sum, sizeof(sum));\n	sum",
        "l2 + plain + field, &sum, sizeof(sum));\n	sum",
    ),
    Fault(
        "checksum of echo requests by dscp",
        "packet.protocol == VC5_PROTOCOL_ICMP ? 0 : packet.protocol",
        "packet.protocol",
    ),
    Fault("echo requests not summed up", ".unsummed = vc5_is_icmp(&packet) || ", ".unsummed = "),
    Fault("probe outside of the tunnel", "if (identity->tunnel) {", "if (0) {"),
)
