/* ICMP echo requests to a VIP are answered here, so that a VIP that is up can be pinged although no host owns it. Those of
 * the prober's go to a backend as all probes do (probe.h).
 */

enum {
	VC5_ECHO_TTL = 64,
	VC5_ICMP_LEAST = 8, /* bytes: the header, and what an error quotes of the transport at least */
	/* RFC 792 */
	VC5_ICMP_ECHO_REPLY = 0,
	VC5_ICMP_UNREACHABLE = 3,
	VC5_ICMP_FRAGMENTATION_NEEDED = 4, /* the code of an unreachable, RFC 1191 section 4 */
	VC5_ICMP_ECHO = 8,
	VC5_ICMP_TIME_EXCEEDED = 11,
	VC5_ICMP_PARAMETER_PROBLEM = 12,
	/* RFC 4443, and RFC 4861 from the router solicitation on */
	VC5_ICMP6_UNREACHABLE = 1,
	VC5_ICMP6_TOO_BIG = 2,
	VC5_ICMP6_KNOWN_ERRORS = 4,
	VC5_ICMP6_ERRORS = 127,
	VC5_ICMP6_ECHO = 128,
	VC5_ICMP6_ECHO_REPLY = 129,
	VC5_ICMP6_ROUTER_SOLICITATION = 133,
	VC5_ICMP6_REDIRECT = 137,
};

struct vc5_icmp_header {
	u8 type;
	u8 code;
	u16 checksum;
	u32 rest;
};

/* An echo request, or a reply. In the place of ports there is the identifier, as that of the side that asks; the other is 0.
 * Returns 0 where it is no such message.
 */
static __always_inline int vc5_read_echo(struct vc5_packet *packet, const void *at, const void *end, u64 room, int reply)
{
	const struct vc5_icmp_header *icmp = at;
	u64 identifier;
	u32 type;

	if ((void *)(icmp + 1) > end || room < sizeof(*icmp))
		return 0;
	if (packet->family == VC5_IPV6)
		type = reply ? VC5_ICMP6_ECHO_REPLY : VC5_ICMP6_ECHO;
	else
		type = reply ? VC5_ICMP_ECHO_REPLY : VC5_ICMP_ECHO;
	identifier = vc5_le32(icmp->rest) & 0xffff;
	packet->ports = reply ? identifier << 16 : identifier;
	return icmp->type == type && !icmp->code;
}

static __always_inline void vc5_turn_macs(struct ethhdr *ethernet)
{
	u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, mac, ETH_ALEN);
}

static __always_inline void vc5_answer_echo(struct vc5_verdict *verdict, struct ethhdr *ethernet, struct iphdr *ip,
					    struct vc5_icmp_header *icmp)
{
	u16 before = *(u16 *)&ip->ttl, after;
	u32 source = ip->saddr;

	vc5_turn_macs(ethernet);
	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->ttl = VC5_ECHO_TTL;
	after = *(u16 *)&ip->ttl;
	ip->check = vc5_adjust_checksum(ip->check, before, after);
	icmp->checksum = vc5_adjust_checksum(icmp->checksum, bpf_htons(VC5_ICMP_ECHO << 8), bpf_htons(VC5_ICMP_ECHO_REPLY << 8));
	icmp->type = VC5_ICMP_ECHO_REPLY;
	vc5_decide(verdict, XDP_TX, VC5_REASON_ECHO);
}

static __always_inline void vc5_icmp(struct vc5_verdict *verdict, struct ethhdr *ethernet, struct iphdr *ip, void *at,
				     const void *end, u32 room)
{
	const struct vc5_vip *vip = vc5_find_vip4(ip->daddr);
	struct vc5_icmp_header *icmp = at;

	if ((void *)(icmp + 1) > end || room < sizeof(*icmp)) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
		return;
	}
	switch (icmp->type) {
	case VC5_ICMP_ECHO:
		if (icmp->code)
			break;
		if (vip && vip->up)
			vc5_answer_echo(verdict, ethernet, ip, icmp);
		else
			vc5_decide(verdict, XDP_DROP, VC5_REASON_ECHO_VIP_DOWN);
		return;
	case VC5_ICMP_UNREACHABLE:
	case VC5_ICMP_TIME_EXCEEDED:
	case VC5_ICMP_PARAMETER_PROBLEM:
		vc5_decide(verdict, XDP_DROP, VC5_REASON_ICMP_ERROR);
		return;
	}
	vc5_decide(verdict, XDP_DROP, VC5_REASON_ICMP_TYPE);
}
/*% if shape.ipv6 %*/

/* Both addresses stand in the checksum, so exchanging them does not change it; the hop limit does not. */
static __always_inline void vc5_answer_echo6(struct vc5_verdict *verdict, struct ethhdr *ethernet, struct vc5_ipv6 *ip,
					     struct vc5_icmp_header *icmp)
{
	u32 i;

	vc5_turn_macs(ethernet);
#pragma unroll
	for (i = 0; i < VC5_WORDS; i++) {
		u32 source = ip->source[i];

		ip->source[i] = ip->destination[i];
		ip->destination[i] = source;
	}
	ip->hops = VC5_ECHO_TTL;
	icmp->checksum =
		vc5_adjust_checksum(icmp->checksum, bpf_htons(VC5_ICMP6_ECHO << 8), bpf_htons(VC5_ICMP6_ECHO_REPLY << 8));
	icmp->type = VC5_ICMP6_ECHO_REPLY;
	vc5_decide(verdict, XDP_TX, VC5_REASON_ECHO);
}

/* Neighbour discovery is the host's business, as ARP is. */
static __always_inline void vc5_icmp6(struct vc5_verdict *verdict, const struct vc5_packet *packet,
				      struct ethhdr *ethernet, struct vc5_ipv6 *ip, void *at, const void *end, u32 room)
{
	const struct vc5_vip *vip = vc5_find_vip6(packet->high, packet->low);
	struct vc5_icmp_header *icmp = at;

	if ((void *)(icmp + 1) > end || room < sizeof(*icmp)) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
		return;
	}
	if (icmp->type == VC5_ICMP6_ECHO && !icmp->code) {
		if (vip && vip->up)
			vc5_answer_echo6(verdict, ethernet, ip, icmp);
		else
			vc5_decide(verdict, XDP_DROP, VC5_REASON_ECHO_VIP_DOWN);
		return;
	}
	if (icmp->type >= VC5_ICMP6_ROUTER_SOLICITATION && icmp->type <= VC5_ICMP6_REDIRECT) {
		vc5_decide(verdict, XDP_PASS, VC5_REASON_NEIGHBOUR);
		return;
	}
	vc5_decide(verdict, XDP_DROP, icmp->type <= VC5_ICMP6_ERRORS ? VC5_REASON_ICMP_ERROR : VC5_REASON_ICMP_TYPE);
}
/*% endif %*/
