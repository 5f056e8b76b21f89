/* What only quotes a packet of a service behind NAT, or is a piece of one: ICMP errors and fragments, both ways.
 *
 * An error to a VIP quotes what a backend sent, with the VIP's address and port: vc5_icmp_error has found whose that is, and
 * there they become the backend's again. An error that a backend sends to a client quotes what the client sent, with the
 * backend's address and port: vc5_return_error finds out whom the client had asked. The outer address changes where it is
 * the same; a router between balancer and backend speaks for itself. Of the later fragments of a datagram only addresses
 * change, and they follow the first, one way (fragment.h) as the other (vc5_return_fragment). What is not recognised is the
 * host's, as all that backends send.
 */

/* Address and port of one end, of whatever part the packet is: what comes `back` has it as its source, and an error quotes
 * what went the other way. Returns as vc5_translate does.
 */
static __always_inline int vc5_translate_part(const struct vc5_packet *packet, void *header, const void *end,
					      const struct vc5_part *part, int back, const u32 *address, u16 port)
{
	const u32 which = back ? VC5_SOURCE : VC5_DESTINATION;
	u64 sum = 0;

	if (part->inner)
		return vc5_translate_error(packet, header, end, part, !which, address, port);
	if (part->transport)
		return vc5_translate(packet, header, header + (part->transport & VC5_MOST_HEADERS), end, which, address, port,
				     0);
	return vc5_translate_address(packet, header, end, which, address, &sum);
}

static __always_inline void vc5_part_there(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					   const void *end, struct vc5_packet *packet, const struct vc5_part *part)
{
	const struct vc5_identity *identity = &vc5_identities[part->number];
	const u8 *tcp = header + (part->transport & VC5_MOST_HEADERS);

	if (part->transport && !part->inner && packet->protocol == VC5_PROTOCOL_TCP && (void *)(tcp + sizeof(struct tcphdr)) <= end)
		packet->flags = tcp[13];
	/* While a service is being changed from or to NAT, there may be no port. */
	if (identity->mapped && !vc5_translate_part(packet, header, end, part, 0, identity->backend, identity->mapped))
		return;
	vc5_one_hop_less(header, packet->family);
	verdict->destination = part->number;
	verdict->octets = packet->octets;
	verdict->flows = vc5_opens(packet->flags);
	vc5_send(ctx, verdict, header - l2, l2, &vc5_destinations[part->number]);
}

static __always_inline void vc5_part_back(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *header,
					  const void *end, const struct vc5_packet *packet, const struct vc5_part *part)
{
	const struct vc5_identity *identity = &vc5_identities[part->number];
	struct bpf_fib_lookup way = {.ifindex = ctx->ingress_ifindex};
	u64 leg;

	vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
	vc5_ask_way(packet, header, identity, &way);
	leg = vc5_find_leg(ctx, verdict, &way);
	if (leg == VC5_AS_IT_CAME)
		return;
	if (!vc5_translate_part(packet, header, end, part, 1, identity->vip, bpf_htons(identity->port)))
		return;
	if (leg)
		vc5_send_back(ctx, verdict, l2, header, packet, leg & (VC5_LEGS - 1), &way);
}

static __always_inline u32 vc5_part_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip = frame + l2;
	const struct vc5_note *note = vc5_own_note();
	struct vc5_part part = {
		.number = note->destination & (VC5_DESTINATIONS - 1),
		.transport = note->transport,
		.inner = note->inner,
	};
	struct vc5_packet packet = {};

	if (ip + sizeof(struct iphdr) > end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		if (ip + sizeof(struct vc5_ipv6) > end)
			return 0;
		vc5_read_addresses6(&packet, ip);
		packet.protocol = note->protocol;
		if (note->back)
			vc5_part_back(ctx, verdict, l2, ip, end, &packet, &part);
		else
			vc5_part_there(ctx, verdict, l2, ip, end, &packet, &part);
		return 0;
	}
/*% endif %*/
	vc5_read_addresses4(&packet, ip);
	packet.protocol = note->protocol;
	if (note->back) {
		vc5_part_back(ctx, verdict, l2, ip, end, &packet, &part);
		return 0;
	}
	vc5_note_source4(verdict, ip);
	vc5_part_there(ctx, verdict, l2, ip, end, &packet, &part);
	return 0;
}

int vc5_nat_part(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_part_frame);
	return vc5_leave(ctx, &verdict);
}
