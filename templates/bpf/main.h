/* The way of nearly every packet. What it cannot handle at once goes to vc5_cold, with nothing changed. */

enum vc5_way {
	VC5_WAY_LEAVE, /* the verdict stands */
	VC5_WAY_RARE, /* somebody else's packet, unless it concerns a VIP */
	VC5_WAY_COLD,
};

static __always_inline enum vc5_way vc5_quick(struct xdp_md *ctx, struct vc5_verdict *verdict)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	const struct vc5_service *service;
	struct vc5_packet packet = {};
	u64 length, header;

	if ((void *)(tcp + 1) > end)
		return VC5_WAY_COLD;
	/* Type, version and header length as one word; the fourth byte is the type of service. */
	if ((*(u32 *)(data + 12) & bpf_htonl(0xffffff00)) != bpf_htonl(0x08004500)) {
		if (*(u16 *)(data + 12) == bpf_htons(ETH_P_IP))
			return VC5_WAY_RARE;
		vc5_other_protocol(verdict, data, end);
		return VC5_WAY_LEAVE;
	}
	if (ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS))
		return VC5_WAY_RARE;
	packet.protocol = ip->protocol;
	if (packet.protocol != VC5_PROTOCOL_TCP && packet.protocol != VC5_PROTOCOL_UDP)
		return VC5_WAY_RARE;
	packet.source = vc5_le32(ip->saddr);
	packet.vip = vc5_le32(ip->daddr);
	packet.ports = vc5_le32(*(u32 *)tcp);
	service = vc5_find_service(&packet);
	if (!service)
		return VC5_WAY_RARE;
	length = bpf_ntohs(ip->tot_len);
	if ((void *)ip + length > end || ip->ttl <= 1)
		return VC5_WAY_COLD;
	if (packet.protocol == VC5_PROTOCOL_TCP) {
		header = vc5_tcp_header(tcp);
		packet.flags = ((u8 *)tcp)[13];
		if (header < sizeof(*tcp))
			return VC5_WAY_COLD;
	} else {
		header = bpf_ntohs(((struct udphdr *)tcp)->len);
		if (header < sizeof(struct udphdr))
			return VC5_WAY_COLD;
	}
	if (sizeof(*ip) + header > length)
		return VC5_WAY_COLD;
	vc5_forward(verdict, ethernet, ip, service, &packet);
/*% if shape.resets %*/
	if (verdict->reason == VC5_REASON_RESET)
		return VC5_WAY_COLD;
/*% endif %*/
	return VC5_WAY_LEAVE;
}

int vc5_main(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	enum vc5_way way = vc5_quick(ctx, &verdict);

	if (way == VC5_WAY_RARE) {
		struct iphdr *ip = (void *)(long)ctx->data + ETH_HLEN;

		vc5_decide(&verdict, XDP_PASS, VC5_REASON_NOT_VIP);
		if ((void *)(ip + 1) <= (void *)(long)ctx->data_end)
			if (vc5_find_vip(vc5_le32(ip->daddr)) || vc5_find_vip(vc5_le32(ip->saddr)))
				way = VC5_WAY_COLD;
	}
	if (way == VC5_WAY_COLD) {
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_COLD);
		verdict.destination = 0;
		vc5_decide(&verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
	}
	return vc5_leave(&verdict);
}
