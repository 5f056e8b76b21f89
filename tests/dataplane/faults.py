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
    Fault("options not handled", "header = ip->ihl * 4;", "header = sizeof(*ip);"),
    _without("packet longer than the frame forwarded", "(void *)ip + length > end || "),
    Fault("TCP header longer than the packet forwarded", "length >= sizeof(*tcp) && length <= room", "length >= 20"),
    Fault("UDP length not checked", "return length >= sizeof(*udp) && length <= room;", "return 1;"),
    _without("802.1ad tag not known", " || type == bpf_htons(VC5_TAG_8021AD)"),
    Fault("IPv6 counted as another protocol", "reason = VC5_REASON_NOT_VIP;", "reason = VC5_REASON_NOT_IP;"),
    Fault("a tag behind a tag not seen", " || vc5_is_tag(inner)", ""),
    Fault("TTL 1 forwarded", "ip->ttl <= 1)\n\t\treturn VC5_WAY_COLD", "ip->ttl < 1)\n\t\treturn VC5_WAY_COLD"),
    # Finding the service.
    Fault("service key not compared", "service->key == key ? service : NULL", "service"),
    Fault("service key not compared on the quick way", "if (service->key != key)", "if (0)"),
    Fault("VIP not compared", "vip->address == address && address", "address"),
    Fault("displacement added", "^ vc5_displacements[", "+ vc5_displacements["),
    Fault("old copy of the services", "&vc5_services[copy *", "&vc5_services[0 *"),
    Fault("`unknown_port: pass` ignored", "vc5_settings->pass_unknown_port ? XDP_PASS", "0 ? XDP_PASS"),
    # Slots and flows.
    Fault("hash without the port of the VIP", "ports * factor[1]", "(ports & 0xffff) * factor[1]"),
    Fault("name without the port", "(k[3] + packet->ports)", "(k[3] + (packet->ports & 0xffff))"),
    Fault("hash of before without ports", "sticky ? hash : whole", "hash"),
    Fault("hash of before with ports", "sticky ? hash : whole", "whole"),
    Fault("what was remembered before has no ports", "vc5_flow_name(whole)", "vc5_flow_name(hash)"),
    Fault(
        "sticky client remembered as one",
        "ports_factor ? hash : hash + vc5_ports_part",
        "ports_factor ? hash : hash + 0 * vc5_ports_part",
    ),
    Fault("slot from the low half of the hash", "((hash >> 32) * count", "((hash & 0xffffffff) * count"),
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
    Fault("diverted not stamped", "history->diverted = time;", ";"),
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
    Fault("owner of a refreshed flow not stored", "if (fresh != way && all)", "if (0)"),
    Fault(
        "owner not forgotten",
        "vc5_own(first, place, service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL ? service->destinations + index : 0)",
        "if (service->flags & VC5_SERVICE_FLAG_REMEMBER_ALL)\n\t\tvc5_own(first, place, service->destinations + index)",
    ),
    Fault("owner inside the service", "? service->destinations + index : 0", "? index : 0"),
    Fault("draining is dead", "state >= VC5_STATE_DRAINING", "state > VC5_STATE_DRAINING"),
    Fault("UDP held to a dead backend", "udp = packet->protocol == VC5_PROTOCOL_UDP", "udp = 0"),
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
    Fault("octets in network order", "verdict->octets = bpf_ntohs(ip->tot_len)", "verdict->octets = ip->tot_len"),
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
    _without("RST without the length of FIN", "data += !!(packet.flags & VC5_TCP_FIN);"),
    Fault("RST answered", "if (packet->flags & VC5_TCP_RST) {", "if (0) {"),
    Fault("data sent back behind the RST", "surplus > 0 && vc5_move_tail", "0 && vc5_move_tail"),
    # Probes.
    Fault("no checksum of UDP touched", "if (sum || ip->protocol == VC5_PROTOCOL_TCP)", "if (1)"),
    Fault("UDP checksum becomes none", "!sum && ip->protocol == VC5_PROTOCOL_UDP ? 0xffff : sum", "sum"),
    Fault("answer expected at another port", "\t.own_port = ", "\t.own_port = 1 + "),
    _without("answer to another address taken", "identity->own != ip->daddr || "),
    _without("freed destination probed", " || identity->freed"),
    Fault("answer from another backend", "VC5_PROBE_NET << 24 | number", "VC5_PROBE_NET << 24 | (number + 1)"),
    Fault("probe of the frame's own length believed", "length < sizeof(*ip) || (void *)ip + length > cursor.end", "0"),
)
