/* vc5_return_error and vc5_return_fragment: whose packet it is that a backend behind NAT sends an error about, or a piece of.
 * What they recognise goes to vc5_nat_part; other ICMP to vc5_probe_icmp.
 */

/* Whether a backend sent the frame to the balancer, for somebody else. `number` is the destination's. */
static __always_inline int vc5_is_given_back(struct vc5_verdict *verdict, u32 l2, void *header,
					     const struct vc5_packet *packet, u32 hops, u64 number)
{
	if (vc5_to_own(packet, header, &vc5_identities[number]) || !vc5_is_mine(header - l2, &vc5_destinations[number]))
		return 0;
	verdict->destination = number;
	if (hops > 1)
		return 1;
	vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
	return 0;
}

/* The packet that an error quotes went to one of these. */
static __always_inline u32 vc5_error_back(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					  struct vc5_packet *packet, u32 transport, u32 hops)
{
	struct vc5_endpoint endpoint = {.protocol = packet->protocol, .port = vc5_destination_port(packet)};
	const u32 *found;

	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return 0;
	vc5_quoted_destination(packet, endpoint.address);
	found = vc5_map_find(vc5_returns, &endpoint);
	if (found && vc5_is_given_back(verdict, l2, header, packet, hops, *found & (VC5_DESTINATIONS - 1)))
		vc5_hand_part(ctx, verdict, packet, transport, transport + VC5_ICMP_LEAST + packet->quoted, 1);
	return 0;
}

/* vc5_return has found where the ICMP header begins. */
static __always_inline u32 vc5_error_back_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 transport = vc5_own_note()->transport & VC5_MOST_HEADERS, room;
	struct vc5_packet packet = {};
	struct iphdr *ip = frame + l2;
	u8 *icmp = (void *)ip + transport;

	vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
	if (frame + l2 > end || icmp + VC5_ICMP_LEAST > (u8 *)end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		struct vc5_ipv6 *header = frame + l2;

		if ((void *)(header + 1) > end || !*icmp || *icmp > VC5_ICMP6_KNOWN_ERRORS)
			return 0;
		vc5_read_addresses6(&packet, header);
		if (packet.octets < transport + VC5_ICMP_LEAST)
			return 0;
		room = packet.octets - transport - VC5_ICMP_LEAST;
		if (vc5_read_inner6(&packet, (void *)icmp + VC5_ICMP_LEAST, end, room))
			vc5_error_back(ctx, verdict, l2, header, &packet, transport, header->hops);
		return 0;
	}
/*% endif %*/
	if ((void *)(ip + 1) > end)
		return 0;
	if (*icmp != VC5_ICMP_UNREACHABLE && *icmp != VC5_ICMP_TIME_EXCEEDED && *icmp != VC5_ICMP_PARAMETER_PROBLEM)
		return 0;
	vc5_read_addresses4(&packet, ip);
	if (packet.octets < transport + VC5_ICMP_LEAST)
		return 0;
	room = packet.octets - transport - VC5_ICMP_LEAST;
	if (vc5_read_inner4(&packet, (void *)icmp + VC5_ICMP_LEAST, end, room))
		vc5_error_back(ctx, verdict, l2, ip, &packet, transport, ip->ttl);
	return 0;
}

int vc5_return_error(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_error_back_frame);
	if (verdict.reason == VC5_REASON_NOT_VIP)
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_PROBE_ICMP);
	return vc5_leave(ctx, &verdict);
}

/* Whether a destination is behind NAT, and its address is the packet's source. */
static __always_inline int vc5_is_from(const struct vc5_packet *packet, const void *header,
				       const struct vc5_identity *identity)
{
	if (!identity->mapped)
		return 0;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6)
		return vc5_same(identity->backend, ((const struct vc5_ipv6 *)header)->source);
/*% endif %*/
	return vc5_is_mapped(identity->backend) && identity->backend[VC5_WORDS - 1] == ((const struct iphdr *)header)->saddr;
}

static __always_inline void vc5_first_back(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					   const void *end, struct vc5_packet *packet, const struct vc5_walk *walk, u32 hops)
{
	struct vc5_endpoint endpoint = {.protocol = packet->protocol};
	const u32 *found;

	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return;
	if (!vc5_read_first(packet, walk, end))
		return;
	endpoint.port = vc5_source_port(packet);
	vc5_source_of(packet, header, endpoint.address);
	found = vc5_map_find(vc5_returns, &endpoint);
	if (!found || !vc5_is_given_back(verdict, l2, header, packet, hops, *found & (VC5_DESTINATIONS - 1)))
		return;
	vc5_remember_datagram(vc5_datagram_name(packet, walk->identification), verdict->destination);
	vc5_hand_part(ctx, verdict, packet, packet->octets - walk->room, 0, 1);
}

static __always_inline void vc5_fragment_back(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					      const void *end, struct vc5_packet *packet, const struct vc5_walk *walk,
					      u32 later, u32 hops)
{
	u32 number;

	if (!walk->at)
		return;
	if (!later) {
		vc5_first_back(ctx, verdict, l2, header, end, packet, walk, hops);
		return;
	}
	number = vc5_recall_datagram(vc5_datagram_name(packet, walk->identification));
	if (!number || !vc5_is_from(packet, header, &vc5_identities[number]))
		return;
	if (!vc5_is_given_back(verdict, l2, header, packet, hops, number))
		return;
	vc5_count(VC5_REASON_FRAGMENT_FOLLOWED);
	vc5_hand_part(ctx, verdict, packet, 0, 0, 1);
}

static __always_inline u32 vc5_fragment_back_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip = frame + l2;
	struct vc5_packet packet = {};
	struct vc5_walk walk;

	vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
	if (ip + sizeof(struct iphdr) > end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		struct vc5_ipv6 *header = ip;

		if ((void *)(header + 1) > end)
			return 0;
		vc5_read_addresses6(&packet, header);
		walk = vc5_walk6(ctx, l2, &packet, header, end, 1);
		vc5_fragment_back(ctx, verdict, l2, header, end, &packet, &walk,
				  walk.piece & bpf_htons(VC5_FRAGMENT6_OFFSET), header->hops);
		return 0;
	}
/*% endif %*/
	vc5_read_addresses4(&packet, ip);
	walk = vc5_walk4(ctx, l2, &packet, ip, end);
	vc5_fragment_back(ctx, verdict, l2, ip, end, &packet, &walk, walk.piece & bpf_htons(VC5_FRAGMENT_OFFSET),
			  ((struct iphdr *)ip)->ttl);
	return 0;
}

int vc5_return_fragment(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_fragment_back_frame);
	return vc5_leave(ctx, &verdict);
}
