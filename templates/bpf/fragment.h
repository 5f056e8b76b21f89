/* vc5_fragment: fragments of datagrams for a VIP. Only the first one has ports. It is steered as a whole packet would be, and
 * where it went is remembered under what its datagram's fragments have in common; the later ones follow it. One that comes
 * before the first is dropped: nothing is kept waiting here.
 *
 * The table is shared by all CPUs, since fragments of one datagram may come in on several. A way is one word, written by one
 * store: tag, number of the destination, and the coarse time, modulo some four thousand seconds, when it expires. Where a
 * set is full, what expires first makes room.
 */

enum {
	VC5_PIECE_NUMBER_SHIFT = VC5_FRAGMENT_EXPIRY_BITS,
	VC5_PIECE_TAG_SHIFT = VC5_FRAGMENT_EXPIRY_BITS + VC5_FRAGMENT_NUMBER_BITS,
	VC5_PIECE_EXPIRY_MASK = (1 << VC5_FRAGMENT_EXPIRY_BITS) - 1,
	VC5_PIECE_NUMBER_MASK = (1 << VC5_FRAGMENT_NUMBER_BITS) - 1,
};

/* The name of a datagram: source, VIP and identification, hashed as flows are, and of IPv4 the protocol (RFC 791 section 3.2,
 * RFC 8200 section 4.5: there the fragments' protocol fields may differ).
 */
static __always_inline u64 vc5_datagram_name(const struct vc5_packet *packet, u32 identification)
{
	const struct vc5_key_set *keys = &vc5_keys[vc5_lookup->multiplier & 1];
	const u64 *k = keys->coefficient;
/*% if shape.ipv6 %*/
	if (packet->family == VC5_IPV6)
		return vc5_flow_name(k[0] + (k[3] + identification) * (k[4] + VC5_FRAGMENT6) +
				     vc5_source_sum(packet, keys->wide) + vc5_vip_sum(packet, keys->wide_vip));
/*% endif %*/
	return vc5_flow_name(k[0] + (k[1] + packet->source) * (k[2] + packet->vip) +
			     (k[3] + identification) * (k[4] + packet->protocol));
}

static __always_inline u64 *vc5_datagram_set(u64 name)
{
	return &vc5_fragments[(name >> (64 - VC5_FRAGMENT_SET_BITS)) * VC5_WAYS];
}

/* Seconds for which a way lives; 0 for an empty one. */
static __always_inline u64 vc5_piece_life(u64 way, u64 time)
{
	u64 life = (way - time) & VC5_PIECE_EXPIRY_MASK;

	return life * vc5_below(life, VC5_FRAGMENT_LIFE + 1) * vc5_nonzero(way);
}

static __always_inline void vc5_remember_datagram(u64 name, u32 number)
{
	u64 time = vc5_settings->time, best = VC5_WAYS * (VC5_FRAGMENT_LIFE + 2), tag = (u32)name;
	u64 *set = vc5_datagram_set(name);
	u32 i;

#pragma unroll
	for (i = 0; i < VC5_WAYS; i++) {
		u64 way = *(volatile u64 *)&set[i];
		u64 other = vc5_nonzero(way >> VC5_PIECE_TAG_SHIFT ^ tag);
		u64 score = (1 + vc5_piece_life(way, time)) * other * VC5_WAYS + i;

		/* As one number, the lowest wins: so the verifier has nothing to tell apart. */
		best -= (best - score) * vc5_below(score, best);
	}
	vc5_write_way(set, best & (VC5_WAYS - 1),
		      tag << VC5_PIECE_TAG_SHIFT | (u64)(number & VC5_PIECE_NUMBER_MASK) << VC5_PIECE_NUMBER_SHIFT |
			      ((time + VC5_FRAGMENT_LIFE) & VC5_PIECE_EXPIRY_MASK));
}

/* The number of the destination that a datagram's first fragment went to, 0 where it is not known. */
static __always_inline u32 vc5_recall_datagram(u64 name)
{
	u32 time = vc5_settings->time, tag = name, number = 0, i;
	const u64 *set = vc5_datagram_set(name);

#pragma unroll
	for (i = 0; i < VC5_WAYS; i++) {
		u64 way = *(volatile const u64 *)&set[i];

		if (way >> VC5_PIECE_TAG_SHIFT == tag && vc5_piece_life(way, time))
			number = way >> VC5_PIECE_NUMBER_SHIFT & VC5_PIECE_NUMBER_MASK;
	}
	return number & (VC5_DESTINATIONS - 1);
}

/* The first fragment's ports and flags: 0 where they are not all there. Only here may the length of a UDP datagram exceed
 * the packet, and does.
 */
static __always_inline int vc5_read_first(struct vc5_packet *packet, const struct vc5_walk *walk, const void *end)
{
	const struct udphdr *udp = walk->at;

	if (packet->protocol == VC5_PROTOCOL_TCP)
		return vc5_read_transport(packet, walk->at, end, walk->room);
	if ((void *)(udp + 1) > end || walk->room < sizeof(*udp))
		return 0;
	packet->ports = vc5_le32(*(const u32 *)walk->at);
	return bpf_ntohs(udp->len) >= sizeof(*udp);
}

static __always_inline void vc5_first_fragment(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2, void *ip,
					       const void *end, struct vc5_packet *packet, const struct vc5_walk *walk,
					       u32 hops)
{
	const struct vc5_service *service;
	struct vc5_choice choice;
	u64 name;

	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP)
		return;
	if (!vc5_read_first(packet, walk, end)) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
		return;
	}
	service = vc5_find_service(packet);
	if (!service) {
		vc5_unknown_port(verdict);
		return;
	}
	if (hops <= 1) {
		verdict->destination = service->destinations & (VC5_DESTINATIONS - 1);
		vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
		return;
	}
	name = vc5_datagram_name(packet, walk->identification);
	choice = vc5_choose(service, packet);
/*% if shape.nat %*/
	if (!choice.dead && vc5_is_behind_nat(vc5_chosen(service, choice))) {
		if (!vc5_fits_way(ctx, verdict, packet, vc5_chosen(service, choice)))
			return;
		vc5_remember_datagram(name, verdict->destination);
		vc5_hand_part(ctx, verdict, packet, packet->octets - walk->room, 0, 0);
		return;
	}
/*% endif %*/
	vc5_deliver_choice(ctx, verdict, frame, l2, ip, service, packet, choice);
	if (verdict->reason == VC5_REASON_FORWARD)
		vc5_remember_datagram(name, verdict->destination);
	/* Nobody can tell where the whole segment ends, which the answer would have to acknowledge. */
	if (verdict->reason == VC5_REASON_RESET)
		verdict->reason = VC5_REASON_DEAD;
}

static __always_inline void vc5_later_fragment(struct xdp_md *ctx, struct vc5_verdict *verdict, void *frame, u32 l2, void *ip,
					       const struct vc5_packet *packet, const struct vc5_walk *walk, u32 hops)
{
	u64 name = vc5_datagram_name(packet, walk->identification);
	u32 number = vc5_recall_datagram(name);

	if (!number)
		return;
	verdict->octets = packet->octets;
	verdict->destination = number;
	if (hops <= 1) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
		return;
	}
	vc5_count(VC5_REASON_FRAGMENT_FOLLOWED);
/*% if shape.nat %*/
	if (vc5_is_behind_nat(number)) {
		if (vc5_fits_way(ctx, verdict, packet, number))
			vc5_hand_part(ctx, verdict, packet, 0, 0, 0);
		return;
	}
/*% endif %*/
	vc5_deliver(ctx, verdict, frame, l2, ip, packet, number, name);
}

static __always_inline u32 vc5_fragment4(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_packet packet = {};
	struct iphdr *ip = frame + l2;
	struct vc5_walk walk;

	if ((void *)(ip + 1) > end)
		return 0;
	vc5_note_source4(verdict, ip);
	vc5_read_addresses4(&packet, ip);
	walk = vc5_walk4(ctx, l2, &packet, ip, end);
	if (!walk.at)
		return 0;
/*% if shape.tunnels %*/
	vc5_sum_up(ctx, l2, &packet, packet.octets - walk.room,
		   walk.piece & bpf_htons(VC5_FRAGMENT_OFFSET) ? 0 : packet.protocol);
/*% endif %*/
	if (walk.piece & bpf_htons(VC5_FRAGMENT_OFFSET))
		vc5_later_fragment(ctx, verdict, frame, l2, ip, &packet, &walk, ip->ttl);
	else
		vc5_first_fragment(ctx, verdict, frame, l2, ip, end, &packet, &walk, ip->ttl);
	return 0;
}

/*% if shape.ipv6 %*/
static __always_inline u32 vc5_fragment6(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_ipv6 *ip = frame + l2;
	struct vc5_packet packet = {};
	struct vc5_walk walk;

	if ((void *)(ip + 1) > end)
		return 0;
	vc5_read_addresses6(&packet, ip);
	walk = vc5_walk6(ctx, l2, &packet, ip, end, 1);
	if (!walk.at) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
		return 0;
	}
/*% if shape.tunnels %*/
	vc5_sum_up(ctx, l2, &packet, packet.octets - walk.room,
		   walk.piece & bpf_htons(VC5_FRAGMENT6_OFFSET) ? 0 : packet.protocol);
/*% endif %*/
	if (walk.piece & bpf_htons(VC5_FRAGMENT6_OFFSET))
		vc5_later_fragment(ctx, verdict, frame, l2, ip, &packet, &walk, ip->hops);
	else
		vc5_first_fragment(ctx, verdict, frame, l2, ip, end, &packet, &walk, ip->hops);
	return 0;
}

/*% endif %*/
static __always_inline u32 vc5_fragment_frame(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_FRAGMENT);
	if (frame + l2 > (void *)(long)ctx->data_end)
		return 0;
/*% if shape.ipv6 %*/
	if (vc5_frame_type(frame, l2) == bpf_htons(VC5_IPV6))
		return vc5_fragment6(ctx, verdict, l2);
/*% endif %*/
	return vc5_fragment4(ctx, verdict, l2);
}

int vc5_fragment(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

	vc5_cold_frame(ctx, &verdict, vc5_fragment_frame);
	return vc5_leave(ctx, &verdict);
}
