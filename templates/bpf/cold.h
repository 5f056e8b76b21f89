/* Everything that concerns a VIP and is not everyday traffic: options, fragments, ICMP, malformed packets, unknown ports,
 * answers to probes, frames too short for the quick way. It repeats the whole way of a packet from the start, for any
 * header length; on what both can handle, it and vc5_main decide alike.
 */

enum {
	VC5_EXTENSIONS = 6, /* at most so many headers stand before that of the transport */
	VC5_MOST_HEADERS = 0x3fff, /* bytes: more than all of them */
	/* RFC 8200 section 4; RFC 4302 */
	VC5_HOP_BY_HOP = 0,
	VC5_ROUTING = 43,
	VC5_FRAGMENT6 = 44,
	VC5_AUTHENTICATION = 51,
	VC5_DESTINATION_OPTIONS = 60,
	VC5_FRAGMENT6_BITS = 0xfff9, /* more-fragments and offset */
	VC5_FRAGMENT6_OFFSET = 0xfff8,
};

/* What the headers before the transport say. */
struct vc5_walk {
	void *at; /* where the transport begins; NULL: the headers contradict the frame */
	u32 room; /* bytes of the packet from there on */
	u32 fragment;
	u32 piece; /* of a fragment, network order: its offset, beside flags */
	u32 identification; /* of its datagram, as vc5_le32 reads it */
};

/* A number of which the verifier knows nothing any more: it must not follow each number of extension headers through all
 * that comes after them. `anything` lies inside the frame, and does not change between two looks at it.
 */
static __always_inline u32 vc5_forgotten(u32 number, const void *anything)
{
	const volatile u16 *word = anything;

	return number + *word - *word;
}

static __always_inline struct vc5_walk vc5_walk4(struct xdp_md *ctx, u32 l2, struct vc5_packet *packet, struct iphdr *ip,
						 const void *end)
{
	u32 header = ip->ihl * 4, length = vc5_length(ip->tot_len);
	struct vc5_walk walk = {};

	packet->protocol = ip->protocol;
	if (ip->version != 4 || header < sizeof(*ip) || length < header || !vc5_complete(ctx, l2, ip, length, end))
		return walk;
	walk.at = (void *)ip + header;
	walk.room = length - header;
	walk.fragment = !!(ip->frag_off & bpf_htons(VC5_FRAGMENT_BITS));
	walk.piece = ip->frag_off;
	walk.identification = vc5_le16(ip->id);
	return walk;
}

/*% if shape.ipv6 %*/
/* Where a header stands, `gone` bytes behind `base`. Derived anew each time, by a number of which the verifier only knows the
 * mask: so all ways through the headers look alike to it, and it need not follow each to the end.
 */
static __always_inline void *vc5_behind(void *base, u32 gone)
{
	vc5_opaque(gone);
	return base + (gone & VC5_MOST_HEADERS);
}

/* What follows an IPv6 header: `next` names the first header at `base`, from where there are `octets` bytes of the packet.
 * Headers behind that of a fragment are those of its datagram: only the first fragment has them, and only if `on` they are
 * read.
 */
static __always_inline struct vc5_walk vc5_walk_extensions(struct vc5_packet *packet, u8 next, void *base, u32 octets,
							   const void *end, u32 on)
{
	struct vc5_walk walk = {}, broken = {};
	u32 room = octets, i;

#pragma unroll
	for (i = 0; i < VC5_EXTENSIONS; i++) {
		u8 *header = vc5_behind(base, octets - room);
		u32 length;

		if (next != VC5_HOP_BY_HOP && next != VC5_ROUTING && next != VC5_FRAGMENT6 && next != VC5_AUTHENTICATION &&
		    next != VC5_DESTINATION_OPTIONS)
			break;
		/* A fragment of a fragment is nothing that anybody may send (RFC 8200 section 4.5). */
		if (on && next == VC5_FRAGMENT6 && walk.fragment)
			break;
		if (room < 8 || (void *)header + 8 > end)
			return broken;
		length = (header[1] + 1) * 8;
		if (next == VC5_AUTHENTICATION)
			length = (header[1] + 2) * 4;
		if (next == VC5_FRAGMENT6) {
			length = 8;
			if (*(u16 *)(header + 2) & bpf_htons(VC5_FRAGMENT6_BITS)) {
				walk.fragment = 1;
				walk.piece = *(u16 *)(header + 2);
				walk.identification = vc5_le32(*(u32 *)(header + 4));
			}
		}
		next = header[0];
		if (length > room)
			return broken;
		room -= length;
		if (on ? walk.piece & bpf_htons(VC5_FRAGMENT6_OFFSET) : walk.fragment)
			break;
	}
	room = vc5_forgotten(room, base - sizeof(struct vc5_ipv6));
	packet->protocol = vc5_forgotten(next, base - sizeof(struct vc5_ipv6));
	walk.at = vc5_behind(base, octets - room);
	walk.room = room;
	return walk;
}

static __always_inline struct vc5_walk vc5_walk6(struct xdp_md *ctx, u32 l2, struct vc5_packet *packet, struct vc5_ipv6 *ip,
						 const void *end, u32 on)
{
	struct vc5_walk broken = {};
	u32 room = vc5_length(ip->length);

	packet->protocol = ip->next;
	if ((*(u8 *)ip & 0xf0) != 0x60 || !vc5_complete(ctx, l2, ip, sizeof(*ip) + room, end))
		return broken;
	return vc5_walk_extensions(packet, ip->next, ip + 1, room, end, on);
}
/*% endif %*/

/* As a number: the compiler would reckon with the pointers, and the verifier not have it. */
static __always_inline u32 vc5_known(const struct vc5_vip *vip)
{
	u32 known = 0;

	if (vip)
		known = 1;
	vc5_opaque(known);
	return known;
}

/* The packet's transport, after all header fields have been checked; NULL with the verdict set where it goes no further. */
static __always_inline void *vc5_check(struct vc5_verdict *verdict, struct vc5_packet *packet, const struct vc5_walk *walk,
				       const void *end)
{
	vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
	if (!walk->at)
		return NULL;
	if (walk->fragment) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_FRAGMENT);
		return NULL;
	}
	if (packet->protocol != VC5_PROTOCOL_TCP && packet->protocol != VC5_PROTOCOL_UDP) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_PROTOCOL);
		return NULL;
	}
	if (!vc5_read_transport(packet, walk->at, end, walk->room))
		return NULL;
	return walk->at;
}

/* Fragments and errors concern flows too, but take more than fits here: their programs begin anew. Does not return, unless
 * they are missing.
 */
static __always_inline u32 vc5_hand_over(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 tail)
{
	vc5_tail_call(ctx, vc5_tails, tail);
	vc5_decide(verdict, XDP_DROP, VC5_REASON_INCOMPLETE);
	return 0;
}

static __always_inline void vc5_unknown_port(struct vc5_verdict *verdict)
{
	vc5_decide(verdict, vc5_settings->pass_unknown_port ? XDP_PASS : XDP_DROP, VC5_REASON_UNKNOWN_PORT);
}

/* What both families do once their headers are read: `hops` is what is left of the time to live. */
static __always_inline u32 vc5_cold_packet(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2, void *ip,
					   const void *end, struct vc5_packet *packet, const struct vc5_walk *walk,
					   u32 to_vip, u32 hops)
{
	const struct vc5_service *service;
	void *transport;

	if (!to_vip && walk->at && !walk->fragment && vc5_is_icmp(packet)) {
		vc5_own_note()->transport = packet->octets - walk->room;
		return vc5_hand_over(ctx, verdict, VC5_TAIL_PROBE_ICMP);
	}
	transport = vc5_check(verdict, packet, walk, end);
	if (!to_vip) {
		vc5_decide(verdict, XDP_PASS, VC5_REASON_VIP_SOURCE);
		return transport ? vc5_probe_in(ctx, verdict, l2, ip, transport, end, packet) : 0;
	}
	if (!transport)
		return 0;
	service = vc5_find_service(packet);
	if (!service) {
		vc5_unknown_port(verdict);
		return 0;
	}
	if (hops <= 1) {
		verdict->destination = service->destinations & (VC5_DESTINATIONS - 1);
		vc5_decide(verdict, XDP_DROP, VC5_REASON_TTL);
		return 0;
	}
/*% if shape.resets %*/
	struct vc5_segment segment = {};

	if (packet->protocol == VC5_PROTOCOL_TCP && transport + sizeof(struct tcphdr) <= end)
		segment = vc5_read_segment(packet, transport, walk->room);
/*% endif %*/
/*% if shape.tunnels %*/
	packet->headers = transport - ip;
	packet->carried = packet->protocol;
	vc5_opaque(packet->headers);
	packet->unsummed = vc5_lacks_checksum(packet->protocol, transport, end);
	if (packet->headers != vc5_plain_headers(packet->family))
		packet->unsummed = 1;
/*% if shape.udp_tunnels %*/
	/* Here already: so it is one place for the verifier, however the packet goes on. The sum of an IPv4 header stays. */
	if (packet->unsummed)
		packet->sum = vc5_sum_once_sent(ctx, l2, packet);
/*% endif %*/
/*% endif %*/
	vc5_forward(ctx, verdict, ip - l2, l2, ip, service, packet);
/*% if shape.resets %*/
	if (verdict->reason == VC5_REASON_RESET)
		vc5_reset(ctx, verdict, l2, packet, &segment);
/*% endif %*/
	return 0;
}

static __always_inline u32 vc5_cold4(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_packet packet = {};
	struct iphdr *ip = frame + l2;
	struct vc5_walk walk;
	u32 to_vip;

	if (frame + l2 <= end && vc5_frame_type(frame, l2) != bpf_htons(VC5_IPV4)) {
		vc5_other_protocol(verdict, frame, end);
		return 0;
	}
	vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
	if ((void *)(ip + 1) > end)
		return 0;
	vc5_read_addresses4(&packet, ip);
	to_vip = vc5_known(vc5_find_vip4(ip->daddr));
	if (!to_vip && !vc5_find_vip4(ip->saddr)) {
		vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
		return 0;
	}
	if (to_vip) {
		vc5_note_source4(verdict, ip);
/*% if shape.blocks %*/
		if (vc5_suspect4(ip) && vc5_is_blocked4(ip)) {
			vc5_decide(verdict, XDP_DROP, VC5_REASON_BLOCKED);
			return 0;
		}
/*% endif %*/
	}
	walk = vc5_walk4(ctx, l2, &packet, ip, end);
	if (to_vip && walk.at && walk.fragment)
		return vc5_hand_over(ctx, verdict, VC5_TAIL_FRAGMENT);
	if (to_vip && walk.at && packet.protocol == VC5_PROTOCOL_ICMP) {
		vc5_icmp(verdict, frame, ip, walk.at, end, walk.room);
		if (verdict->reason != VC5_REASON_ICMP_ERROR)
			return 0;
		vc5_own_note()->transport = packet.octets - walk.room;
		return vc5_hand_over(ctx, verdict, VC5_TAIL_ICMP_ERROR);
	}
	return vc5_cold_packet(ctx, verdict, l2, ip, end, &packet, &walk, to_vip, ip->ttl);
}

/*% if shape.ipv6 %*/
static __always_inline u32 vc5_cold6(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 l2)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vc5_ipv6 *ip = frame + l2;
	struct vc5_packet packet = {};
	struct vc5_walk walk;
	u32 to_vip;

	vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
	if ((void *)(ip + 1) > end)
		return 0;
	vc5_read_addresses6(&packet, ip);
	to_vip = vc5_known(vc5_find_vip6(packet.high, packet.low));
	if (!to_vip && !vc5_find_vip6(vc5_half(&ip->source[0]), vc5_half(&ip->source[2]))) {
		vc5_decide(verdict, XDP_PASS, VC5_REASON_NOT_VIP);
		return 0;
	}
/*% if shape.blocks %*/
	if (to_vip && vc5_suspect6(ip) && vc5_is_blocked(ip->source)) {
		vc5_decide(verdict, XDP_DROP, VC5_REASON_BLOCKED);
		return 0;
	}
/*% endif %*/
	walk = vc5_walk6(ctx, l2, &packet, ip, end, 0);
	if (to_vip && walk.at && walk.fragment)
		return vc5_hand_over(ctx, verdict, VC5_TAIL_FRAGMENT);
	if (to_vip && walk.at && packet.protocol == VC5_PROTOCOL_ICMP6) {
		vc5_icmp6(verdict, &packet, frame, ip, walk.at, end, walk.room);
		if (verdict->reason != VC5_REASON_ICMP_ERROR)
			return 0;
		vc5_own_note()->transport = packet.octets - walk.room;
		return vc5_hand_over(ctx, verdict, VC5_TAIL_ICMP_ERROR);
	}
	return vc5_cold_packet(ctx, verdict, l2, ip, end, &packet, &walk, to_vip, ip->hops);
}

/*% endif %*/
/* Calls what handles a frame, by the length of its layer-2 header, with that as a constant. */
static __always_inline u32 vc5_cold_frame(struct xdp_md *ctx, struct vc5_verdict *verdict,
					  u32 (*handle)(struct xdp_md *, struct vc5_verdict *, u32))
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 l2 = vc5_layer2(frame, end);

	vc5_decide(verdict, XDP_DROP, VC5_REASON_MALFORMED);
/*% if shape.tagged %*/
	if (l2 == VC5_TAGGED_LENGTH)
		return handle(ctx, verdict, VC5_TAGGED_LENGTH);
/*% endif %*/
/*% if shape.mixed or not shape.tagged %*/
	if (l2 == ETH_HLEN)
		return handle(ctx, verdict, ETH_HLEN);
/*% endif %*/
	if (frame + ETH_HLEN <= end)
		vc5_other_protocol(verdict, frame, end);
	return 0;
}

static __always_inline int vc5_cold_leave(struct xdp_md *ctx, struct vc5_verdict *verdict, u32 interface)
{
	if (interface)
		verdict->action = vc5_redirect(interface, 0);
	return vc5_leave(ctx, verdict);
}

/* For a backend behind NAT, or perhaps its answer: that concerns no VIP. */
static __always_inline void vc5_or_nat(struct xdp_md *ctx, const struct vc5_verdict *verdict)
{
/*% if shape.nat %*/
	if (verdict->reason == VC5_REASON_NOT_VIP)
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_RETURN);
	if (verdict->reason == VC5_REASON_INCOMPLETE)
		vc5_tail_call(ctx, vc5_tails, VC5_TAIL_NAT);
/*% endif %*/
}

int vc5_cold(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};
	u32 interface = vc5_cold_frame(ctx, &verdict, vc5_cold4);

	vc5_or_nat(ctx, &verdict);
	return vc5_cold_leave(ctx, &verdict, interface);
}

int vc5_cold_ipv6(struct xdp_md *ctx)
{
	struct vc5_verdict verdict = {};

/*% if shape.ipv6 %*/
	u32 interface = vc5_cold_frame(ctx, &verdict, vc5_cold6);

	vc5_or_nat(ctx, &verdict);
	return vc5_cold_leave(ctx, &verdict, interface);
/*% else %*/
	vc5_decide(&verdict, XDP_PASS, VC5_REASON_NOT_VIP);
	return vc5_leave(ctx, &verdict);
/*% endif %*/
}
