/* ICMP echo requests to a VIP are answered here, so that a VIP that is up can be pinged although no host owns it. */

enum {
	VC5_ECHO_TTL = 64,
	/* RFC 792 */
	VC5_ICMP_ECHO_REPLY = 0,
	VC5_ICMP_UNREACHABLE = 3,
	VC5_ICMP_ECHO = 8,
	VC5_ICMP_TIME_EXCEEDED = 11,
	VC5_ICMP_PARAMETER_PROBLEM = 12,
};

struct vc5_icmp_header {
	u8 type;
	u8 code;
	u16 checksum;
	u32 rest;
};

static __always_inline void vc5_answer_echo(struct vc5_verdict *verdict, struct ethhdr *ethernet, struct iphdr *ip,
					    struct vc5_icmp_header *icmp)
{
	u16 before = *(u16 *)&ip->ttl, after;
	u32 source = ip->saddr;
	u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, mac, ETH_ALEN);
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
	const struct vc5_vip *vip = vc5_find_vip(vc5_le32(ip->daddr));
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
