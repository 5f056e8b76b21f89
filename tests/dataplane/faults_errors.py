"""Mistakes to plant where ICMP errors, fragments and too big packets are handled; see tests.dataplane.faults."""

from __future__ import annotations

from tests.dataplane.faults import Fault

ERROR_FAULTS = (
    # Errors about flows.
    Fault("quoted packet of any address", "if (vc5_le32(inner->saddr) != packet->vip)", "if (0)"),
    Fault("quoted ports not turned", "packet->ports = packet->ports >> 16 |", "packet->ports = packet->ports |"),
    Fault("quoted options not skipped", "header = inner->ihl * 4;", "header = sizeof(*inner);"),
    Fault("ports of a later fragment believed", "if (inner->frag_off & bpf_htons(VC5_FRAGMENT_OFFSET) ||", "if ("),
    Fault("fewer than eight bytes quoted", "room < header + VC5_ICMP_LEAST", "room < header"),
    Fault("errors of IPv6 of any address", "vc5_half(&inner->source[2]) != packet->low", "0"),
    Fault("unknown errors of IPv6 forwarded", "!*icmp || *icmp > VC5_ICMP6_KNOWN_ERRORS", "0"),
    Fault(
        "errors with TTL 1 forwarded",
        "vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);\n\t\treturn;\n\t}\n\tchoice = vc5_peek",
        ";\n\t}\n\tchoice = vc5_peek",
    ),
    Fault("errors remembered", "choice = vc5_peek(service, packet);", "choice = vc5_choose(service, packet);"),
    Fault("errors by the new answer", "choice.index = owner;\n\t} else", "} else"),
    Fault(
        "errors by what is forgotten",
        "if (way && !vc5_expired(way, time) && vc5_way_index(way) < service->capacity)\n\t\towner",
        "if (way && vc5_way_index(way) < service->capacity)\n\t\towner",
    ),
    Fault(
        "errors answered with RST",
        "verdict->reason = VC5_REASON_DEAD;\n}\n\n/* What vc5_cold",
        ";\n}\n\n/* What vc5_cold",
    ),
    Fault("errors to a dead backend reselect", "choice.index = owner;\n\t\tchoice.dead = 1;", ";"),
    # Fragments.
    Fault("first fragment not remembered", "vc5_remember_datagram(name, verdict->destination);", ";"),
    Fault(
        "identification not hashed",
        "(k[3] + identification) * (k[4] + packet->protocol)",
        "(k[3]) * (k[4] + packet->protocol)",
    ),
    Fault(
        "protocol not hashed", "(k[3] + identification) * (k[4] + packet->protocol)", "(k[3] + identification) * k[4]"
    ),
    Fault("identification of IPv6 not hashed", "(k[3] + identification) * (k[4] + VC5_FRAGMENT6)", "k[3]"),
    Fault("tag of a datagram not compared", "way >> VC5_PIECE_TAG_SHIFT == tag && vc5_piece_life", "vc5_piece_life"),
    Fault("datagrams not forgotten", "tag && vc5_piece_life(way, time)", "tag"),
    Fault("datagram lives a second less", "life, VC5_FRAGMENT_LIFE + 1", "life, VC5_FRAGMENT_LIFE"),
    Fault("later datagram beside the first", "vc5_nonzero(way >> VC5_PIECE_TAG_SHIFT ^ tag)", "1"),
    Fault("UDP length of a first fragment", "return bpf_ntohs(udp->len) >= sizeof(*udp);", "return 1;"),
    Fault("short first fragment forwarded", "end || walk->room < sizeof(*udp))", "end)"),
    Fault("following not counted", "vc5_count(VC5_REASON_FRAGMENT_FOLLOWED);", ";"),
    Fault(
        "fragments answered with RST",
        "verdict->reason = VC5_REASON_DEAD;\n}\n\nstatic __always_inline void vc5_later",
        ";\n}\n\nstatic __always_inline void vc5_later",
    ),
    # Too big.
    Fault("too big forwarded", "if (packet->octets > vc5_leg_of(destination)->mtu) {", "if (0) {"),
    Fault("too big forwarded on the quick way", "if (octets > vc5_leg_of(destination)->mtu)", "if (0)"),
    Fault("MTU not told", "icmp->rest = bpf_htonl(mtu > 0xffff ? 0xffff : mtu);", "icmp->rest = 0;"),
    Fault("answers without limit", "if (note->spent >= VC5_TOO_BIG_RATE)", "if (0)"),
    Fault("budget never renewed", "note->time = time;\n\t\tnote->spent = 0;", "note->time = time;"),
    Fault("errors answered", "if (ip->protocol != VC5_PROTOCOL_TCP && ip->protocol != VC5_PROTOCOL_UDP)", "if (0)"),
    Fault(
        "later fragments answered",
        "|| ip->frag_off & bpf_htons(VC5_FRAGMENT_OFFSET))\n\t\treturn 0;\n\tif (ip->pro",
        ")\n\t\treturn 0;\n\tif (ip->pro",
    ),
    Fault("too little quoted", "& ~(VC5_QUOTE_STEP - 1);\n\tvc5_answer_big4", "& ~7;\n\tvc5_answer_big4"),
    Fault("pseudo header without length", "sum = bpf_htonl(sizeof(*icmp) + quoted) + (u64)", "sum = (u64)"),
    Fault("answer not turned", "vc5_turn_macs(frame);\n\treturn frame;", "return frame;"),
)
