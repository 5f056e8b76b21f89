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
	u32 length;

	if ((void *)(tcp + 1) > end)
		return VC5_WAY_COLD;
	if (ethernet->h_proto != bpf_htons(ETH_P_IP)) {
		vc5_other_protocol(verdict, ethernet->h_proto);
		return VC5_WAY_LEAVE;
	}
	if (*(u8 *)ip != 0x45 || ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS))
		return VC5_WAY_RARE;
	packet.protocol = ip->protocol;
	if (packet.protocol != VC5_PROTOCOL_TCP && packet.protocol != VC5_PROTOCOL_UDP)
		return VC5_WAY_RARE;
	packet.source = bpf_ntohl(ip->saddr);
	packet.vip = bpf_ntohl(ip->daddr);
	service = vc5_find_service(packet.vip, bpf_ntohs(tcp->dest), packet.protocol);
	if (!service)
		return VC5_WAY_RARE;
	length = bpf_ntohs(ip->tot_len);
	if (length < sizeof(*ip) || (void *)ip + length > end || ip->ttl <= 1)
		return VC5_WAY_COLD;
	if (!vc5_read_transport(&packet, tcp, end, length - sizeof(*ip)))
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
			if (vc5_find_vip(bpf_ntohl(ip->daddr)) || vc5_find_vip(bpf_ntohl(ip->saddr)))
				way = VC5_WAY_COLD;
	}
	if (way == VC5_WAY_COLD) {
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_COLD);
		verdict.destination = 0;
		vc5_decide(&verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
	}
	return vc5_leave(&verdict);
}
