/* The way of nearly every packet: TCP or UDP for a service, in a settled slot. A tracked slot sends it through the same
 * headers once more, so that what only tracking needs does not burden the registers here; and what neither can handle goes
 * to vc5_cold. Nothing is changed before it is certain that the packet leaves.
 */

enum vc5_way {
	VC5_WAY_LEAVE, /* the verdict stands */
	VC5_WAY_RARE, /* somebody else's packet, unless it concerns a VIP */
	VC5_WAY_TRACKED,
	VC5_WAY_COLD,
};

static __always_inline enum vc5_way vc5_settled(struct xdp_md *ctx, struct vc5_verdict *verdict)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	const struct vc5_destination *destination;
	const struct vc5_service *service;
	u64 key, length, header, word, protocol, flags = 0;

	if ((void *)(tcp + 1) > end)
		return VC5_WAY_COLD;
	/* Type, version and header length as one word; the fourth byte is the type of service. */
	if ((*(u32 *)(data + 12) & bpf_htonl(0xffffff00)) != bpf_htonl(0x08004500)) {
		if (vc5_frame_type(data) == bpf_htons(ETH_P_IP))
			return VC5_WAY_RARE;
		vc5_other_protocol(verdict, data, end);
		return VC5_WAY_LEAVE;
	}
	if (ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS))
		return VC5_WAY_RARE;
	protocol = ip->protocol;
	key = vc5_key(vc5_le32(ip->daddr), protocol, vc5_le16(tcp->dest));
	service = vc5_candidate(key, vc5_lookup->multiplier);
	if (service->key != key)
		return VC5_WAY_RARE;
	length = vc5_length(ip->tot_len);
	if ((void *)ip + length > end || ip->ttl <= 1)
		return VC5_WAY_COLD;
	if (protocol == VC5_PROTOCOL_TCP) {
		header = vc5_tcp_header(tcp);
		flags = ((u8 *)tcp)[13];
		if (header < sizeof(*tcp))
			return VC5_WAY_COLD;
	} else {
		header = bpf_ntohs(((struct udphdr *)tcp)->len);
		if (header < sizeof(struct udphdr) || protocol != VC5_PROTOCOL_UDP)
			return VC5_WAY_COLD;
	}
	if (sizeof(*ip) + header > length)
		return VC5_WAY_COLD;
	word = vc5_read_slot(service, vc5_hash(service->factor, vc5_le32(ip->saddr), vc5_le32(*(u32 *)tcp)));
	vc5_opaque(word);
	if (word >= VC5_TRACKED)
		return VC5_WAY_TRACKED;
	word = (service->destinations + word) & (VC5_DESTINATIONS - 1);
	destination = &vc5_destinations[word];
	vc5_opaque(destination);
	if (destination->refusal)
		return VC5_WAY_TRACKED;
	verdict->destination = word;
	verdict->octets = length;
	verdict->flows = vc5_opens(flags);
	vc5_send(verdict, data, ip, destination);
	return VC5_WAY_LEAVE;
}

/* The same packet, whose fields have all been checked, for any slot. */
static __always_inline enum vc5_way vc5_unsettled(struct xdp_md *ctx, struct vc5_verdict *verdict)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	struct tcphdr *tcp = (void *)(ip + 1);
	const struct vc5_service *service;
	struct vc5_packet packet = {};

	if ((void *)(tcp + 1) > end)
		return VC5_WAY_COLD;
	packet.protocol = ip->protocol;
	packet.source = vc5_le32(ip->saddr);
	packet.vip = vc5_le32(ip->daddr);
	packet.ports = vc5_le32(*(u32 *)tcp);
	if (packet.protocol == VC5_PROTOCOL_TCP)
		packet.flags = ((u8 *)tcp)[13];
	service = vc5_find_service(&packet);
	if (!service)
		return VC5_WAY_COLD;
	vc5_forward(verdict, data, ip, service, &packet);
/*% if shape.resets %*/
	if (verdict->reason == VC5_REASON_RESET)
		return VC5_WAY_COLD;
/*% endif %*/
	return VC5_WAY_LEAVE;
}

int vc5_main(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	enum vc5_way way = vc5_settled(ctx, &verdict);

	if (way == VC5_WAY_TRACKED)
		way = vc5_unsettled(ctx, &verdict);
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
