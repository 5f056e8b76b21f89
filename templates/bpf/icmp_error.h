/* vc5_icmp_error: ICMP errors to a VIP go to the backend that sent what they are about. Backends answer clients from the VIP,
 * so the packet in the error came from VIP:port and went to client:port; turned round, that is the client's flow, and its
 * destination is found as for a packet of the client's, but that nothing is remembered or refreshed: an error is no proof
 * of life, and anybody can send one.
 */

/* Where an older flow belongs: what vc5_choose answers, without a trace. */
static __always_inline struct vc5_choice vc5_peek(const struct vc5_service *service, const struct vc5_packet *packet)
{
	u64 hash = vc5_hash(service, packet), word = vc5_read_slot(service, hash), way = 0;
	u64 name = vc5_flow_name(vc5_whole_hash(service, packet, hash));
	u64 slot = vc5_slot_of(service->slots, service->slot_count, hash), tag = name & ((1ULL << VC5_TAG_BITS) - 1);
	const u64 *set = &vc5_flows[(name >> (64 - VC5_SET_BITS)) * VC5_WAYS];
	struct vc5_choice choice = {.index = word & (VC5_TRACKED - 1)};
	u32 time = vc5_settings->time, owner, i;

	if (!(word & VC5_TRACKED))
		return choice;
	owner = vc5_histories[slot].was;
/*% if shape.previous %*/
	if (owner == VC5_ASK_PREVIOUS)
		owner = vc5_ask_previous(service, packet, time);
/*% endif %*/
	owner &= VC5_INDEX_MASK;
#pragma unroll
	for (i = 0; i < VC5_WAYS; i++) {
		u64 seen = *(volatile const u64 *)&set[i];

		if (seen >> VC5_WAY_TAG_SHIFT == tag && seen)
			way = seen;
	}
	if (way && !vc5_expired(way, time) && vc5_way_index(way) < service->capacity)
		owner = vc5_way_index(way);
	if (vc5_lives(vc5_state(service, owner))) {
		choice.index = owner;
	} else if (packet->protocol == VC5_PROTOCOL_TCP && owner && service->on_dead != VC5_DEAD_POLICY_RESELECT) {
		choice.index = owner;
		choice.dead = 1;
	}
	return choice;
}

/* The packet in an IPv4 error, turned round: 0 where it does not begin as one from the VIP. `room` bytes of it are there. */
static __always_inline int vc5_read_inner4(struct vc5_packet *packet, const struct iphdr *inner, const void *end, u32 room)
{
	u32 header;

	if ((void *)(inner + 1) > end || room < sizeof(*inner))
		return 0;
	header = inner->ihl * 4;
	if (inner->version != 4 || header < sizeof(*inner) || room < header + VC5_ICMP_LEAST)
		return 0;
	if (inner->frag_off & bpf_htons(VC5_FRAGMENT_OFFSET) || (void *)inner + header + VC5_ICMP_LEAST > end)
		return 0;
	if (vc5_le32(inner->saddr) != packet->vip)
		return 0;
	packet->source = vc5_le32(inner->daddr);
	packet->protocol = inner->protocol;
	packet->ports = vc5_le32(*(const u32 *)((void *)inner + header));
	packet->quoted = header;
	return 1;
}
/*% if shape.ipv6 %*/

static __always_inline int vc5_read_inner6(struct vc5_packet *packet, struct vc5_ipv6 *inner, const void *end, u32 room)
{
	struct vc5_walk walk;
	u32 i;

	if ((void *)(inner + 1) > end || room < sizeof(*inner) || (*(u8 *)inner & 0xf0) != 0x60)
		return 0;
	if (vc5_half(&inner->source[0]) != packet->high ||
	    vc5_half(&inner->source[2]) != packet->low)
		return 0;
#pragma unroll
	for (i = 0; i < VC5_WORDS; i++)
		packet->words[i] = vc5_le32(inner->destination[i]);
	walk = vc5_walk_extensions(packet, inner->next, inner + 1, room - sizeof(*inner), end, 1);
	if (!walk.at || walk.piece & bpf_htons(VC5_FRAGMENT6_OFFSET))
		return 0;
	if (walk.room < VC5_ICMP_LEAST || walk.at + VC5_ICMP_LEAST > end)
		return 0;
	packet->ports = vc5_le32(*(const u32 *)walk.at);
	packet->quoted = room - walk.room;
	return 1;
}
/*% endif %*/

/* Where the packet in an error went, network order, mapped. */
static __always_inline void vc5_quoted_destination(const struct vc5_packet *packet, u32 *address)
{
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6) {
		u32 i;

#pragma unroll
		for (i = 0; i < VC5_WORDS; i++)
			address[i] = vc5_le32((u32)packet->words[i]);
		return;
	}
/*% endif %*/
	address[2] = bpf_htonl(0xffff);
	address[3] = vc5_le32((u32)packet->source);
}

/* The rest is the same in both families. */
static __always_inline void vc5_error_forward(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2, void *ip,
					      struct vc5_packet *packet, u32 hops)
{
	const struct vc5_service *service;
	struct vc5_choice choice;

	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return;
	packet->ports = packet->ports >> 16 | (packet->ports & 0xffff) << 16;
	packet->flags = VC5_TCP_ACK;
	service = vc5_find_service(packet);
	if (!service)
		return;
	if (hops <= 1) {
		verdict->destination = service->destinations & (VC5_DESTINATIONS - 1);
		vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
		return;
	}
	choice = vc5_peek(service, packet);
/*% if shape.nat %*/
	if (!choice.dead && vc5_is_behind_nat(vc5_chosen(service, choice))) {
		u32 transport = vc5_own_note()->transport;

		if (vc5_fits_way(ctx, verdict, packet, vc5_chosen(service, choice)))
			vc5_hand_part(ctx, verdict, packet, transport, transport + VC5_ICMP_LEAST + packet->quoted, 0);
		return;
	}
/*% endif %*/
	vc5_deliver_choice(ctx, verdict, frame, l2, ip, service, packet, choice);
	/* Errors are never answered. */
	if (verdict->reason == VC5_REASON_RESET)
		verdict->reason = VC5_REASON_DEAD;
}

/* What vc5_cold has found: where the ICMP header begins. */
static __always_inline u32 vc5_error_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 transport = vc5_own_note()->transport & VC5_MOST_HEADERS, room;
	struct vc5_packet packet = {};
	struct iphdr *ip = frame + l2;
	u8 *icmp = (void *)ip + transport;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_ICMP_ERROR);
	if (frame + l2 > end || icmp + VC5_ICMP_LEAST > (u8 *)end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6)) {
		struct vc5_ipv6 *header = frame + l2;

		if ((void *)(header + 1) > end || !*icmp || *icmp > VC5_ICMP6_KNOWN_ERRORS)
			return 0;
		vc5_read_addresses6(&packet, header);
/*% if shape.tunnels %*/
		vc5_sum_up(ctx, l2, &packet, transport, VC5_PROTOCOL_ICMP6);
/*% endif %*/
		room = packet.octets - transport - VC5_ICMP_LEAST;
		if (vc5_read_inner6(&packet, (void *)icmp + VC5_ICMP_LEAST, end, room))
			vc5_error_forward(ctx, verdict, frame, l2, header, &packet, header->hops);
		return 0;
	}
/*% endif %*/
	if ((void *)(ip + 1) > end)
		return 0;
	vc5_note_source4(verdict, ip);
	vc5_read_addresses4(&packet, ip);
/*% if shape.tunnels %*/
	vc5_sum_up(ctx, l2, &packet, transport, 0);
/*% endif %*/
	room = packet.octets - transport - VC5_ICMP_LEAST;
	if (vc5_read_inner4(&packet, (void *)icmp + VC5_ICMP_LEAST, end, room))
		vc5_error_forward(ctx, verdict, frame, l2, ip, &packet, ip->ttl);
	return 0;
}

int vc5_icmp_error(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_error_frame);
	return vc5_leave(ctx, &verdict);
}
