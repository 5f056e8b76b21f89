"""Mistakes to plant where errors and fragments of services behind NAT are translated; see tests.dataplane.faults."""

from __future__ import annotations

from tests.dataplane.faults import Fault

NAT_PART_FAULTS = (
    Fault("error not to the backend", "\t\t*outer = address;\n", "\t\t;\n"),
    Fault("error from every router translated", "if (*outer == *place) {", "if (1) {"),
    Fault("IPv6 error from every router translated", "int same = vc5_same(outer, place);", "int same = 1;"),
    Fault("quoted header checksum not changed", "inner->check = vc5_changed_checksum(before, sums.moved);", ";"),
    Fault("quoted port not translated", "ports[which] = port;\n\tsums.moved", "sums.moved"),
    Fault("quoted UDP without checksum gets one", "if (udp && ports[3])", "if (udp)"),
    Fault("quoted checksum that was cut off changed", "part->inner + 18 <= packet->octets", "1"),
    Fault("pseudo header of an error forgotten", "sums.content += sums.moved;", ";"),
    Fault("quoted checksum not in the error's", "sums.content += (u64)(u16)~before + *check;", ";"),
    Fault(
        "errors about probes given back",
        "vc5_to_own(packet, header, &vc5_identities[number]) || !vc5_is_mine",
        "!vc5_is_mine",
    ),
    Fault(
        "later fragments of anybody given back",
        "if (!number || !vc5_is_from(packet, header, &vc5_identities[number]))",
        "if (!number)",
    ),
    Fault(
        "first fragments from behind NAT not remembered",
        "vc5_remember_datagram(vc5_datagram_name(packet, walk->identification), verdict->destination);",
        ";",
    ),
    Fault(
        "first fragments to behind NAT not remembered",
        "return;\n\t\tvc5_remember_datagram(name, verdict->destination);\n\t\tvc5_hand",
        "return;\n\t\tvc5_hand",
    ),
    Fault("connections in fragments not counted", "\t\tpacket->flags = tcp[13];", "\t\t;"),
    Fault(
        "hops of parts not counted",
        "vc5_one_hop_less(header, packet->family);\n\tverdict->destination = part",
        "verdict->destination = part",
    ),
    Fault(
        "hops of what goes behind NAT not counted",
        "vc5_one_hop_less(ip, packet->family);\n\tverdict->destination",
        "verdict->destination",
    ),
)
