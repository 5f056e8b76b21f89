"""Mistakes to plant into the program, one at a time: the comparison with the model has to find each of them.

Each replaces a piece of the rendered text that must occur exactly once; so a change of the templates that a fault no
longer fits is noticed, and the fault is written anew.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One mistake."""

    name: str
    right: str
    wrong: str

    def plant(self, text: str) -> str:
        """The program text with this mistake; raises ValueError where it does not fit exactly once."""
        found = text.count(self.right)
        if found != 1:
            raise ValueError(f"fault {self.name!r} fits {found} times: {self.right!r}")
        return text.replace(self.right, self.wrong)


def _without(name: str, right: str) -> Fault:
    return Fault(name, right, "")


FAULTS = (
    # Reading a frame.
    Fault("more-fragments is no fragment", "VC5_FRAGMENT_BITS = 0x3fff", "VC5_FRAGMENT_BITS = 0x1fff"),
    Fault("options not handled", "header = ip->ihl * 4,", "header = sizeof(*ip),"),
    _without("packet longer than the frame forwarded", "!vc5_complete(ctx, l2, ip, length, end) || "),
    Fault("TCP header longer than the packet forwarded", "length >= sizeof(*tcp) && length <= room", "length >= 20"),
    Fault("UDP length not checked", "return length >= sizeof(*udp) && length <= room;", "return 1;"),
    _without("802.1ad tag not known", " || type == bpf_htons(VC5_TAG_8021AD)"),
    Fault("IPv6 counted as another protocol", "reason = VC5_REASON_NOT_VIP;", "reason = VC5_REASON_NOT_IP;"),
    Fault("a tag behind a tag not seen", " || vc5_is_tag(inner)", ""),
    Fault("TTL 1 forwarded", "ip->ttl <= 1)\n\t\treturn VC5_WAY_COLD", "ip->ttl < 1)\n\t\treturn VC5_WAY_COLD"),
    # Writing down what is dropped.
    Fault("drops not written down", "vc5_tell_drop(ctx, cpu, verdict->reason, reason);", "(void)0;"),
    Fault("what passes is written down, and lost", "if (verdict->action == XDP_DROP)", "if (1)"),
    Fault("drops written down without end", "counter[VC5_DROPS_CLOSED] = time;", "(void)0;"),
    Fault("one drop more in a second", "number + 1 - VC5_DROPS_A_SECOND", "number - VC5_DROPS_A_SECOND"),
    Fault("another reason than that of the drop", "vc5_notes[cpu].reason = reason;", "vc5_notes[cpu].reason = 0;"),
    Fault("drops without their first byte", "vc5_load(ctx, 0, record->octets", "vc5_load(ctx, 1, record->octets"),
    Fault("rings of one record", "record = ring + (number & (VC5_DROPS_KEPT - 1));", "record = ring;"),
    # Finding the service.
    Fault("service key not compared", "service->key == key ? service : NULL", "service"),
    Fault("service key not compared on the quick way", "if (service->key != key)", "if (0)"),
    Fault("VIP not compared", "vip->low == vc5_mapped(address)", "vip->low"),
    Fault("displacement added", "(mixed >> 32) ^ row[high]", "(mixed >> 32) + row[high]"),
    Fault("old copy of the services", "&vc5_services[copy *", "&vc5_services[0 *"),
    Fault("`unknown_port: pass` ignored", "vc5_settings->pass_unknown_port ? XDP_PASS", "0 ? XDP_PASS"),
    # Slots and flows.
    Fault(
        "hash without the port of the VIP",
        "source * service->source_factor + ports",
        "source * service->source_factor + (ports & 0xffff)",
    ),
    Fault("name without the port", "(k[3] + packet->ports)", "(k[3] + (packet->ports & 0xffff))"),
    Fault("hash of before without ports", "sticky ? hash : whole", "hash"),
    Fault("hash of before with ports", "sticky ? hash : whole", "whole"),
    Fault("what was remembered before has no ports", "vc5_flow_name(whole)", "vc5_flow_name(hash)"),
    Fault(
        "sticky client remembered as one",
        "ports_factor ? hash : hash + vc5_ports_part",
        "ports_factor ? hash : hash + 0 * vc5_ports_part",
    ),
    Fault("slot from the low half of the hash", "(hash + 1) >> 32) * count", "(hash + 1) & 0xffffffff) * count"),
    Fault("slot in even steps", "((hash * (hash + 1) >> 32) * count", "((hash >> 32) * count"),
    Fault("previous answer not asked", "if (asked)", "if (0)"),
    Fault("previous answer by today's hash", "u64 *k = packet->keys->previous", "u64 *k = packet->keys->coefficient"),
    Fault("previous answer from today's slots", "vc5_slot_of(service->previous_slots", "vc5_slot_of(service->slots"),
    Fault("what was remembered before is forgotten", "tag && !vc5_expired(way, time))\n\t\t\tif", "0)\n\t\t\tif"),
    Fault("tag not compared", "seen && seen >> VC5_WAY_TAG_SHIFT == tag", "seen"),
    Fault(
        "set from other bits",
        "first = (name >> (64 - VC5_SET_BITS)) * VC5_WAYS, way",
        "first = (name & (VC5_SETS - 1)) * VC5_WAYS, way",
    ),
    Fault("candidate bit never cleared", "syn ? way & VC5_CANDIDATE : 0", "way & VC5_CANDIDATE"),
    Fault("candidate bit cleared by a second SYN", "syn ? way & VC5_CANDIDATE : 0", "0"),
    Fault("diverted not stamped", "vc5_histories[slot].diverted = time;", ";"),
    _without("diverted stamped by candidates", " && !(fresh & VC5_CANDIDATE)"),
    _without("SYN to a draining backend kept", " && !(syn && state == VC5_STATE_DRAINING)"),
    Fault("was and now swapped", "choice.index = was;", "choice.index = now;"),
    _without("RST remembered", " && !(flags & VC5_TCP_RST)"),
    Fault("expiry off by one", "(way - time - 1)", "(way - time)"),
    Fault("entries do not expire", "VC5_EXPIRY_MASK) >= VC5_HALF_TIME", "VC5_EXPIRY_MASK) > VC5_EXPIRY_MASK"),
    Fault("FIN does not shorten", "if (flags & VC5_TCP_FIN &&", "if (0 &&"),
    Fault("RST does not shorten", "if (flags & VC5_TCP_RST &&", "if (0 &&"),
    Fault("stamp not refreshed", "if (fresh != way)", "if (0)"),
    Fault("confirmed flow put out", "else if (way & VC5_CANDIDATE)", "else"),
    Fault("candidates go before expired flows", "victim < VC5_WAYS ? victim : candidate", "candidate"),
    _without("refusal not counted", "vc5_count(VC5_REASON_REFUSED);"),
    Fault("stale entry not replaced", "(now != was || way || asked || all)", "(now != was || asked || all)"),
    Fault("`no backend` remembered", "now && (now != was || way", "(now != was || way"),
    Fault("not every new flow remembered", "(now != was || way || asked || all)", "(now != was || way || asked)"),
    Fault("not every older flow remembered", "(was != now || asked || all)", "(was != now || asked)"),
    Fault(
        "every flow of every service remembered", "all = service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL;", "all = 1;"
    ),
    Fault("owner of a refreshed flow not stored", "if (all)\n\t\t\t\t\tvc5_own", "if (0)\n\t\t\t\t\tvc5_own"),
    Fault(
        "owner not forgotten",
        "vc5_own(first, place, service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL ? service->destinations + index : 0)",
        "if (service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL)\n\t\tvc5_own(first, place, service->destinations + index)",
    ),
    Fault("owner inside the service", "? service->destinations + index : 0", "? index : 0"),
    Fault("draining is dead", "state >= VC5_STATE_DRAINING", "state > VC5_STATE_DRAINING"),
    Fault("UDP held to a dead backend", "udp = packet->protocol == VC5_PROTOCOL_UDP, syn", "udp = 0, syn"),
    Fault("SYN held to a dead backend", "!vc5_lives(state) && !syn && !udp", "!vc5_lives(state) && !udp"),
    Fault("`on_dead` ignored", "choice.dead = service->on_dead != VC5_DEAD_POLICY_RESELECT", "choice.dead = 0"),
    Fault("`on_dead` where there was no backend", "was && service->on_dead", "service->on_dead"),
    # Forwarding and counting.
    Fault("TTL not decremented", "word + 0x10000 - 1", "word + 0x10000"),
    _without("checksum without carry", "\t\tword += 0x10000;\n"),
    _without("half of the source MAC", "*(u32 *)(frame + 8) = tail;"),
    Fault("refused destination used", "if (destination->refusal) {", "if (0) {"),
    Fault(
        "counter of another destination",
        "verdict->destination = number;\n\tverdict->octets",
        "verdict->destination = service->destinations;\n\tverdict->octets",
    ),
    Fault("octets in network order", "packet->octets = vc5_length(ip->tot_len)", "packet->octets = ip->tot_len"),
    Fault(
        "SYN-ACK counted as a flow",
        "return (flags & (VC5_TCP_SYN | VC5_TCP_ACK)) == VC5_TCP_SYN;",
        "return flags & VC5_TCP_SYN;",
    ),
    Fault("drops not counted", "drops += 1;", "drops += 0;"),
    # Answers of our own.
    Fault("VIP down answers echo", "if (vip && vip->up)", "if (vip)"),
    Fault("echo sent on", "ip->saddr = ip->daddr;\n", ";\n"),
    Fault("checksum difference turned round", "sum += (u32)~before;", "sum += before;"),
    _without("RST without the length of FIN", "segment.next += !!(packet->flags & VC5_TCP_FIN);"),
    Fault("RST answered", "if (packet->flags & VC5_TCP_RST) {", "if (0) {"),
    Fault("data sent back behind the RST", "surplus > 0 && vc5_move_tail", "0 && vc5_move_tail"),
    # Probes.
    Fault("no checksum of UDP touched", "if ((sum || !udp) && ", "if ("),
    Fault("UDP checksum becomes none", "!sum && udp ? 0xffff : sum", "sum"),
    Fault(
        "answer expected at another port",
        ".own_port = vc5_destination_port(packet),",
        ".own_port = 1 + vc5_destination_port(packet),",
    ),
    Fault(
        "answer to another address taken", "if (identity->own[3] != ((const struct iphdr *)header)->daddr)", "if (0)"
    ),
    _without("freed destination probed", " || identity->freed"),
    Fault(
        "answer from another backend", "VC5_PROBE_NET << 24 | (u32)*found", "VC5_PROBE_NET << 24 | (u32)(*found + 1)"
    ),
    Fault("steered by a stranger's address", "packet->source = vc5_le32(caller->own[3]);", "packet->source = 0;"),
    Fault("steered to where the caller said", "number = chosen & (VC5_DESTINATIONS - 1);", ""),
    Fault(
        "steered to nobody", "if (refusal && refusal != VC5_REFUSAL_TUNNEL", "if (0 && refusal != VC5_REFUSAL_TUNNEL"
    ),
    Fault("addresses in the checksum of an echo request", " && packet->protocol != VC5_PROTOCOL_ICMP) {", ") {"),
    Fault("echo requests taken for replies", "reply ? VC5_ICMP_ECHO_REPLY : VC5_ICMP_ECHO;", "VC5_ICMP_ECHO_REPLY;"),
    Fault("identifier of a reply in the other port", "reply ? identifier << 16 : identifier", "identifier"),
    Fault("codes of echo messages not looked at", "icmp->type == type && !icmp->code", "icmp->type == type"),
    Fault(
        "too big told to the prober",
        "icmp[0] == VC5_ICMP_UNREACHABLE && icmp[1] != VC5_ICMP_FRAGMENTATION_NEEDED",
        "icmp[0] == VC5_ICMP_UNREACHABLE",
    ),
    Fault(
        "error about a probe quotes the balancer",
        "!vc5_translate_error(packet, header, end, &part, VC5_SOURCE, prober, key.own_port) ||",
        "",
    ),
    Fault(
        "error about a probe quotes the VIP",
        "!vc5_translate_error(packet, header, end, &part, VC5_DESTINATION, source, called))",
        "0)",
    ),
    Fault("echo replies not handed over", "!walk->fragment && vc5_is_icmp(packet)", "0"),
    Fault("probe of the frame's own length believed", "length < sizeof(*ip) || (void *)ip + length > cursor.end", "0"),
)

MODE_FAULTS = (
    # Of IPv6, in a program with every family and every kind of frame.
    Fault("address of IPv6 not compared", "if (service->key != key || service->source_factor != high ||", "if ("),
    Fault("half of an IPv6 VIP not compared", "vip->high == high && vip->low == low", "vip->low == low"),
    Fault("hop limit not decremented", "vc5_one_hop_less(frame + l2, family);", ";"),
    Fault(
        "hop limit of a tracked packet not decremented",
        "vc5_one_hop_less(ip, packet->family);\n\tvc5_send(",
        "vc5_send(",
    ),
    Fault("hop limit 1 forwarded", "end) || ip->hops <= 1)", "end) || ip->hops < 1)"),
    Fault("a word of the source not hashed", " + fourth * wide[2]", ""),
    Fault(
        "IPv6 hash without the port of the VIP",
        "ports * service->ports_factor + service->rest;\n}\n\nstatic __always_inline u64 vc5_hash(",
        "(ports & 0xffff) * service->ports_factor + service->rest;\n}\n\nstatic __always_inline u64 vc5_hash(",
    ),
    Fault(
        "previous hash of IPv6 without the VIP",
        " +\n\t\t       vc5_vip_sum(packet, packet->keys->previous_wide_vip);",
        ";",
    ),
    Fault(
        "half of the source hashed as a word",
        "vc5_source_part(wide, words[0] | words[1] << 32,",
        "vc5_source_part(wide, words[0],",
    ),
    Fault(
        "opening counted for any SYN",
        "	if (vc5_opens(flags))\n		vc5_count_open(verdict);",
        "	if (flags & VC5_TCP_SYN)\n		vc5_count_open(verdict);",
    ),
    Fault("opening of a tracked flow not counted", "	if (verdict->flows)\n		vc5_count_open(verdict);\n", ""),
    Fault("authentication header as long as others", "length = (header[1] + 2) * 4;", ";"),
    Fault("more-fragments of IPv6 is no fragment", "VC5_FRAGMENT6_BITS = 0xfff9", "VC5_FRAGMENT6_BITS = 0xfff8"),
    Fault("hop-by-hop options not walked", "next != VC5_HOP_BY_HOP && ", ""),
    Fault("one extension header too few", "VC5_EXTENSIONS = 6", "VC5_EXTENSIONS = 5"),
    Fault("extension header beyond the packet", "if (length > room)\n\t\t\treturn broken;", ""),
    Fault(
        "neighbour solicitation dropped",
        "vc5_decide(verdict, XDP_PASS, VC5_REASON_NEIGHBOUR);",
        "vc5_decide(verdict, XDP_DROP, VC5_REASON_NEIGHBOUR);",
    ),
    Fault("echo reply of IPv4 in IPv6", "icmp->type = VC5_ICMP6_ECHO_REPLY;", "icmp->type = VC5_ICMP_ECHO_REPLY;"),
    Fault(
        "checksum of a probe over half the address",
        "for (i = 0; i < VC5_WORDS; i++) {\n\t\t\tsum",
        "for (i = 0; i < 2; i++) {\n\t\t\tsum",
    ),
    Fault(
        "echo reply of IPv4 taken in IPv6",
        "reply ? VC5_ICMP6_ECHO_REPLY : VC5_ICMP6_ECHO;",
        "reply ? VC5_ICMP_ECHO_REPLY : VC5_ICMP6_ECHO;",
    ),
    Fault(
        "ICMP of the other family",
        "packet->family == VC5_IPV6 ? VC5_PROTOCOL_ICMP6 : VC5_PROTOCOL_ICMP)",
        "VC5_PROTOCOL_ICMP)",
    ),
    Fault(
        "every error of IPv6 told to the prober",
        "return icmp[0] == VC5_ICMP6_UNREACHABLE;",
        "return icmp[0] && icmp[0] <= VC5_ICMP6_KNOWN_ERRORS;",
    ),
    Fault("probe address beyond the prefix", "ip->destination[1] || ip->destination[2]", "ip->destination[1]"),
    Fault(
        "answer of IPv6 to another address taken",
        "if (!vc5_same(identity->own, ((const struct vc5_ipv6 *)header)->destination))",
        "if (0)",
    ),
    Fault(
        "RST of IPv6 with the length of IPv4",
        "ip->length = bpf_htons(sizeof(struct tcphdr));",
        "ip->length = bpf_htons(40);",
    ),
    # Of tags.
    Fault("priority of a tag lost", "(*control & (u16)~bpf_htons(VC5_TAG_ID)) | vlan", "vlan"),
    Fault("tag id 0 taken for a network", "if (*(const u16 *)(frame + ETH_HLEN) & bpf_htons(VC5_TAG_ID))", "if (1)"),
    Fault("tag not pushed", "if (!leg->vlan != (l2 == ETH_HLEN)) {", "if (leg->vlan && l2 != ETH_HLEN && 0) {"),
    Fault("pushed tag of another network", "type[1] = vlan;", "type[1] = bpf_htons(1);"),
    Fault("trunk left by redirect", "(l2 == ETH_HLEN || !leg->vlan) && leg->interface", "leg->interface"),
    Fault("never redirected", "leg->interface != ctx->ingress_ifindex", "0"),
    Fault("probe without its tag", "if (vc5_leg(leg)->vlan) {", "if (0) {"),
    Fault(
        "answer to a probe with its tag",
        "if (l2 == VC5_TAGGED_LENGTH) {\n\t\tframe = vc5_retag(ctx, l2, 0);",
        "if (0) {\n\t\tframe = vc5_retag(ctx, l2, 0);",
    ),
    Fault(
        "priority tag counted as a network",
        "reason = VC5_REASON_UNTAGGED;\n\t\t}",
        "reason = VC5_REASON_NOT_VIP;\n\t\t}",
    ),
)
"""Planted into a program that serves both families and mixes tags."""
NAT_FAULTS = (
    Fault("port not translated", "ports[which] = port;\n\tif (!udp", "if (!udp"),
    Fault("port not in the checksum", "sum += (u64)(u16)~ports[which] + port;", ";"),
    Fault("UDP without checksum gets one", "if (!udp || *check) {", "if (1) {"),
    Fault("UDP checksum comes out as none", "udp && !checksum ? 0xffff : checksum", "checksum"),
    Fault(
        "SYN-ACK not clamped",
        "most && packet->flags & VC5_TCP_SYN",
        "most && (packet->flags & (VC5_TCP_SYN | VC5_TCP_ACK)) == VC5_TCP_SYN",
    ),
    Fault("segments raised", "(u32)(option[2] << 8 | option[3]) <= most", "0"),
    Fault("clamping at odd offsets", "if (at & 1) {", "if (0) {"),
    Fault("an option without length followed", "option[1] < 2)", "0)"),
    Fault("answers to the balancer translated", "if (!vc5_to_own(packet, header, &vc5_identities[number]))", "if (1)"),
    Fault("answers on other MACs translated", "return second == middle && first == tail;", "return 1;"),
    Fault("hops of answers not counted", "vc5_one_hop_less(header, packet->family);\n\t__builtin", "__builtin"),
    Fault(
        "answers without hops returned",
        "if (hops <= 1) {\n\t\tverdict->destination = number;\n\t\tvc5_decide",
        "if (0) {\n\t\tvc5_decide",
    ),
    Fault("packets for unresolved routers as they came", "else if (found != BPF_FIB_LKUP_RET_NO_NEIGH)", "else"),
    Fault("answers to probes from another port", "source, *found >> 32, 0)", "source, key.vip_port, 0)"),
    Fault("echo requests with a port", "mapped && !vc5_is_icmp(&packet) &&", "mapped &&"),
    Fault("echo replies with a port", "mapped && !vc5_is_icmp(packet) &&", "mapped &&"),
    Fault(
        "echo replies from behind NAT not handed over",
        "if (verdict.reason == VC5_REASON_NOT_VIP)\n\t\tvc5_tail_call(ctx, vc5_tails, VC5_TAIL_PROBE_ICMP);",
        ";",
    ),
    Fault("error about a probe quotes the backend's port", "called = *found >> 32;", ";"),
    Fault("probes not mapped", "key.vip_port = identity->mapped;", ";"),
)
"""In a program with NAT."""
