/* The way of nearly every packet: TCP or UDP for a service, in a settled slot. A tracked slot sends it through the same
 * headers once more, so that what only tracking needs does not burden the registers here; and what neither can handle goes
 * to vc5_cold. Nothing is changed before it is certain that the packet leaves.
 */

enum vc5_way {
	VC5_WAY_LEAVE, /* the verdict stands */
	VC5_WAY_RARE, /* somebody else's packet, unless it concerns a VIP */
	VC5_WAY_TRACKED,
	VC5_WAY_COLD,
	VC5_WAY_RETURN, /* the verdict stands, unless it is the answer of a backend behind NAT */
};

/*% if shape.tunnels %*/
/* A packet that would have to be summed up goes the long way. */
static __always_inline enum vc5_way vc5_settle_away(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2,
						    const struct vc5_destination *destination, u64 number, u64 hash,
						    u64 octets, u64 flags, u32 family)
{
	const struct vc5_tunnel *tunnel = vc5_tunnel_at(destination->path);
	struct vc5_cargo cargo = vc5_plain_cargo(frame + l2, family, octets, hash);

/*% if shape.udp_tunnels %*/
	if (cargo.unsummed)
		return VC5_WAY_COLD;
/*% endif %*/
	if (!vc5_fits(tunnel, octets))
		return VC5_WAY_TRACKED;
	verdict->destination = number;
	verdict->octets = octets;
	cargo.unsummed = 0;
	vc5_send_away(ctx, verdict, l2, frame + l2, destination, tunnel, &cargo);
	if (vc5_opens(flags))
		vc5_count_open(verdict);
	return VC5_WAY_LEAVE;
}

/*% endif %*/
/* The last steps, with the packet's hash: `ip` is its header, of `octets` bytes the whole packet. */
static __always_inline enum vc5_way vc5_settle(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2,
					       const struct vc5_service *service, u64 hash, u64 octets, u64 flags,
					       u32 family)
{
	const struct vc5_destination *destination;
	u64 word = vc5_read_slot(service, hash);

	vc5_opaque(word);
	if (word >= VC5_TRACKED)
		return VC5_WAY_TRACKED;
	word = (service->destinations + word) & (VC5_DESTINATIONS - 1);
	destination = &vc5_destinations[word];
	vc5_opaque(destination);
/*% if shape.tunnels %*/
	if (destination->refusal == VC5_REFUSAL_TUNNEL)
		return vc5_settle_away(ctx, verdict, frame, l2, destination, word, hash, octets, flags, family);
/*% endif %*/
	if (destination->refusal)
		return VC5_WAY_TRACKED;
/*% if shape.narrow %*/
	if (octets > vc5_leg_of(destination)->mtu)
		return VC5_WAY_TRACKED;
/*% endif %*/
	verdict->destination = word;
	verdict->octets = octets;
	vc5_one_hop_less(frame + l2, family);
	vc5_send(ctx, verdict, frame, l2, destination);
	if (vc5_opens(flags))
		vc5_count_open(verdict);
	return VC5_WAY_LEAVE;
}

static __always_inline enum vc5_way vc5_settled4(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + l2;
	struct tcphdr *tcp = (void *)(ip + 1);
	const struct vc5_service *service;
	u64 key, length, header, hash, protocol, flags = 0;

	if ((void *)(tcp + 1) > end)
		return VC5_WAY_COLD;
	if (ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS))
		return VC5_WAY_RARE;
	protocol = ip->protocol;
	key = vc5_key(vc5_le32(ip->daddr), protocol, vc5_le16(tcp->dest));
	service = vc5_candidate(key, vc5_lookup->multiplier);
	if (service->key != key)
		return VC5_WAY_RARE;
	vc5_note_source4(verdict, ip);
/*% if shape.blocks %*/
	if (vc5_suspect4(ip))
		return VC5_WAY_COLD;
/*% endif %*/
	length = vc5_length(ip->tot_len);
	if (!vc5_complete(ctx, l2, ip, length, end) || ip->ttl <= 1)
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
	hash = vc5_hash4(service, vc5_le32(ip->saddr), vc5_le32(*(u32 *)tcp));
	return vc5_settle(ctx, verdict, data, l2, service, hash, length, flags, VC5_IPV4);
}

/*% if shape.ipv6 %*/
static __always_inline enum vc5_way vc5_settled6(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u64 key, high, low, length, header, hash, flags = 0, lookup = vc5_lookup->multiplier;
	const struct vc5_key_set *keys = &vc5_keys[lookup & 1];
	struct vc5_ipv6 *ip = data + l2;
	struct tcphdr *tcp = (void *)(ip + 1);
	const struct vc5_service *service;

	if ((void *)(tcp + 1) > end)
		return VC5_WAY_COLD;
	/* First, so that the keys then need no register. */
	hash = vc5_source_part(keys->wide, vc5_half(&ip->source[0]), vc5_le32(ip->source[2]), vc5_le32(ip->source[3]));
	vc5_opaque(hash);
	high = vc5_half(&ip->destination[0]);
	low = vc5_half(&ip->destination[2]);
	key = vc5_key(vc5_fold(keys, high, low), vc5_protocol6(ip->next), vc5_le16(tcp->dest));
	service = vc5_candidate(key, lookup);
	if (service->key != key || service->source_factor != high || service->vip_low != low)
		return VC5_WAY_RARE;
/*% if shape.blocks %*/
	if (vc5_suspect6(ip))
		return VC5_WAY_COLD;
/*% endif %*/
	length = vc5_length(ip->length);
	if (!vc5_complete(ctx, l2, ip, sizeof(*ip) + length, end) || ip->hops <= 1)
		return VC5_WAY_COLD;
	if (ip->next == VC5_PROTOCOL_TCP) {
		header = vc5_tcp_header(tcp);
		flags = ((u8 *)tcp)[13];
		if (header < sizeof(*tcp))
			return VC5_WAY_COLD;
	} else {
		header = bpf_ntohs(((struct udphdr *)tcp)->len);
		if (header < sizeof(struct udphdr) || ip->next != VC5_PROTOCOL_UDP)
			return VC5_WAY_COLD;
	}
	if (header > length)
		return VC5_WAY_COLD;
	hash = vc5_hash6(service, hash, vc5_le32(*(u32 *)tcp));
	return vc5_settle(ctx, verdict, data, l2, service, hash, sizeof(*ip) + length, flags, VC5_IPV6);
}

/*% endif %*/
static __always_inline enum vc5_way vc5_settled(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 kind;

	if (data + l2 + 40 > end)
		return VC5_WAY_COLD;
	/* Type, version and of IPv4 the header length as one word; behind them stands the type of service. */
	kind = *(u32 *)(data + l2 - 2);
	if ((kind & bpf_htonl(0xffffff00)) == bpf_htonl(VC5_IPV4 << 16 | 0x4500))
		return vc5_settled4(ctx, verdict, l2);
/*% if shape.ipv6 %*/
	if ((kind & bpf_htonl(0xfffff000)) == bpf_htonl((u32)VC5_IPV6 << 16 | 0x6000))
		return vc5_settled6(ctx, verdict, l2);
	if (vc5_frame_type(data, l2) == bpf_htons(VC5_IPV6))
		return VC5_WAY_COLD;
/*% endif %*/
	if (vc5_frame_type(data, l2) == bpf_htons(VC5_IPV4))
		return VC5_WAY_RARE;
	vc5_other_protocol(verdict, data, end);
	return VC5_WAY_LEAVE;
}

/* The same packet, whose fields have all been checked, for any slot. */
static __always_inline enum vc5_way vc5_unsettled(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_cursor cursor = {data + l2, end};
	const struct vc5_service *service;
	struct vc5_packet packet = {};
	void *ip = data + l2;

	if (data + l2 > end)
		return VC5_WAY_COLD;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(data, l2) == bpf_htons(VC5_IPV6)) {
		struct vc5_ipv6 *header = vc5_read_ipv6(&cursor);

		if (!header)
			return VC5_WAY_COLD;
		vc5_read_addresses6(&packet, header);
		packet.protocol = header->next;
	} else
/*% endif %*/
	{
		struct iphdr *header = vc5_read_ipv4(&cursor);

		if (!header)
			return VC5_WAY_COLD;
		vc5_read_addresses4(&packet, header);
		packet.protocol = header->protocol;
	}
	if (!vc5_read_transport(&packet, cursor.at, end, 1 << 16))
		return VC5_WAY_COLD;
	service = vc5_find_service(&packet);
	if (!service)
		return VC5_WAY_COLD;
/*% if shape.tunnels %*/
	packet.headers = vc5_plain_headers(packet.family);
	packet.carried = packet.protocol;
/*% if shape.udp_tunnels %*/
	if (packet.protocol == VC5_PROTOCOL_UDP && !((struct udphdr *)cursor.at)->check)
		return VC5_WAY_COLD;
/*% endif %*/
/*% endif %*/
	vc5_forward(ctx, verdict, data, l2, ip, service, &packet);
	if (verdict->flows)
		vc5_count_open(verdict);
	verdict->flows = 0;
/*% if shape.resets %*/
	if (verdict->reason == VC5_REASON_RESET)
		return VC5_WAY_COLD;
/*% endif %*/
	return VC5_WAY_LEAVE;
}

static __always_inline int vc5_is_rare(void *data, void *end, u32 l2)
{
/*% if shape.ipv6 %*/
	if (data + l2 <= end && vc5_frame_type(data, l2) == bpf_htons(VC5_IPV6)) {
		struct vc5_ipv6 *ip = data + l2;

		if ((void *)(ip + 1) > end)
			return 0;
		return vc5_find_vip6(vc5_half(&ip->destination[0]), vc5_half(&ip->destination[2])) ||
		       vc5_find_vip6(vc5_half(&ip->source[0]), vc5_half(&ip->source[2]));
	}
/*% endif %*/
	struct iphdr *ip = data + l2;

	return (void *)(ip + 1) <= end && (vc5_find_vip4(ip->daddr) || vc5_find_vip4(ip->saddr));
}

static __always_inline enum vc5_way vc5_steer(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	enum vc5_way way = vc5_settled(ctx, verdict, l2);

/*% if shape.tunnels and shape.mixed %*/
	/* Both at once would be more than the verifier follows. */
	if (way == VC5_WAY_TRACKED)
		way = VC5_WAY_COLD;
/*% else %*/
	if (way == VC5_WAY_TRACKED)
		way = vc5_unsettled(ctx, verdict, l2);
/*% endif %*/
	if (way == VC5_WAY_RARE) {
		vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
		if (vc5_is_rare((void *)(long)ctx->data, (void *)(long)ctx->data_end, l2))
			way = VC5_WAY_COLD;
/*% if shape.nat %*/
		else
			way = VC5_WAY_RETURN;
/*% endif %*/
	}
	return way;
}

/*% if shape.ipv6 %*/
static __always_inline int vc5_is_ipv6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 l2 = vc5_layer2(data, end);

/*% if shape.tagged %*/
	if (l2 == VC5_TAGGED_LENGTH)
		return data + VC5_TAGGED_LENGTH <= end && vc5_frame_type(data, VC5_TAGGED_LENGTH) == bpf_htons(VC5_IPV6);
/*% endif %*/
	return l2 == ETH_HLEN && data + ETH_HLEN <= end && vc5_frame_type(data, ETH_HLEN) == bpf_htons(VC5_IPV6);
}

/*% endif %*/
int vc5_main(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	enum vc5_way way = VC5_WAY_COLD;
/*% if shape.tagged %*/
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 l2 = vc5_layer2(data, end);

	if (l2 == VC5_TAGGED_LENGTH) {
		way = vc5_steer(ctx, &verdict, VC5_TAGGED_LENGTH);
	}
/*% if shape.mixed %*/
	else if (l2 == ETH_HLEN) {
		way = vc5_steer(ctx, &verdict, ETH_HLEN);
	}
/*% endif %*/
	else if (data + ETH_HLEN <= end) {
		vc5_other_protocol(&verdict, data, end);
		way = VC5_WAY_LEAVE;
	}
/*% else %*/

	way = vc5_steer(ctx, &verdict, ETH_HLEN);
/*% endif %*/
/*% if shape.nat %*/
	if (way == VC5_WAY_RETURN)
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_RETURN);
	if (verdict.reason == VC5_REASON_INCOMPLETE)
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_NAT);
/*% endif %*/
	if (way == VC5_WAY_COLD) {
/*% if shape.ipv6 %*/
		if (vc5_is_ipv6(ctx))
			vc5_tail_call(ctx, vc5_tails, VC5_TAIL_COLD6);
		else
/*% endif %*/
			vc5_tail_call(ctx, vc5_tails, VC5_TAIL_COLD);
		verdict.destination = 0;
		vc5_decide(&verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
	}
	return vc5_leave(ctx, &verdict);
}
